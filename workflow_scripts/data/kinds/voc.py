"""PASCAL VOC: the VOCdevkit folder with its lists of ids and its XML annotations (Everingham et al., IJCV 2010)."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse
from pydantic import Field

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.base.listings import PICTURE_SUFFIXES, listed_ids, picture_files, readable_ids
from workflow_scripts.base.plugins import plugin
from workflow_scripts.config.types.datasets import TRUTH, Id, Masked, Place, Reading, Split, by_folder
from workflow_scripts.config.types.parts import Sections
from workflow_scripts.data.index_entries import (
    Entry,
    Faults,
    Progress,
    check_entry,
    check_id,
    class_index,
    gather,
    parse_box,
)
from workflow_scripts.run.command import plain


class Voc(Masked):
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

    reads: ClassVar = {
        "images": Reading(("root", "images", "annotations", "sbd", "orientation")),
        "truth": Reading(("root", "masks", "sbd", "mask_ids"), ("masks",), ("data.readers.voc_masks",)),
        "instances": Reading(
            ("root", "masks", "objects", "sbd", "mask_ids"), ("objects", "masks"), ("data.readers.voc_masks",)
        ),
        "backgrounds": Reading(("context",), ("context",), ("data.readers.pascal_context",)),
        "contours": Reading(("sbd",), ("sbd",), ("data.readers.sbd",)),
    }
    split_keys: ClassVar = ("ids", "sbd", "root", "labelled")

    def check(self, where: str, sections: Sections) -> None:
        super().check(where, sections)
        for name, split in self.splits.items():
            if split.sbd and self.sbd is None:
                raise UserError(f"{where}.splits.{name}.sbd: the data set has no folder sbd that these lists are in")

    def _listed(self) -> Iterator[tuple[Split, Path, list[Path]]]:
        """Splits of lists, the folder of their images, and the lists."""
        for split in self.splits.values():
            if split.ids is not None:
                root = Path(split.root or self.root)
                yield split, root, [root / split.ids, *(Path(self.sbd or "") / name for name in split.sbd)]

    def paths(self, part: str) -> Iterator[Path | str]:
        sbd, context = Path(self.sbd or ""), Path(self.context or "")
        if part == "backgrounds":
            yield context / "labels.txt"
        for split, root, lists in self._listed():
            if part != "images" and not split.labelled:
                continue
            ids = dict.fromkeys(identifier for path in lists for identifier in readable_ids(path))
            if part == "images":
                yield from lists
                pictures, absent = picture_files(root / self.images), f"{root / self.images}{os.sep}"
                yield from (path for name in ids for path in pictures.get(name) or [f"{absent}{name}.jpg"])
            folders = {
                "images": [(root / self.annotations, ".xml")] if split.labelled else [],
                "truth": [(root / (self.masks or ""), ".png"), *([(sbd / "cls", ".mat")] if self.sbd else [])],
                "instances": [
                    (root / (self.masks or ""), ".png"),
                    (root / (self.objects or ""), ".png"),
                    *([(sbd / "inst", ".mat")] if self.sbd else []),
                ],
                "backgrounds": [(context, ".mat")],
                "contours": [(sbd / "cls", ".mat")],
            }
            for folder, suffix in folders[part]:
                yield from (f"{folder}{os.sep}{name}{suffix}" for name in ids)  # tens of thousands: no `Path`s

    def places(self, part: str) -> Iterator[Place]:
        source = "VOC, SBD, or yours"
        if part == "images":
            roots: dict[tuple[Path, bool], None] = {}
            for split, root, lists in self._listed():
                yield from (Place("list", str(path), source, is_folder=False) for path in lists)
                roots[root, split.labelled] = None
            for root, labelled in roots:
                yield Place("images", f"{root}/{self.images}", "VOC, or yours")
                if labelled:
                    yield Place("annotations", f"{root}/{self.annotations}", "VOC, or yours")
        elif part == "truth" and self.masks:
            yield Place(TRUTH, f"{self.root}/{self.masks}", source, needed=not self.sbd)  # whose masks serve as well
        elif part == "backgrounds" and self.context:
            yield Place("folder", self.context, "PASCAL-Context")

    def ids(self, name: str) -> Iterator[Id]:
        ((split, _, lists),) = (found for found in self._listed() if found[0] is self.splits[name])
        for path in lists:
            if path.is_file():
                yield from (identifier for _, identifier in listed_ids(path)[: self.limit])
            else:
                yield from self.numbered(split.ids if path is lists[0] else str(path))

    def present(self, known: Mapping[str, list[Id]]) -> Iterator[tuple[str, str, list[bool]]]:
        """Photographs of any ending; a mask of VOC's or SBD's for each image that has labels."""
        images: dict[str, dict[str, bool]] = {}
        annotations: list[Path] = []
        masks: dict[str, bool] = {}
        for name, split in self.splits.items():
            if not split.ids:
                continue
            root = Path(split.root or self.root)
            ids, folder = [item for item in known[name] if isinstance(item, str)], root / self.images
            pictures = picture_files(folder)
            images.setdefault(str(folder), {}).update((identifier, identifier in pictures) for identifier in ids)
            if split.labelled:
                annotations += [root / self.annotations / f"{identifier}.xml" for identifier in ids]
                masks |= {identifier: self._has_mask(root, identifier) for identifier in ids} if self.masks else {}
        yield from (("images", folder, [*there.values()]) for folder, there in images.items() if os.path.isdir(folder))
        yield from by_folder("annotations", annotations)
        if masks and os.path.isdir(f"{self.root}/{self.masks}"):
            yield TRUTH, f"{self.root}/{self.masks}", [*masks.values()]

    def _has_mask(self, root: Path, identifier: str) -> bool:
        own = root / (self.masks or "") / f"{identifier}.png"
        return own.is_file() or self.sbd is not None and Path(self.sbd, "cls", f"{identifier}.mat").is_file()


LARGEST = 1 << 26  # bytes of an annotation


@dataclass(frozen=True)
class Source:
    """Where a split comes from.

    Attributes:
        lists: files of ids, each id counted once.
        root: the folder that holds its images and annotations.
        labelled: whether its images have annotations; without them they have no label and no box.
    """

    lists: tuple[Path, ...]
    root: Path
    labelled: bool = True


def index(settings: Any, rendered: None, **checking: Any) -> tuple[dict[str, list[str]], list[Entry]]:
    """As `read_voc`, from the settings of a job."""
    sources = {}
    for name, split in plain(settings.splits).items():
        if split["ids"] is not None:
            root = Path(split["root"] or settings.root)
            lists = [root / split["ids"], *(Path(settings.sbd) / path for path in split["sbd"])]
            sources[name] = Source(tuple(lists), root, split["labelled"])
    return read_voc(Path(settings.root), settings.classes, sources, settings.images, settings.annotations, **checking)


def truth(settings: Any, index: Any, **_: Any) -> Callable[[str], dict]:
    """As `voc_masks.truth`."""
    return plugin("data.readers", "voc_masks").truth(settings, index)


def instances(settings: Any, index: Any, rendered: None) -> Callable[[str], Any]:
    """As `voc_masks.instances`."""
    return plugin("data.readers", "voc_masks").instances(settings, index)


def backgrounds(settings: Any, truth: Any) -> tuple[str, dict[str, int], Callable[[str], Any]]:
    """Of PASCAL-Context, in the folder `context`."""
    pascal, folder = plugin("data.readers", "pascal_context"), Path(settings.context)

    def read(identifier: str) -> Any:
        path = folder / f"{identifier}.mat"
        return pascal.read_context(path) if path.exists() else None

    return str(folder / pascal.NAMES), pascal.read_names(folder), read


def read_voc(
    root: Path,
    classes: Sequence[str],
    lists: Mapping[str, str | Source],
    images: str = "JPEGImages",
    annotations: str = "Annotations",
    limit: int | None = None,
    progress: Progress | None = None,
    faults: Faults | None = None,
    oriented: bool = True,
    threads: int = 1,
) -> tuple[dict[str, list[str]], list[Entry]]:
    """Read and check a data set in the layout of VOCdevkit/VOC2012.

    Labels are the classes of all objects in the XML file of an image, difficult ones included. Boxes are xmin, ymin,
    xmax, ymax as the file has them: counted from 1, the last pixel inside.

    Args:
        root: the folder that holds the images and annotations.
        classes: names of the object classes.
        lists: from the name of a split to its list, a path relative to the root with one id in a line; or where it
            comes from.
        images, annotations: folders relative to the root, of {id}.jpg (or another ending of images) and {id}.xml.
        limit: keep the first ids of each list only.
        progress: called with (done, total) after each image.
        faults: collects what is suspicious, too.
        oriented: whether EXIF orientations are applied.
        threads: that read images at once.

    Returns:
        the ids of each split in the order of its list, and an entry for each id in the order of first appearance.

    Raises:
        UserError: with all faults of all files.
    """
    root = Path(root)
    sources = {name: item if isinstance(item, Source) else Source((root / item,), root) for name, item in lists.items()}
    for folder in dict.fromkeys(source.root for source in sources.values()):
        labelled = any(source.labelled for source in sources.values() if source.root == folder)
        _check_layout(folder, images, *([annotations] if labelled else []))

    faults = Faults() if faults is None else faults
    splits = {name: _read_lists(source.lists, name, limit, faults) for name, source in sources.items()}
    origins: dict[str, Source] = {}
    for name, ids in splits.items():
        for identifier in ids:
            other = origins.setdefault(identifier, sources[name])
            if (other.root, other.labelled) != (sources[name].root, sources[name].labelled):
                faults.add(
                    f"split {name!r}: id {identifier!r} is in a split of another root, or without labels, too; an image "
                    "belongs to one of them"
                )

    pictures = {root: picture_files(root / images) for root in {source.root for source in sources.values()}}

    def check(identifier: str, own: Faults) -> Entry | None:
        folder = origins[identifier].root
        if reason := _no_id(identifier, pictures[folder]):
            own.add(f"{', '.join(map(str, origins[identifier].lists))}: line {identifier!r} {reason}")
            return None
        image, *others = pictures[folder].get(identifier, [str(folder / images / f"{identifier}.jpg")])
        annotation = folder / annotations / f"{identifier}.xml"
        boxes, stated = list[Any](), None
        if origins[identifier].labelled:
            boxes, stated = _read_annotation(annotation, identifier, classes, own)
        if others:
            own.add(f"{image}: {', '.join(Path(other).name for other in others)} is of the same id; keep one of them")
        labels = (box[4] for box in boxes)
        return check_entry(
            identifier, Path(image), labels, boxes, str(annotation), own, stated=stated, oriented=oriented
        )

    entries = gather(check, list(origins), faults, progress, threads)
    faults.raise_if_any(str(root))
    return splits, entries


def _check_layout(root: Path, *parts: str) -> None:
    for folder in (root, *(root / part for part in parts)):
        if not folder.is_dir():
            raise UserError(
                f"{folder}: the folder is missing; unpack the archive of PASCAL VOC there, so that the root of the data"
                " set is VOCdevkit/VOC2012 with JPEGImages, Annotations and ImageSets inside, or set the root in the"
                " config"
            )


def _read_lists(paths: Sequence[Path], split: str, limit: int | None, faults: Faults) -> list[str]:
    """The valid ids of several lists, each once, in the order of first appearance."""
    return list(dict.fromkeys(identifier for path in paths for identifier in _read_list(path, split, limit, faults)))


def _read_list(path: Path, split: str, limit: int | None, faults: Faults) -> list[str]:
    """The valid ids of a list, each once."""
    try:
        listed = listed_ids(path)[:limit]
    except UserError as error:
        faults.add(f"split {split!r}: {error}")
        return []

    first_line: dict[str, int] = {}
    for number, identifier in listed:
        try:
            check_id(identifier)
        except UserError as error:
            faults.add(f"{path}, line {number}: {error}")
            continue
        if identifier in first_line:
            faults.add(f"{path}, line {number}: id {identifier!r} is in line {first_line[identifier]} too; remove one")
        else:
            first_line[identifier] = number
    if not listed:
        faults.add(f"{path}: split {split!r} is empty; expected one image id in a line")
    return list(first_line)


def _no_id(line: str, names: Collection[str]) -> str | None:
    """What a line has beside the id of one of the images, and what to do."""
    stem, suffix = os.path.splitext(line)
    if line not in names and suffix.lower() in {".xml", *PICTURE_SUFFIXES} and stem in names:
        return f"has the ending of a file; write the id alone: {stem}"
    first, _, rest = line.partition(" ")
    if line not in names and rest.strip() in ("-1", "0", "1") and first in names:
        return (
            f"says whether one class is shown, {rest.strip()}; name a list of ids, such as those in ImageSets/Segmentation, "
            f"or write the id alone: {first}"
        )
    return None


def _read_annotation(
    path: Path, identifier: str, classes: Sequence[str], faults: Faults
) -> tuple[list[tuple[float, float, float, float, int]], tuple[int, int] | None]:
    """Boxes of all objects in an annotation file, and the height and width that it states, unless they are 0 or not there.

    Faults are noted, and what has a fault is left out.
    """
    try:
        if path.stat().st_size > LARGEST:
            faults.add(f"{path}: has more than {LARGEST >> 20} MiB, which no annotation takes; restore the file")
            return [], None
        annotation = parse(path).getroot()
    except FileNotFoundError:
        faults.add(f"{path}: the annotation is missing; restore it or take the id off the lists")
        return [], None
    except OSError as error:
        faults.add(f"{path}: cannot be read ({error.strerror}); check the path and its permissions")
        return [], None
    except DefusedXmlException as error:
        faults.add(f"{path}: refused, as the XML defines entities ({type(error).__name__}); write it without a DTD")
        return [], None
    except (ParseError, ValueError, LookupError) as error:  # the last two: an encoding that does not fit or exist
        faults.add(f"{path}: broken XML ({one_line(error)}); restore the file")
        return [], None
    if annotation.tag != "annotation":
        faults.add(f"{path}: the root element is <{annotation.tag}>, expected <annotation> as in PASCAL VOC")
        return [], None
    objects = annotation.findall("object")
    if not objects:
        faults.suspect("no_object", identifier)

    boxes = []
    for element in objects:
        try:
            number = class_index((element.findtext("name") or "").strip(), classes, str(path))
            corners = [element.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
            boxes.append((*parse_box(corners, str(path)), number))
        except UserError as error:
            faults.add(str(error))
    try:
        height, width = (_whole(annotation.findtext(f"size/{side}") or "0") for side in ("height", "width"))
    except (ValueError, OverflowError):
        faults.add(f"{path}: the size has a width or height that is no whole number; correct it, or write 0")
        return boxes, None
    if height <= 0 or width <= 0:
        faults.suspect("size_missing", identifier)
        return boxes, None
    return boxes, (height, width)


def _whole(text: str) -> int:
    """A whole number, which some tools write as 64.0."""
    value = float(text)
    if value != int(value):
        raise ValueError(text)
    return int(value)
