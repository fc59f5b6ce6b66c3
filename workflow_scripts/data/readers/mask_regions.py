"""Label maps drawn from the regions of a JSON file, as people correct them: COCO's, or the tasks of Label Studio.

Regions are drawn in the order of the file, later ones over earlier ones. What no region covers is background; a region
`ignored` is 255. An image that the file lists, or a task that was submitted, has a mask, and be it an empty one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from pycocotools import mask as runs

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.coco_regions import file_names
from workflow_scripts.data.index import Index
from workflow_scripts.data.index_entries import Faults, nearest_name
from workflow_scripts.data.readers import brush_runs, coco_segmentation, labelmap
from workflow_scripts.data.readers.coco_file import InstancesFile
from workflow_scripts.data.readers.images import VOID
from workflow_scripts.data.readers.json_lists import is_list, read_items

WHOLE_IMAGE = {
    "choices",
    "datetime",
    "number",
    "pairwise",
    "ranker",
    "rating",
    "taxonomy",
    "textarea",
}  # of Label Studio
HASH = 8  # characters that Label Studio puts before the name of a file that was uploaded, and a "-"

Region = tuple[int, Callable[[], np.ndarray]]  # a label, and a function that gives its pixels, bool (H, W)


class MaskRegions:
    """Regions by id, packed as in the file: less than the file takes."""

    def __init__(self, path: Path, regions: dict[str, list[Region]], faults: Faults):
        self.path = path
        self._regions, self.faults = regions, faults

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._regions

    def __len__(self) -> int:
        return len(self._regions)

    def check_names(self, known: Iterable[str], needed: Sequence[str]) -> None:
        """Refuse what was wrong with the file, and needed images without a mask, all of them named."""
        for identifier in needed:
            if identifier not in self._regions:
                self.faults.add(f"{self.path}: no mask of {identifier!r}; draw it, or name masks in `otherwise`")
        self.faults.raise_if_any(str(self.path))

    def read(self, identifier: str, size: tuple[int, int], oriented: bool = True) -> np.ndarray:
        """The label map of an image of this height and width, uint8: 0 background, 1..C classes, 255 ignored.

        Raises:
            UserError: pixels that cannot be read.
        """
        label, twice = np.zeros(size, np.uint8), 0
        for value, pixels in self._regions[identifier]:
            inside = pixels()
            twice += int(((label[inside] != 0) & (label[inside] != value)).sum())
            label[inside] = value
        if twice:
            print(f"{self.path}: {identifier!r}: {twice} pixels in two regions go to the later one", flush=True)
        return label


def open_regions(path: Path, index: Index) -> MaskRegions:
    """The masks of a JSON file.

    Raises:
        UserError: missing, or no JSON of COCO or Label Studio.
    """
    found: dict[str, list[Region]] = {}
    faults = Faults()
    (_tasks if is_list(path) else _coco)(path, index, found, faults)
    if not found and not faults.messages:
        raise UserError(f"{path}: holds no mask; export images or tasks that were annotated")
    return MaskRegions(path, found, faults)


class _Names:
    """From the names of files to ids."""

    def __init__(self, index: Index):
        written = file_names(index)
        counts = Counter(PurePosixPath(name).name for name in written.values())
        bare = {PurePosixPath(name).name: identifier for identifier, name in written.items()}
        self._ids = {name: identifier for name, identifier in bare.items() if counts[name] == 1}
        self._ids |= {name: identifier for identifier, name in written.items()}
        self.known = dict.fromkeys(index.ids)

    def id_of(self, name: str) -> str | None:
        """By an id that the file is named after, as `export --images` does, or by the image's own file."""
        path = PurePosixPath(name)
        if path.stem in self.known:
            return path.stem
        return self._ids.get(name) or self._ids.get(path.name)

    def unknown(self, name: str) -> str:
        """What a fault says of a name."""
        return (
            f"no image has the id or file {name!r}, the nearest known id is {nearest_name(name, self.known)!r}; rename it or "
            "take it away"
        )


# COCO


def _coco(path: Path, index: Index, found: dict[str, list[Region]], faults: Faults) -> None:
    classes = [*index.classes, labelmap.IGNORED]
    contents, names = InstancesFile(path, classes, faults), _Names(index)
    ids: dict[int, str] = {}
    for number, picture in contents.pictures.items():
        where, identifier = f"{path}, image {number}", names.id_of(picture.name)
        if identifier is None:
            faults.add(f"{where}: {names.unknown(picture.name)}")
        elif identifier in found:
            faults.add(f"{where}: {identifier!r} has another image in this file; keep one of them")
        elif picture.size not in (None, size := index.size_of(identifier)):
            faults.add(f"{where}: {_sizes(picture.size, size)}")
        else:
            ids[number] = identifier
            found[identifier] = []
    for annotation in contents.annotations(ids):
        where = f"{path}, annotation {annotation.number}"
        if coco_segmentation.is_empty(annotation.segmentation):
            faults.add(f"{where}: has no outline (segmentation); draw it as a mask or polygon, or delete it")
            continue
        size = index.size_of(ids[annotation.image])
        try:
            packed = coco_segmentation.encode(annotation.segmentation, size, where)
        except UserError as error:
            faults.add(str(error))
            continue
        label = VOID if annotation.label == len(index.classes) else annotation.label + 1
        found[ids[annotation.image]].append((label, partial(_unpacked, packed)))


