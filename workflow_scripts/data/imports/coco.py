"""COCO's JSON of instances, of any tool: boxes, polygons and run lengths."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.imports.geometry import stored_size
from workflow_scripts.data.imports.records import Contents, Picture, Shape, Told
from workflow_scripts.data.imports.source import Source, split_in, split_of
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.readers import coco_segmentation
from workflow_scripts.data.readers.coco_file import KEYS, InstancesFile

TITLE = "COCO JSON"
MARKS = {*KEYS, "file_name", "image_id", "category_id", "supercategory", "info", "licenses"}
OTHERS = ("captions", "person_keypoints", "stuff", "panoptic", "image_info")  # of COCO itself, beside the instances


def found(source: Source) -> str:
    """JSON files with at least two keys that COCO's have."""
    return " and ".join(_files(source)[0])


def read(source: Source, told: Told) -> Contents:
    """One file is one split, if its name or its folder says so. Pixels are kept as run lengths: annotations come in any order.

    Raises:
        UserError: a file that is no such JSON.
    """
    names, others = _files(source)
    for name in others:
        told.note("other_file", name)
    files = [_open(source, name, told) for name in names]
    classes = list(dict.fromkeys(name for contents in files for name in contents.classes))

    def pictures(told: Told) -> Iterator[Picture]:
        for name, contents in zip(names, files, strict=True):
            contents.faults = told
            yield from _pictures(source, name, contents, told)

    return Contents(classes, pictures)


def _files(source: Source) -> tuple[list[str], list[str]]:
    """Files of instances, and others of COCO beside them."""
    names = []
    for name in source.with_suffix(".json"):
        bracket, keys = source.json_keys(name)
        if bracket == "{" and len(keys & MARKS) > 1 and "shapes" not in keys:
            names.append(name)
    others = [name for name in names if PurePosixPath(name).name.startswith(OTHERS)]
    others = others if len(others) < len(names) else []
    return [name for name in names if name not in others], others


def _open(source: Source, name: str, faults: Faults) -> InstancesFile:
    contents = InstancesFile(source.root / name, (), faults)
    contents.classes = list(dict.fromkeys(contents.categories[number] for number in sorted(contents.categories)))
    return contents


def _pictures(source: Source, name: str, contents: InstancesFile, told: Told) -> Iterator[Picture]:
    path = PurePosixPath(name)
    split = split_in(path.stem) or split_of(*reversed(path.parts[:-1]))
    beside = "" if str(path.parent) == "." else str(path.parent)
    pictures: dict[int, Picture] = {}
    for number, item in contents.pictures.items():
        where = f"{contents.path}, image {number}"
        try:
            image = source.find(item.name, beside, where, told)
        except UserError as error:
            told.add(str(error))
            continue
        pictures[number] = Picture(image, where, split=split, size=item.size, annotated=False)
    sizes: dict[int, tuple[int, int]] = {}
    for one in contents.annotations():
        if (picture := pictures.get(one.image)) is None:  # its fault is told
            continue
        picture.annotated = True
        outline = None
        if not coco_segmentation.is_empty(one.segmentation):
            try:
                size = picture.size or coco_segmentation.stated_size(one.segmentation) or sizes.get(one.image)
                size = sizes[one.image] = size or stored_size(picture.path)
                outline = coco_segmentation.encode(one.segmentation, size, f"{contents.path}, annotation {one.number}")
                outline = {"size": [int(side) for side in outline["size"]], "counts": outline["counts"].decode("ascii")}
            except UserError as error:
                told.add(str(error))
                continue
        if one.crowd:
            told.note("crowd", f"annotation {one.number}")
        picture.shapes.append(Shape(contents.classes[one.label], one.box, outline, one.crowd))
    yield from pictures.values()
