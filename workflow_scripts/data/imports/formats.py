"""Which format a source is of."""

from types import ModuleType

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.imports import class_folders, coco, cvat, label_studio, labelme, table, voc_xml, yolo
from workflow_scripts.data.imports.source import Source

FORMATS: dict[str, ModuleType] = {
    "folders": class_folders,
    "table": table,
    "yolo": yolo,
    "coco": coco,
    "voc": voc_xml,
    "cvat": cvat,
    "labelme": labelme,
    "label-studio": label_studio,
}


def recognised(source: Source) -> tuple[str, str]:
    """The format of a source and why it is that; folders of classes count where there is no file of annotations.

    Raises:
        UserError: none, or several.
    """
    found = {name: why for name, module in FORMATS.items() if (why := module.found(source))}
    if len(found) > 1:
        found.pop("folders", None)
    if len(found) > 1:
        told = " or ".join(f"{name} ({why})" for name, why in found.items())
        raise UserError(
            f"{source.path}: may be {told}; say which by --format {next(iter(found))}, or name one file as the source"
        )
    if found:
        return next(iter(found.items()))
    there = f"{len(source.pictures)} images and {len(source.files) - len(source.pictures)} other files"
    raise UserError(
        f"{source.path}: no known format ({there}); put images into a folder for each class, or write a table id,image,labels beside "
        f"them; known are {', '.join(FORMATS)}, and --format says which it is"
    )
