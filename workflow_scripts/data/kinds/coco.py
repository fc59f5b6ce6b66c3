"""COCO: images of everyday scenes with instances in one JSON file a split (Lin et al., ECCV 2014)."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, ClassVar, Literal

from pydantic import Field

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.listings import files_below, pictures_in
from workflow_scripts.base.plugins import plugin
from workflow_scripts.config.types.datasets import TRUTH, Id, Photographs, Place, Reading
from workflow_scripts.config.types.parts import Sections
from workflow_scripts.data.edges import is_same, overlap
from workflow_scripts.data.index_entries import Entry, Faults, Progress, check_entry, check_id, gather, is_normalised
from workflow_scripts.data.readers import coco_segmentation
from workflow_scripts.data.readers.coco_file import CATEGORY_IDS, InstancesFile, image_path
from workflow_scripts.run.command import plain


class Coco(Photographs):
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

    reads: ClassVar = {
        "images": Reading(("root", "unannotated", "orientation")),
        "truth": Reading(
            ("root", "maps", "unlabelled", "crowd", "overlap", "files"), modules=("data.readers.coco_masks",)
        ),
        "instances": Reading(("root", "files"), modules=("data.readers.coco_masks",)),
    }
    split_keys: ClassVar = ("ids", "folder")
    size: ClassVar = (480, 640)

    def check(self, where: str, sections: Sections) -> None:
        super().check(where, sections)
        for name, split in self.splits.items():
            if split.ids and not split.folder:
                raise UserError(f"{where}.splits.{name}.folder: missing; name the folder of its images, under root")

    @property
    def files(self) -> list[list[str]]:
        """Instances files under root, each with the folder of its images."""
        found = {(split.ids, split.folder or "") for split in self.splits.values() if split.ids}
        return [list(pair) for pair in sorted(found)]

    def paths(self, part: str) -> Iterator[Path | str]:
        """Whole folders: which of their images have a label is known to the instances alone, which take long to read."""
        yield from (Path(self.root) / file for file, _ in self.files)
        if part == "images":
            for _, folder in self.files:
                yield from files_below(Path(self.root) / folder)
        elif part == "truth":
            for name in self.maps:
                yield from pictures_in(Path(self.root) / name)

    def places(self, part: str) -> Iterator[Place]:
        if part == "images":
            for file, folder in self.files:
                yield Place("list", f"{self.root}/{file}", "COCO", is_folder=False)
                yield Place("images", f"{self.root}/{folder}", "COCO")
        elif part == "truth":
            yield from (Place(TRUTH, f"{self.root}/{name}", "COCO-Stuff") for name in self.maps)

    def present(self, known: Mapping[str, list[Id]]) -> Iterator[tuple[str, str, list[bool]]]:
        """Photographs with an object."""
        for file, folder in self.files:
            path, images = Path(self.root) / file, Path(self.root) / folder
            if path.is_file():
                there = plugin("data.readers", "coco_file").present(path, images, self.classes)
                if images.is_dir():
                    yield "images", f"{self.root}/{folder}".removesuffix("/"), there[: self.limit]


Box = tuple[float, float, float, float, int]
ALIKE = 0.5  # intersection over union of a box and its outline's
ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
MOST_SHOWN = 5  # annotations of an image in a finding
JOINED = "__"  # folders and name of a file in an id


@dataclass
class Objects:
    """What the index holds of one image's annotations."""

    labels: set[int] = field(default_factory=set)
    boxes: list[Box] = field(default_factory=list)
    crowds: list[int] = field(default_factory=list)  # rows of the boxes
    beside: list[int] = field(default_factory=list)  # annotations whose box is not around their outline


@dataclass
class Found:
    """Where an image is from."""

    file: Path
    image: Path
    name: str
    size: tuple[int, int] | None
    objects: Objects


def index(settings: Any, rendered: None, **checking: Any) -> tuple[dict[str, list[str]], list[Entry]]:
    """As `read_coco`, from the settings of a job."""
    splits = plain(settings.splits).items()
    files = {name: (split["ids"], split["folder"]) for name, split in splits if split["ids"] is not None}
    negatives = settings.unannotated == "negatives"
    return read_coco(Path(settings.root), settings.classes, files, negatives=negatives, **checking)


