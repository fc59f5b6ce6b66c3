"""Types of the data sets of `config.yaml`: their files, splits and what the splits are used for, with units and limits."""

from collections import Counter
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, NonNegativeInt, PositiveInt, model_validator

from workflow_scripts.config.types.parts import ORIENTATION, Block, Name, Orientation, Share

MOST_CLASSES = 254  # a label map has 8 bits: 0 is the background, 255 is ignored


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
        True, description="false: labels and truth are not public; predicted and packed, never scored"
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


class Gallery(Block):
    systems: tuple[Name, ...] | None = Field(
        None, description="whose stages are its columns; those of the table if null"
    )
    splits: tuple[Name, ...] | None = Field(
        None,
        description="whose images are its rows; those that maps are scored on and predictions are made for if null",
    )
    images: PositiveInt | None = Field(None, description="of each split, evenly spread; all of them if null")
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


class SyntheticDataset(Dataset):
    kind: Literal["synthetic"]
    seed: NonNegativeInt = Field(description="of the renderer")


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


class VocDataset(Masked):
    kind: Literal["voc"]
    root: str = Field(description="folder that holds images, annotations, masks and ImageSets")
    images: str
    annotations: str
    masks: str | None = Field(None, description="folder of truth masks; null where there are none")
    objects: str | None = Field(None, description="folder of masks of single objects; null where there are none")
    sbd: str | None = Field(
        None,
        description="folder of SBD, with cls/{id}.mat, and inst/{id}.mat for single objects: truth of the images that have "
        "none in masks",
    )
    context: str | None = Field(
        None,
        description="folder of PASCAL-Context, with {id}.mat and labels.txt: backgrounds that are taken for a class",
    )


class CocoDataset(Photographs):
    kind: Literal["coco"]
    root: str = Field(description="folder that the instances JSON, the images and the maps are under")
    maps: tuple[str, ...] = Field(
        (), description="folders of COCO-Stuff's pixel maps, which are then the truth; none: drawn from the instances"
    )
    unannotated: Literal["left_out", "negatives"] = Field(
        "left_out",
        description="images without any annotation: in no split, as in the lists of the field, or kept as images that show none of the "
        "classes",
    )
    unlabelled: Literal["ignore", "background"] = Field(description="what value 255 of the pixel maps becomes")
    crowd: Literal["class", "ignore"] = Field(description="what the pixels of a crowd region become")
    overlap: Literal["later", "smaller", "ignore"] = Field(
        description="where instances of two classes overlap: the later one in the file, the smaller one, or neither"
    )

    def instances_files(self) -> list[list[str]]:
        """Instances files under root, each with the folder of its images."""
        found = {(split.ids, split.folder or "") for split in self.splits.values() if split.ids}
        return [list(pair) for pair in sorted(found)]


class CsvDataset(Masked):
    kind: Literal["csv"]
    table: str = Field(description="CSV: id,image,labels[,mask][,boxes][,split]; paths are relative to it")

    @model_validator(mode="after")
    def _can_be_written(self) -> "CsvDataset":
        """Cells separate names by ";", and "-" alone stands for no label."""
        for name in self.classes:
            if ";" in name or name == "-":
                raise ValueError(f"classes: {name!r} cannot be written in a cell of the table; rename the class")
        return self


AnyDataset = Annotated[SyntheticDataset | VocDataset | CocoDataset | CsvDataset, Discriminator("kind")]
