"""PASCAL VOC: the VOCdevkit folder with its lists of ids and its XML annotations (Everingham et al., IJCV 2010)."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

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
from workflow_scripts.errors import UserError
from workflow_scripts.listings import listed_ids

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


def mask_ids(classes: Sequence[str]) -> dict[int, int]:
    """From the ids in label files to the classes 1..C: VOC's ids if all classes are VOC's, else 1..C as they are."""
    if all(name in VOC_CLASSES for name in classes):
        return {VOC_CLASSES.index(name) + 1: number for number, name in enumerate(classes, start=1)}
    return {number: number for number in range(1, len(classes) + 1)}


def read_voc(
    root: Path,
    classes: Sequence[str],
    lists: dict[str, str],
    images: str = "JPEGImages",
    annotations: str = "Annotations",
    limit: int | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, list[str]], list[Entry]]:
    """Read and check a data set in the layout of VOCdevkit/VOC2012.

    Labels are the classes of all objects in the XML file of an image, difficult ones included. Boxes are xmin, ymin,
    xmax, ymax as the file has them: counted from 1, the last pixel inside.

    Args:
        root: the folder that holds the images and annotations.
        classes: names of the object classes.
        lists: from the name of a split to its list, a path relative to the root with one id in a line.
        images, annotations: folders relative to the root, of {id}.jpg and {id}.xml.
        limit: keep the first ids of each list only.
        progress: called with (done, total) after each image.

    Returns:
        the ids of each split in the order of its list, and an entry for each id in the order of first appearance.

    Raises:
        UserError: with all faults of all files.
    """
    root = Path(root)
    _check_layout(root, images, annotations)

    faults = Faults()
    splits = {name: _read_list(root / path, name, limit, faults) for name, path in lists.items()}
    union = list(dict.fromkeys(identifier for ids in splits.values() for identifier in ids))

    def check(identifier: str, own: Faults) -> Entry | None:
        annotation = root / annotations / f"{identifier}.xml"
        boxes = _read_boxes(annotation, classes, own)
        image = root / images / f"{identifier}.jpg"
        return check_entry(identifier, image, (box[4] for box in boxes), boxes, str(annotation), own)

    entries = gather(check, union, faults, progress)
    faults.raise_if_any(str(root))
    return splits, entries


def _check_layout(root: Path, images: str, annotations: str) -> None:
    for folder in (root, root / images, root / annotations):
        if not folder.is_dir():
            raise UserError(
                f"{folder}: the folder is missing; unpack the archive of PASCAL VOC there, so that the root of the data"
                " set is VOCdevkit/VOC2012 with JPEGImages, Annotations and ImageSets inside, or set the root in the"
                " config"
            )


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


def _read_boxes(path: Path, classes: Sequence[str], faults: Faults) -> list[tuple[float, float, float, float, int]]:
    """Boxes of all objects in an annotation file; faults are noted, and what has a fault is left out."""
    try:
        annotation = parse(path).getroot()
    except FileNotFoundError:
        faults.add(f"{path}: the annotation is missing; restore it or take the id off the lists")
        return []
    except OSError as error:
        faults.add(f"{path}: cannot be read ({error.strerror}); check the path and its permissions")
        return []
    except DefusedXmlException as error:
        faults.add(f"{path}: refused, as the XML defines entities ({type(error).__name__}); write it without a DTD")
        return []
    except (ParseError, ValueError, LookupError) as error:  # the last two: an encoding that does not fit or exist
        faults.add(f"{path}: broken XML ({error}); restore the file")
        return []
    if annotation.tag != "annotation":
        faults.add(f"{path}: the root element is <{annotation.tag}>, expected <annotation> as in PASCAL VOC")
        return []
    objects = annotation.findall("object")
    if not objects:
        faults.add(f"{path}: the image has no label; annotate an <object> or take the id off the lists")

    boxes = []
    for element in objects:
        try:
            number = class_index((element.findtext("name") or "").strip(), classes, str(path))
            corners = [element.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
            boxes.append((*parse_box(corners, str(path)), number))
        except UserError as error:
            faults.add(str(error))
    return boxes