def truth(settings: Any, index: Any, faults: Faults, **_: Any) -> Callable[[str], dict]:
    """As `coco_masks.truth`."""
    return plugin("data.readers", "coco_masks").truth(settings, index, faults)


def instances(settings: Any, index: Any, rendered: None) -> Callable[[str], Any]:
    """As `coco_masks.instances`."""
    return plugin("data.readers", "coco_masks").instances(settings, index)


def category_ids(classes: Sequence[str]) -> Sequence[int]:
    """Numbers of the classes in COCO's files, where these are its 80."""
    return CATEGORY_IDS if len(classes) == len(CATEGORY_IDS) else range(1, len(classes) + 1)


def read_coco(
    root: Path,
    classes: Sequence[str],
    splits: Mapping[str, tuple[str, str]],
    limit: int | None = None,
    progress: Progress | None = None,
    faults: Faults | None = None,
    oriented: bool = True,
    negatives: bool = False,
    threads: int = 1,
) -> tuple[dict[str, list[str]], list[Entry]]:
    """Read and check a data set in the layout of COCO.

    The id of an image is the name of its file without suffix, see `identifiers`. Labels are the classes of all its
    instances, crowd regions included; an image without any is left out unless `negatives`, as in the lists of the field (82,081 of 82,783
    training and 40,137 of 40,504 validation images of 2014). Boxes are x0, y0, x1, y1 as the file has them, counted from
    0, or around the outline where it has none; those of crowd regions are marked. One without area is left out, or a
    pixel where its class has no other in the image.

    Args:
        root: the folder that all paths are under.
        classes: names of the object classes, all that annotations have.
        splits: from the name of a split to its instances file and the folder of its images.
        limit: keep the first labelled images of each split only.
        progress: called with (done, total) after each image.
        faults: collects what is suspicious, too.
        oriented: whether EXIF orientations are applied.
        negatives: whether images without any instance are kept, as images that show none of the classes.
        threads: that read images at once.

    Returns:
        the ids of each split in the order of its file, and an entry for each id in the order of first appearance.

    Raises:
        UserError: with all faults of all files; a file that is no such JSON is refused at once.
    """
    root, faults = Path(root), Faults() if faults is None else faults
    files: dict[str, InstancesFile] = {}
    objects: dict[str, dict[int, Objects]] = {}
    for split, (file, _) in splits.items():
        files[split] = InstancesFile(root / file, classes, faults)
        objects[split] = _objects(files[split])
    ids = identifiers(
        (folder, picture.name) for split, (_, folder) in splits.items() for picture in files[split].pictures.values()
    )
    members: dict[str, list[str]] = {}
    found: dict[str, Found] = {}
    for split, (_, folder) in splits.items():
        path, members[split] = files[split].path, []
        for number, picture in files[split].pictures.items():
            if limit and len(members[split]) >= limit:
                break
            if not (number in objects[split] or negatives):
                faults.suspect("left_out", ids[folder, picture.name])
                continue
            identifier, image = ids[folder, picture.name], image_path(root, folder, picture.name)
            try:
                _check_new(identifier, path, image, found.get(identifier))
            except UserError as error:
                faults.add(str(error))
                continue
            members[split].append(identifier)
            found[identifier] = Found(path, image, picture.name, picture.size, objects[split].get(number, Objects()))
        if not members[split] and not faults.messages:
            faults.add(f"{path}: split {split!r} is empty, as no image has an object; name a file that has annotations")
    faults.raise_if_any(str(root))  # before the images are read, which takes long

    def check(identifier: str, own: Faults) -> Entry | None:
        one = found[identifier]
        where = f"{one.file}, image {identifier!r}"
        if not one.image.exists() and (reason := _why_missing(root, one)):
            own.add(f"{where}: {one.image} is missing: {reason}")
            return None
        if one.size is None:
            own.suspect("size_missing", identifier)
        if one.objects.beside:
            own.suspect(
                "box_beside_outline", identifier, f"annotation {', '.join(map(str, one.objects.beside[:MOST_SHOWN]))}"
            )
        boxes, crowds = one.objects.boxes, one.objects.crowds
        return check_entry(identifier, one.image, one.objects.labels, boxes, where, own, crowds, one.size, oriented)

    entries = gather(check, list(found), faults, progress, threads)
    faults.raise_if_any(str(root))
    return members, entries


