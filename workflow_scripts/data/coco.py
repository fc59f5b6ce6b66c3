"""COCO: images of everyday scenes with instances in one JSON file a split (Lin et al., ECCV 2014)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workflow_scripts.data.index_entries import Entry, Faults, Progress, check_entry, check_id, gather, nearest
from workflow_scripts.data.json_lists import is_number, read_lists
from workflow_scripts.errors import UserError

Box = tuple[float, float, float, float, int]


@dataclass
class Instances:
    """What an instances file says, checked: file names of its images, and by image the classes and boxes in it."""

    files: dict[int, str] = field(default_factory=dict)
    labels: dict[int, set[int]] = field(default_factory=dict)
    boxes: dict[int, list[Box]] = field(default_factory=dict)
    crowds: dict[int, list[int]] = field(default_factory=dict)  # rows of the boxes
    flat: int = 0  # boxes without area


def read_coco(
    root: Path,
    classes: Sequence[str],
    splits: Mapping[str, tuple[str, str]],
    limit: int | None = None,
    progress: Progress | None = None,
    faults: Faults | None = None,
    oriented: bool = True,
) -> tuple[dict[str, list[str]], list[Entry]]:
    """Read and check a data set in the layout of COCO.

    The id of an image is the name of its file without suffix. Labels are the classes of all its instances, crowd
    regions included; an image without any is left out, as in the lists of the field (82,081 of 82,783 training and
    40,137 of 40,504 validation images of 2014). Boxes are x0, y0, x1, y1 as the file has them, counted from 0; those of
    crowd regions are marked. One without area is left out, or a pixel where its class has no other in the image.

    Args:
        root: the folder that all paths are under.
        classes: names of the object classes, all that the files have.
        splits: from the name of a split to its instances file and the folder of its images.
        limit: keep the first labelled images of each split only.
        progress: called with (done, total) after each image.
        faults: collects what is suspicious, too.
        oriented: whether EXIF orientations are applied.

    Returns:
        the ids of each split in the order of its file, and an entry for each id in the order of first appearance.

    Raises:
        UserError: with all faults of all files; a file that is no such JSON is refused at once.
    """
    root, faults = Path(root), Faults() if faults is None else faults
    members: dict[str, list[str]] = {}
    found: dict[str, tuple[Path, Path, set[int], list[Box], list[int]]] = {}
    for split, (file, folder) in splits.items():
        path = root / file
        instances = read_instances(path, classes, faults)
        members[split] = []
        for number, name in instances.files.items():
            if number not in instances.labels or (limit and len(members[split]) >= limit):
                continue
            identifier, image = Path(name).stem, root / folder / name
            if identifier in found and found[identifier][:2] != (path, image):
                faults.add(
                    f"{path}: image {identifier!r} is also in {found[identifier][0]}; take it out of one of them"
                )
                continue
            members[split].append(identifier)
            found[identifier] = path, image, instances.labels[number], instances.boxes[number], instances.crowds[number]
        empty = len(instances.files) - len(instances.labels)
        crowds = sum(map(len, instances.crowds.values()))
        said = f"{empty} without an object; {crowds} boxes of crowds, {instances.flat} without area"
        print(f"{path}: {len(instances.files)} images, {said}")
        if not members[split] and not faults.messages:
            faults.add(f"{path}: split {split!r} is empty, as no image has an object")
    faults.raise_if_any(str(root))  # before the images are read, which takes long

    def check(identifier: str, own: Faults) -> Entry | None:
        path, image, labels, boxes, crowds = found[identifier]
        return check_entry(
            identifier, image, labels, boxes, f"{path}, image {identifier!r}", own, crowds, oriented=oriented
        )

    entries = gather(check, list(found), faults, progress)
    faults.raise_if_any(str(root))
    return members, entries


def read_instances(path: Path, classes: Sequence[str], faults: Faults) -> Instances:
    """Read one instances file; what has a fault is noted and left out."""
    found, categories = Instances(), dict[int, int]()
    annotations: set[int] = set()
    first_use: dict[tuple[str, int], int] = {}
    raw: dict[int, list[tuple[int, Any, bool]]] = {}
    for key, item in read_lists(path, ("images", "annotations", "categories")):
        try:
            if key == "images":
                _add_image(item, found.files, path)
            elif key == "categories":
                _add_category(item, categories, classes, path)
            else:
                number = _integer(item, "id", f"{path}, annotations")
                where = f"{path}, annotation {number}"
                image, category = _integer(item, "image_id", where), _integer(item, "category_id", where)
                if number in annotations:
                    raise UserError(f"{where}: the id occurs twice; restore the file")
                annotations.add(number)
                first_use.setdefault(("image", image), number)
                first_use.setdefault(("category", category), number)
                raw.setdefault(image, []).append((category, _box(item, where), bool(item.get("iscrowd"))))
        except UserError as error:
            faults.add(str(error))
    names = set(found.files)
    for (kind, number), annotation in first_use.items():
        if number not in (names if kind == "image" else categories):
            faults.add(f"{path}, annotation {annotation}: unknown {kind} {number}; restore the file")
    for image, items in raw.items():
        items = [item for item in items if item[0] in categories]
        if image not in names or not items:
            continue
        found.labels[image] = {categories[category] for category, _, _ in items}
        boxes = [((*box, categories[category]), crowd) for category, box, crowd in items]
        with_area = [(box, crowd) for box, crowd in boxes if box[2] > box[0] and box[3] > box[1]]
        found.flat += len(boxes) - len(with_area)
        boxed = {box[4] for box, _ in with_area}
        with_area += [(_pixel(box), crowd) for box, crowd in boxes if box[4] not in boxed]
        found.boxes[image] = [box for box, _ in with_area]
        found.crowds[image] = [row for row, (_, crowd) in enumerate(with_area) if crowd]
    return found


def _pixel(box: Box) -> Box:
    """A box without area, a pixel wide and high at least."""
    x0, y0, x1, y1, label = box
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1), label


def _add_image(item: Any, files: dict[int, str], path: Path) -> None:
    number = _integer(item, "id", f"{path}, images")
    name = item.get("file_name")
    if not isinstance(name, str) or not name or "/" in name or "\\" in name or not name.isprintable():
        raise UserError(f"{path}, image {number}: file_name {name!r} is no name of a file; correct it")
    check_id(Path(name).stem)
    if number in files:
        raise UserError(f"{path}, image {number}: the id occurs twice; restore the file")
    files[number] = name


def _add_category(item: Any, categories: dict[int, int], classes: Sequence[str], path: Path) -> None:
    number = _integer(item, "id", f"{path}, categories")
    name = item.get("name")
    if name not in classes:
        raise UserError(
            f"{path}: category {name!r} is none of the classes, the nearest is {nearest(str(name), classes)!r}; correct it "
            "or add it to the classes of the data set"
        )
    if number in categories or classes.index(name) in categories.values():
        raise UserError(f"{path}: category {number} ({name}) occurs twice; restore the file")
    categories[number] = classes.index(name)


def _integer(item: Any, key: str, where: str) -> int:
    value = item.get(key) if isinstance(item, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(f"{where}: {key!r} is missing or no whole number; restore the file")
    return value


def _box(item: dict, where: str) -> tuple[float, float, float, float]:
    box = item.get("bbox")
    numbers = isinstance(box, list) and all(is_number(value) for value in box)
    if not numbers or len(box) != 4 or min(box[2:]) < 0:
        raise UserError(f"{where}: bbox {repr(box)[:100]} is not four numbers x y width height; restore the file")
    x, y, width, height = map(float, box)
    return x, y, x + width, y + height
