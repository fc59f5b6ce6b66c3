"""Export masks or predictions for other tools, to be looked at, scored or corrected there.

    wsss export results/demo/seed-0/masks/eps.h5 --format voc --out masks
    wsss export results/demo/seed-0/masks/eps.h5 --format coco --out masks.json
    wsss export results/demo/seed-0/masks/eps.h5 --format cvat --out masks.zip --images

voc: a folder with `SegmentationClass/{id}.png` (0 background, 1 for the first class, 255 ignored), `labelmap.txt`, and a
list of each split in `ImageSets/Segmentation`. coco: one JSON, an annotation for all pixels of a class in an image, as
compressed run lengths; 255 is left out. cvat: the archive "Segmentation mask 1.1", an object for all pixels of a class;
255 becomes the label `ignored`. With --images, voc and cvat hold the images too, named after their ids. docs/howto/correct.md
tells how corrected masks come back.
"""

import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.progress import progress
from workflow_scripts.commands.command_line import command_parser
from workflow_scripts.data import coco_regions
from workflow_scripts.data.beside import DataSet, asked_for, find_data_set
from workflow_scripts.data.index_entries import check_id
from workflow_scripts.data.maps import label_map
from workflow_scripts.data.readers import labelmap
from workflow_scripts.look import pictures
from workflow_scripts.look.schemas import SCHEMAS
from workflow_scripts.store.artifacts import Reader, replaced, schema_and_dataset
from workflow_scripts.store.provenance import check_bytes

LISTS, CLASS_MASKS, OBJECT_MASKS, IMAGES = (
    *("ImageSets/Segmentation", "SegmentationClass", "SegmentationObject", "JPEGImages"),
)


@dataclass
class Masks:
    """What is exported: the label maps of some images of an artifact."""

    reader: Reader
    data: DataSet
    ids: list[str]

    @property
    def classes(self) -> list[str]:
        return self.reader.attributes["classes"]

    def labels(self) -> Iterator[tuple[str, np.ndarray]]:
        """Ids and label maps uint8 (H, W), one after another, soft predictions decided by their maximum."""
        for identifier in progress(self.ids, len(self.ids), "export"):
            arrays, size = self.reader.read(identifier), self.data.index.size_of(identifier)
            label = label_map(arrays, size)
            if label.shape != size:
                raise UserError(
                    f"{self.reader.path}: {identifier!r} is not as large as its image; delete it and run again"
                )
            yield identifier, label


def read_masks(path: Path, ids: Sequence[str] | None, results: Path | None) -> Masks:
    """Open an artifact and its data set; ids are checked, as they become names of files."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; run snakemake to make it")
    check_bytes(path)
    schema, dataset = schema_and_dataset(path)
    if schema not in SCHEMAS or not SCHEMAS[schema].label_map or SCHEMAS[schema].threshold:
        raise UserError(
            f"{path}: holds {schema or 'no known content'!r}, expected masks or predictions; name another file"
        )
    reader, data = Reader(path, schema), find_data_set(path, dataset, results)
    chosen = asked_for(reader.ids, ids, path) if ids else reader.ids
    for identifier in chosen:
        check_id(identifier)
        if identifier not in data.index.row:
            raise UserError(
                f"{data.index.path}: has no image {identifier!r} of {path}; one of them is from another run"
            )
    return Masks(reader, data, chosen)


# Formats


def voc_files(masks: Masks, images: bool) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the layout of PASCAL VOC."""
    colours = pictures.PALETTE
    for identifier, label in masks.labels():
        yield f"{CLASS_MASKS}/{identifier}.png", pictures.label_png(label)
        if images:
            yield image_file(masks.data, identifier)
    names, exported = [labelmap.BACKGROUND, *masks.classes], set(masks.ids)
    places = [*range(len(names)), pictures.VOID]
    yield "labelmap.txt", labelmap.written([*names, labelmap.IGNORED], colours[places]).encode()
    for split in masks.data.index.splits:
        if members := [identifier for identifier in masks.data.index.split(split) if identifier in exported]:
            yield f"{LISTS}/{split}.txt", _lines(members)