def _unpacked(packed: dict) -> np.ndarray:
    return runs.decode(packed).astype(bool)


def _sizes(found: Any, size: tuple[int, int]) -> str:
    return (
        f"is annotated at {' x '.join(map(str, found))}, its image is {size[0]} x {size[1]} (H x W); annotate the image "
        "that the data set has"
    )


# Label Studio


def _tasks(path: Path, index: Index, found: dict[str, list[Region]], faults: Faults) -> None:
    names = _Names(index)
    for place, task in enumerate(read_items(path), start=1):
        where = f"{path}, task {task['id'] if isinstance(task, dict) and 'id' in task else place}"
        data, annotations = (
            (task.get(key) for key in ("data", "annotations")) if isinstance(task, dict) else (None, None)
        )
        if not isinstance(data, dict) or not isinstance(annotations, list):
            raise UserError(
                f"{where}: has no 'data' and 'annotations'; export as 'JSON' from Label Studio, not 'JSON-MIN'"
            )
        done = [one for one in annotations if isinstance(one, dict) and not one.get("was_cancelled")]
        if not done:
            continue
        try:
            identifier = _id_of(data, names, where)
            if len(done) > 1:
                raise UserError(f"{where}: {identifier!r} has {len(done)} annotations; keep one of them")
            if identifier in found:
                raise UserError(f"{where}: {identifier!r} has another task in this file; keep one of them")
            found[identifier] = []
            for item in done[0].get("result") or ():
                if region := _region(item, index, identifier, where):
                    found[identifier].append(region)
        except UserError as error:
            faults.add(str(error))


def _id_of(data: dict, names: _Names, where: str) -> str:
    """By `id`, as `export` writes it, or by the address of the image."""
    if (told := data.get("id")) is not None and str(told) in names.known:
        return str(told)
    address = data.get("image")
    if not isinstance(address, str):
        raise UserError(f"{where}: its data have neither 'id' nor 'image'; import the tasks that `export` writes")
    parts = urlsplit(address)
    name = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    bare = PurePosixPath(name).name
    uploaded = bare[HASH + 1 :] if bare[HASH : HASH + 1] == "-" else bare
    identifier = names.id_of(name) or names.id_of(uploaded)
    if identifier is None:
        raise UserError(f"{where}: {names.unknown(bare)}")
    return identifier


def _region(item: Any, index: Index, identifier: str, where: str) -> Region | None:
    """A region that the brush drew; None for what is said of the whole image."""
    kind = item.get("type") if isinstance(item, dict) else None
    if kind in WHOLE_IMAGE or kind == "relation":
        return None
    value: Any = item.get("value") if kind == "brushlabels" else None
    if not isinstance(value, dict) or value.get("format") != "rle" or not isinstance(value.get("rle"), list):
        raise UserError(f"{where}: {identifier!r} has a region of type {kind!r}; draw it with the brush, or delete it")
    named = value.get("brushlabels")
    if not isinstance(named, list) or len(named) != 1:
        raise UserError(f"{where}: {identifier!r} has a region with not one label; give it one")
    label = labelmap.label_of(str(named[0]), index.classes)
    if label is None:
        raise UserError(
            f"{where}: {identifier!r}: label {named[0]!r} is unknown, the nearest known class is "
            f"{nearest_name(str(named[0]), index.classes)!r}; correct it or add it to the classes of the data set"
        )
    size = index.size_of(identifier)
    stated = item.get("original_height"), item.get("original_width")
    if stated != size:
        raise UserError(f"{where}: {identifier!r} {_sizes(stated, size)}")
    if item.get("image_rotation"):
        raise UserError(f"{where}: {identifier!r} was turned in Label Studio; turn it back and draw the region again")
    try:
        stream = bytes(value["rle"])
    except (TypeError, ValueError):
        raise UserError(f"{where}: {identifier!r}: its 'rle' are no bytes; export it again") from None
    return label, partial(_decoded, stream, size, f"{where}: {identifier!r}")


def _decoded(stream: bytes, size: tuple[int, int], where: str) -> np.ndarray:
    try:
        return brush_runs.decode(stream, size)
    except ValueError as error:
        raise UserError(f"{where}: its 'rle' cannot be read ({error}); export it again") from None
