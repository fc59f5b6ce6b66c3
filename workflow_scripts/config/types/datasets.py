"""Types of the data sets of the settings: their files, splits and what the splits are used for, with units and limits."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types.parts import ORIENTATION, Block, Name, Orientation, Sections, Share

MOST_CLASSES = 254  # a label map has 8 bits: 0 is the background, 255 is ignored
TRUTH = "truth masks"
Id = str | tuple[str, int]  # a name, or the number of an image in a list that is not there yet


class Reading(NamedTuple):
    """How jobs read a part of a data set: keys that they are told, those of them that must not be null, modules beside the kind's."""

    told: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


class Place(NamedTuple):
    """A file or a folder that a data set is in; without one that is not `needed` there may be a way."""

    what: str
    path: str
    source: str
    is_folder: bool = True
    needed: bool = True


def _classes(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError(f"0 classes, expected 1 to {MOST_CLASSES}; name one at least")
    if len(names) > MOST_CLASSES:
        raise ValueError(
            f"{len(names)} classes, expected 1 to {MOST_CLASSES}, as a label map has 8 bits; merge classes"
        )
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"{name!r} is listed {count} times; list it once")
        if not name or name != name.strip() or not name.isprintable():
            raise ValueError(f"{name!r} is empty, or has white space around it or a control character; rename it")
    return names


class Split(Block):
    ids: str | None = Field(
        None,
        description="voc: list file under root; coco: instances JSON under root; csv: value in column 'split' ('' for every row)",
    )
    sbd: tuple[str, ...] = Field((), description="voc: further lists, under the folder sbd")
    root: str | None = Field(None, description="voc: folder of this split's list and images, where it is another")
    folder: str | None = Field(None, description="coco: folder of its images, under root")
    images: PositiveInt | None = Field(None, description="synthetic: how many to render")
    of: Name | None = Field(None, description="a part of this split")
    without: Name | None = Field(None, description="less the ids of this split")
    first: PositiveInt | None = Field(None, description="the first so many, in a fixed shuffled order")
    labelled: bool = Field(
        True, description="false: labels and truth are not public, or not there; predicted, never learnt from or scored"
    )
    count: PositiveInt | None = Field(
        None, description="how many images it must have, as published; not checked under limit"
    )

    @model_validator(mode="after")
    def _one_source(self) -> "Split":
        if sum(source is not None for source in (self.ids, self.images, self.of)) != 1:
            raise ValueError("a split has exactly one of ids, images, of")
        if self.of is None and (self.without or self.first):
            raise ValueError("without and first take from another split: name it with of")
        if self.ids is None and (self.sbd or self.root or self.folder):
            raise ValueError("sbd, root and folder are said beside ids; take them away")
        if self.of is not None and not self.labelled:
            raise ValueError("labelled is said of the split that it takes from")
        return self


class Use(Block):
    train: Name = Field(description="classifiers and segmenters train on it")
    masks: Name = Field(description="maps and masks are scored on it")
    affinity: Name | None = Field(None, description="affinity networks train on it; the training split if null")
    thresholds: Name | None = Field(None, description="thresholds are chosen on it")
    instances: Name | None = Field(
        None, description="instances made from boxes are scored on it; the split of masks if null"
    )
    evaluation: tuple[Name, ...] = Field(description="predictions are made for and scored on these")
    predict: tuple[Name, ...] = Field(
        (), description="predictions are made for these, too, and never scored, whether or not the splits have labels"
    )

    def predicted(self) -> tuple[str, ...]:
        """Splits that predictions are made for, each once."""
        return tuple(dict.fromkeys((*self.evaluation, *self.predict)))


class Gallery(Block):
    systems: tuple[Name, ...] | None = Field(
        None, description="whose stages are its columns; those of the table if null"
    )
    splits: tuple[Name, ...] | None = Field(
        None,
        description="whose images are its rows; those that maps are scored on and predictions are made for if null",
    )
    images: PositiveInt | None = Field(None, description="of each split, evenly spread; all of them if null")
    doubt: bool = Field(
        False, description="show how doubtful each stage of an image is; makes the tables doubt/{mask}.csv first"
    )
    side: PositiveInt = Field(description="longest side of a picture, pixels; larger images are scaled down")