def cvat_files(masks: Masks, images: bool) -> Iterator[tuple[str, bytes]]:
    """Names and contents of CVAT's "Segmentation mask 1.1".

    Values are places in `labelmap.txt`, as the importer takes them where it reads no colours, and so the label `ignored`
    follows the classes; it is there only where it is used. Objects are numbered from 1: what has none is not annotated.
    """
    names, ignored = [labelmap.BACKGROUND, *masks.classes], len(masks.classes) + 1
    colours = pictures.PALETTE.copy()
    colours[ignored] = pictures.PALETTE[pictures.VOID]
    found = False
    for identifier, label in masks.labels():
        unsure = label == pictures.VOID
        found = found or bool(unsure.any())
        classes = np.where(unsure, np.uint8(ignored), label)
        values, objects = np.unique(classes, return_inverse=True)
        objects = objects.reshape(label.shape) + (values[0] != 0)
        yield f"{CLASS_MASKS}/{identifier}.png", _palette_png(classes, colours)
        yield f"{OBJECT_MASKS}/{identifier}.png", pictures.label_png(objects.astype(np.uint8))
        if images:
            yield image_file(masks.data, identifier)
    names += [labelmap.IGNORED] if found else []
    yield "labelmap.txt", labelmap.written(names, colours[: len(names)]).encode()
    yield f"{LISTS}/default.txt", _lines(masks.ids)
    print(f"CVAT: give the task these labels: {', '.join(names[1:])}", flush=True)


def coco_text(masks: Masks) -> Iterator[str]:
    """The JSON in pieces: images by their files' names, and of each the regions of its classes."""
    index, numbers = masks.data.index, dict(zip(masks.ids, coco_regions.image_numbers(masks.ids), strict=True))
    names = coco_regions.file_names(index)
    images = (coco_regions.image_entry(index, name, number, names[name]) for name, number in numbers.items())
    classes = masks.classes
    regions = (
        (numbers[identifier], *region)
        for identifier, label in masks.labels()
        for region in coco_regions.class_regions(label, len(classes))
    )
    annotations = (coco_regions.annotation(number, *region) for number, region in enumerate(regions, start=1))
    return coco_regions.document(classes, images, annotations)


def image_file(data: DataSet, identifier: str) -> tuple[str, bytes]:
    """An image under its id: the file as it is; as PNG a rendered one, and one with an EXIF orientation, which not every tool applies."""
    path = data.index.images[data.index.row[identifier]]
    pixels, orientation = data.images.photograph(identifier)  # checked, also where the bytes of the file are taken
    if path and orientation == 1:
        return f"{IMAGES}/{identifier}{Path(path).suffix.lower()}", Path(path).read_bytes()
    return f"{IMAGES}/{identifier}.png", pictures.png(Image.fromarray(pixels))


def _palette_png(label: np.ndarray, colours: np.ndarray) -> bytes:
    image = Image.fromarray(label)
    image.putpalette(colours.tobytes())
    return pictures.png(image)


def _lines(ids: Sequence[str]) -> bytes:
    return "".join(f"{identifier}\n" for identifier in ids).encode()


# Files


def write_folder(out: Path, files: Iterator[tuple[str, bytes]]) -> None:
    """Write files below a folder that appears when all of them are there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        for name, content in files:
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_bytes(content)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_zip(out: Path, files: Iterator[tuple[str, bytes]]) -> None:
    """Write files into an archive, without times: equal files are equal bytes. PNG and JPEG are packed already."""
    with replaced(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files:
            about = zipfile.ZipInfo(str(PurePosixPath(name)))
            about.external_attr = 0o644 << 16
            archive.writestr(about, content)


def export(path: Path, kind: str, out: Path, ids: Sequence[str] | None, images: bool, results: Path | None) -> None:
    """Write the masks of an artifact to `out`, which must not exist: it may hold corrections."""
    if out.exists():
        raise UserError(
            f"--out {out}: exists and is never overwritten, as it may hold corrections; name another, or delete it"
        )
    if images and kind == "coco":
        raise UserError("--images: a JSON holds no images; leave it away, or export as voc or cvat")
    masks = read_masks(path, ids, results)
    if kind == "voc":
        write_folder(out, voc_files(masks, images))
    elif kind == "cvat":
        write_zip(out, cvat_files(masks, images))
    else:
        with replaced(out) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(coco_text(masks))
    print(f"wrote {len(masks.ids)} masks to {out}")
    index = masks.data.index
    other = [name for name in masks.ids if Path(index.images[index.row[name]] or name).stem != name]
    if other and kind != "coco" and not images:
        print(
            f"{len(other)} masks are named after ids, not after their images' files, {other[0]!r} first; --images adds the "
            "images under these names"
        )


def main(arguments: Sequence[str]) -> None:
    """The command line, after the name of the command."""
    parser = command_parser("export", __doc__)
    parser.add_argument("artifact", type=Path, help="masks, predictions or truth (.h5)")
    parser.add_argument("--format", required=True, choices=("voc", "coco", "cvat"), help="folder, JSON or zip archive")
    parser.add_argument("--out", type=Path, required=True, help="what is written; must not exist")
    parser.add_argument("--ids", nargs="+", help="images to export; all of the artifact if not given")
    parser.add_argument("--images", action="store_true", help="also the images, named after their ids (voc, cvat)")
    parser.add_argument("--results", type=Path, help="folder of the data sets' folders (found from the artifact)")
    given = parser.parse_args(arguments)
    export(given.artifact, given.format, given.out, given.ids, given.images, given.results)