def identifiers(names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The id of each image, which can name a file: its path without suffix, folders joined by `__`.

    The folder of its split stands in front where images of two of these would have one id.

    Args:
        names: the folder of the images of a split, and the path of a file below it.
    """
    plain = {(folder, name): _joined(PurePosixPath(name)) for folder, name in names}
    folders: dict[str, str] = {}
    if all(folders.setdefault(identifier, folder) == folder for (folder, _), identifier in plain.items()):
        return plain
    return {(folder, name): _joined(PurePath(folder) / name) for folder, name in plain}


def _joined(path: PurePath) -> str:
    return JOINED.join(part for part in path.with_suffix("").parts if part not in (path.anchor, ".."))


def _why_missing(root: Path, one: Found) -> str | None:
    if ESCAPE.search(one.name):
        return f"file_name {one.name!r} has escapes of an address (%20); write it as the file is called"
    if (root / one.name).exists():
        return f"file_name {one.name!r} names the folder itself; set `folder: .` of the split"
    return None


def _check_new(identifier: str, path: Path, image: Path, known: Found | None) -> None:
    try:
        check_id(identifier)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if known is None or (known.file, known.image) == (path, image):
        return
    if known.image == image:
        raise UserError(f"{path}: image {identifier!r} is also in {known.file}; take it out of one of them")
    raise UserError(f"{path}: {image} and {known.image} would both have the id {identifier!r}; rename one of them")


def _objects(contents: InstancesFile) -> dict[int, Objects]:
    """Those of each image that has any, by its number."""
    by_image: dict[int, list[tuple[Box, bool]]] = {}
    beside: dict[int, list[int]] = {}
    outlined = as_corners = 0
    for annotation in contents.annotations():
        by_image.setdefault(annotation.image, []).append(((*annotation.box, annotation.label), annotation.crowd))
        if around := coco_segmentation.around_polygons(annotation.segmentation):
            x0, y0, x1, y1 = annotation.box
            outlined += 1
            as_corners += not is_same(annotation.box, around) and is_same((x0, y0, x1 - x0, y1 - y0), around)
            if not is_same(annotation.box, around) and overlap(annotation.box, around) < ALIKE:
                beside.setdefault(annotation.image, []).append(annotation.number)
    if 2 * as_corners > outlined:
        contents.faults.add(
            f"{contents.path}: bbox of {as_corners} of {outlined} annotations with polygons is x0 y0 x1 y1, expected x y width height; "
            "write x1 - x0 for the width and y1 - y0 for the height, or leave bbox out where there are polygons"
        )
    if _are_normalised([box for boxes in by_image.values() for box, _ in boxes]):
        contents.faults.add(
            f"{contents.path}: all boxes are normalised, from 0 to 1, but pixels are expected; multiply x and width by the width of "
            "the image, y and height by its height"
        )
    found, crowds, flat = dict[int, Objects](), 0, 0
    for image, boxes in by_image.items():
        with_area = [(box, crowd) for box, crowd in boxes if box[2] > box[0] and box[3] > box[1]]
        flat += len(boxes) - len(with_area)
        boxed = {box[4] for box, _ in with_area}
        with_area += [(_pixel(box), crowd) for box, crowd in boxes if box[4] not in boxed]
        rows = [row for row, (_, crowd) in enumerate(with_area) if crowd]
        found[image] = Objects({box[4] for box, _ in boxes}, [box for box, _ in with_area], rows, beside.get(image, []))
        crowds += len(rows)
    empty = len(contents.pictures) - len(found)
    said = f"{empty} without an object; {crowds} boxes of crowds, {flat} without area"
    print(f"{contents.path}: {len(contents.pictures)} images, {said}")
    return found


def _are_normalised(boxes: Sequence[Box]) -> bool:
    within = all(is_normalised(box[:4]) for box in boxes)
    return within and any(value % 1 for box in boxes for value in box[:4])


def _pixel(box: Box) -> Box:
    """A box without area, a pixel wide and high at least."""
    x0, y0, x1, y1, label = box
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1), label