class Dataset(Block):
    classes: Annotated[tuple[str, ...], AfterValidator(_classes)] = Field(
        description="object classes in order, 254 at most; background is not listed"
    )
    splits: dict[Name, Split]
    use: Use
    seeds: tuple[NonNegativeInt, ...] = (0,)
    segmentation_seeds: tuple[NonNegativeInt, ...] | None = Field(
        None, description="seeds of the segmentation stages, all of them if null"
    )
    limit: PositiveInt | None = Field(None, description="the first so many images of each split, for a smoke run")
    torch_threads: PositiveInt = Field(1, description="CPU threads of a training job; part of what decides its bytes")
    workers: PositiveInt = Field(
        1, description="processes of a job that goes through the images or feeds a GPU, as far as --cores allow"
    )
    gpus: NonNegativeInt = Field(
        0,
        description="GPUs that a training asks for, which share its batches; other jobs of networks ask for one; with 0, the CPU",
    )
    threshold: Share = Field(0.2, description="at which maps are scored where no split chooses one")
    systems: tuple[Name, ...] = Field((), description="of the table of segmentation")
    instance_systems: tuple[Name, ...] = Field((), description="of the table of instance segmentation, on request")
    overrides: dict[str, dict[Name, dict]] = Field(
        default_factory=dict, description="changes to blocks, for this data set alone"
    )
    montage: PositiveInt = Field(6, description="images in each montage")
    gallery: Gallery | None = Field(None, description="what results/{dataset}/gallery/index.html shows")
    archives: tuple[Name, ...] = Field(
        (), description="unpacked before anything is read; none where the files are there"
    )

    # What a kind says. Parts are images (with labels and lists), truth, instances, backgrounds and contours. The module
    # `data.kinds.{kind}` has a function of that name that reads the part; `index` reads the images.
    kind: str
    reads: ClassVar[Mapping[str, Reading]] = {}
    split_keys: ClassVar[tuple[str, ...]] = ("ids",)
    rendered: ClassVar[bool] = False  # by a job of stage `render`, of the sources of its splits
    size: ClassVar[tuple[int, int]] = (375, 500)  # of an image, height and width in pixels, for estimates

    def paths(self, part: str) -> Iterable[Path | str]:
        """Files of a part whose contents decide what is read of it, as lists and tables name them; nothing is checked."""
        return ()

    def places(self, part: str) -> Iterable[Place]:
        """Files and folders without which a part cannot be read; not the images one by one."""
        return ()

    def ids(self, name: str) -> Iterable[Id]:
        """Images of a split that is no part of another, within the limit: by default as many as the split must have.

        Raises:
            UserError, LookupError, ValueError: they are not known yet.
        """
        return self.numbered(self.splits[name].ids)

    def single_labels(self) -> bool:
        """Whether every image is known to show one class at most, before the data set is indexed."""
        return False

    def present(self, known: Mapping[str, list[Id]]) -> Iterable[tuple[str, str, list[bool]]]:
        """What files are, their folder, and of each that the splits name whether it is there.

        Args:
            known: ids of the splits, as far as they are known.
        """
        return ()

    # What others ask

    def lacks(self, part: str) -> str | None:
        """Why the data set has no such part; None where it has."""
        if part not in self.reads:
            return f"kind {self.kind!r} has none"
        return next((f"{key} is null" for key in self.reads[part].needed if getattr(self, key) is None), None)

    def has_truth(self) -> bool:
        """Whether there are truth masks."""
        return self.lacks("truth") is None

    def told(self, part: str) -> dict:
        """Settings of a job that reads a part."""
        return {key: getattr(self, key) for key in self.reads[part].told}

    def modules(self, part: str) -> tuple[str, ...]:
        """Modules by which a job reads a part."""
        return (f"data.kinds.{self.kind}", *self.reads[part].modules)

    def numbered(self, listed: str | None) -> Iterator[Id]:
        """As many images of a list as splits of it must have."""
        counts = [
            split.count for split in self.splits.values() if split.ids == listed and split.count and not split.sbd
        ]
        return islice(((str(listed), number) for number in range(counts[0])), self.limit)

    def check(self, where: str, sections: Sections) -> None:
        """Keys of splits that a kind has not, and uses of splits that need labels."""
        for name, split in self.splits.items():
            for key in ("ids", "images", "sbd", "root", "folder", "labelled"):
                if key not in self.split_keys and getattr(split, key) != Split.model_fields[key].default:
                    way = f"give {self.split_keys[0]} or of instead" if key in ("ids", "images") else "take it away"
                    raise UserError(f"{where}.splits.{name}.{key}: not for kind {self.kind!r}; {way}")
        for key in ("train", "masks", "affinity", "thresholds", "instances"):
            split = getattr(self.use, key)
            if split is not None and not self.labelled(split):
                raise UserError(
                    f"{where}.use.{key}: split {split!r} has no labels; name it under evaluation or predict alone"
                )

    def labelled(self, split: str) -> bool:
        """Whether labels and truth of a split are public."""
        origin = self.splits[split]
        return self.labelled(origin.of) if origin.of else origin.labelled

    def unlabelled_evaluation(self) -> tuple[str, ...]:
        """Splits that are predicted and packed, and scored elsewhere."""
        return tuple(split for split in self.use.evaluation if not self.labelled(split))

    def scored_evaluation(self) -> tuple[str, ...]:
        """Splits that predictions are scored on."""
        return tuple(split for split in self.use.evaluation if self.labelled(split))


class Photographs(Dataset):
    orientation: Orientation = ORIENTATION


class Masked(Photographs):
    mask_ids: dict[str, Annotated[int, Field(ge=1, le=255)]] | None = Field(
        None,
        description="value of each class in the truth masks; if null, 1 for the first class and so on, and where all classes are named "
        "as those of PASCAL VOC in a data set of kind voc, its ids; 255 is ignored where no class has it",
    )

    @model_validator(mode="after")
    def _every_class(self) -> "Masked":
        if self.mask_ids is not None:
            if set(self.mask_ids) != set(self.classes):
                raise ValueError(f"mask_ids: must name each class once: {', '.join(self.classes)}")
            if len(set(self.mask_ids.values())) < len(self.mask_ids):
                raise ValueError("mask_ids: two classes have one value; give each its own")
        return self


def by_folder(what: str, paths: Iterable[Path]) -> Iterator[tuple[str, str, list[bool]]]:
    """Files by their folders, each once, for `Dataset.present`."""
    folders: dict[str, list[bool]] = {}
    for path in dict.fromkeys(paths):
        folders.setdefault(str(path.parent), []).append(path.is_file() and path.stat().st_size > 0)
    return ((what, folder, there) for folder, there in folders.items())
