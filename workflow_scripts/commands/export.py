"""Export masks or predictions for other tools, to be looked at, scored or corrected there.

    wsss export results/demo/seed-0/masks/eps.h5 --format voc --out masks
    wsss export results/demo/seed-0/masks/eps.h5 --format coco --out masks.json
    wsss export results/demo/seed-0/masks/eps.h5 --format cvat --out masks.zip --images
    wsss export results/demo/seed-0/masks/eps.h5 --format labelstudio --out masks --doubtful 20

voc: a folder with `SegmentationClass/{id}.png` (0 background, 1 for the first class, 255 ignored), `labelmap.txt`, and a
list of each split in `ImageSets/Segmentation`. coco: one JSON, an annotation for all pixels of a class in an image, as
compressed run lengths; 255 becomes the category `ignored`. cvat: the archive "Segmentation mask 1.1", an object for all
pixels of a class; 255 becomes the label `ignored`. labelstudio: a folder with the images, `tasks.json`, whose predictions
are the masks as strokes of the brush, and `labels.xml`, the labelling interface. With --images, voc and cvat hold the
images too, named after their ids. --doubtful takes the images whose masks are the most doubtful. docs/howto/correct.md tells
how corrected masks come back.
"""

import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.progress import progress
from workflow_scripts.commands.command_line import command_parser
from workflow_scripts.config.planning.outputs import DOUBTED, maker, output_path
from workflow_scripts.data import coco_regions
from workflow_scripts.data.beside import DataSet, asked_for, find_data_set
from workflow_scripts.data.index_entries import check_id
from workflow_scripts.data.maps import label_map
from workflow_scripts.data.readers import brush_runs, labelmap
from workflow_scripts.look import pictures
from workflow_scripts.look.schemas import SCHEMAS
from workflow_scripts.store.artifacts import Reader, replaced, schema_and_dataset
from workflow_scripts.store.csv_files import read_table
from workflow_scripts.store.provenance import check_bytes, read_sidecar

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


def most_doubtful(path: Path, number: int) -> list[str]:
    """Ids of so many images, the most doubtful first, from the table that was made of an artifact.

    Raises:
        UserError: the table is not there, was made of another artifact, or has not so many images.
    """
    if number < 1:
        raise UserError(f"--doubtful {number}: must be 1 or more")
    folder = next((parent for parent in path.resolve().parents if (parent / "index.h5").exists()), None)
    stage, names = (folder and maker(f"results/{folder.name}/{path.resolve().relative_to(folder)}")) or ("", {})
    if folder is None or stage not in ("masks", "predictions"):
        raise UserError(
            f"{path}: --doubtful is for masks and predictions of the results; name such a file, or images by --ids"
        )
    usual = output_path("doubt", **{name: names[name] for name in ("dataset", "seed", "mask")})
    table, command = folder / Path(usual).relative_to(f"results/{folder.name}"), f"snakemake --cores 2 {usual}"
    if not table.is_file():
        raise UserError(f"{table}: no such file; `{command}` makes it, with the --configfile of your run")
    check_bytes(table)
    record, column = read_sidecar(table), DOUBTED[stage]
    if record and file_sha256(path) not in record["parents"].values():
        parents = ", ".join(sorted(name for name in record["parents"] if f"/{stage}/" in name)) or f"no {stage}"
        raise UserError(f"{table}: was made of {parents}, not of {path} as it is; name that, or run `{command}` again")
    rows = read_table(str(table), dtype={"id": str}).sort_values(column, ascending=False, kind="stable")
    if number > len(rows):
        raise UserError(f"--doubtful {number}: {table} has {len(rows)} images; ask for as many or fewer")
    return rows["id"].tolist()[:number]


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
    names_of_regions = _with_ignored(masks.classes)
    regions = (
        (numbers[identifier], *region)
        for identifier, label in masks.labels()
        for region in _regions(label, len(masks.classes))
    )
    annotations = (coco_regions.annotation(number, *region) for number, region in enumerate(regions, start=1))
    return coco_regions.document(names_of_regions, images, annotations)


def label_studio_files(masks: Masks, folder: str) -> Iterator[tuple[str, bytes | Iterable[bytes]]]:
    """Names and contents of the images, the tasks and the labelling interface of Label Studio.

    Args:
        folder: name of the folder, by which the addresses of the images begin.
    """
    images: dict[str, str] = {}
    for identifier in masks.ids:
        images[identifier], content = image_file(masks.data, identifier)
        yield images[identifier], content
    yield (
        "tasks.json",
        _tasks(masks, {key: f"/data/local-files/?d={quote(f'{folder}/{name}')}" for key, name in images.items()}),
    )
    names, colours = _with_ignored(masks.classes), pictures.PALETTE[[*range(1, len(masks.classes) + 1), pictures.VOID]]
    labels = "".join(
        f'    <Label value={quoteattr(name)} background="#{bytes(colour).hex()}"/>\n'
        for name, colour in zip(names, colours, strict=True)
    )
    yield (
        "labels.xml",
        f'<View>\n  <Image name="image" value="$image" zoom="true"/>\n  <BrushLabels name="label" toName="image">\n{labels}'
        "  </BrushLabels>\n</View>\n".encode(),
    )


def _tasks(masks: Masks, addresses: dict[str, str]) -> Iterator[bytes]:
    """The text of the tasks, an image each, a line each."""
    names = _with_ignored(masks.classes)
    before = "[\n"
    for identifier, label in masks.labels():
        height, width = label.shape
        about: dict = {"from_name": "label", "to_name": "image", "type": "brushlabels"}
        about |= {"original_width": width, "original_height": height, "image_rotation": 0}
        result = [
            {"id": f"region{number}"}
            | about
            | {"value": {"format": "rle", "rle": [*brush_runs.encode(inside)], "brushlabels": [names[number - 1]]}}
            for number, inside in _regions(label, len(masks.classes))
        ]
        task = {"data": {"id": identifier, "image": addresses[identifier]}}
        predictions = [{"model_version": Path(masks.reader.path).stem, "result": result}]
        yield (before + json.dumps(task | {"predictions": predictions})).encode()
        before = ",\n"
    yield b"\n]\n"


def _with_ignored(classes: Sequence[str]) -> list[str]:
    """Names of the classes, and of the label for 255."""
    if labelmap.IGNORED in classes:
        raise UserError(f"class {labelmap.IGNORED!r} has the name that stands for 255; rename the class")
    return [*classes, labelmap.IGNORED]


def _regions(label: np.ndarray, classes: int) -> Iterator[tuple[int, np.ndarray]]:
    """Numbers of the labels, 1 and up, the last for 255, and their pixels, bool (H, W)."""
    return coco_regions.class_regions(np.where(label == pictures.VOID, np.uint8(classes + 1), label), classes + 1)


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


def write_folder(out: Path, files: Iterator[tuple[str, bytes | Iterable[bytes]]]) -> None:
    """Write files below a folder that appears when all of them are there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        for name, content in files:
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            with open(temporary / name, "wb") as file:
                file.writelines([content] if isinstance(content, bytes) else content)
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
        raise UserError("--images: a JSON holds no images; leave it away, or export as voc, cvat or labelstudio")
    masks = read_masks(path, ids, results)
    if kind == "voc":
        write_folder(out, voc_files(masks, images))
    elif kind == "cvat":
        write_zip(out, cvat_files(masks, images))
    elif kind == "labelstudio":
        write_folder(out, label_studio_files(masks, out.name))
    else:
        with replaced(out) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.writelines(coco_text(masks))
    print(f"wrote {len(masks.ids)} masks to {out}")
    index = masks.data.index
    other = [name for name in masks.ids if Path(index.images[index.row[name]] or name).stem != name]
    if other and kind in ("voc", "cvat") and not images:
        print(
            f"{len(other)} masks are named after ids, not after their images' files, {other[0]!r} first; --images adds the "
            "images under these names"
        )


def main(arguments: Sequence[str]) -> None:
    """The command line, after the name of the command."""
    parser = command_parser("export", __doc__)
    parser.add_argument("artifact", type=Path, help="masks, predictions or truth (.h5)")
    parser.add_argument(
        "--format", required=True, choices=("voc", "coco", "cvat", "labelstudio"), help="what it is written for"
    )
    parser.add_argument("--out", type=Path, required=True, help="what is written; must not exist")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--ids", nargs="+", help="images to export; all of the artifact if not given")
    chosen.add_argument("--doubtful", type=int, metavar="N", help="the N images whose masks are the most doubtful")
    parser.add_argument("--images", action="store_true", help="also the images, named after their ids (voc, cvat)")
    parser.add_argument("--results", type=Path, help="folder of the data sets' folders (found from the artifact)")
    given = parser.parse_args(arguments)
    ids = given.ids if given.doubtful is None else most_doubtful(given.artifact, given.doubtful)
    export(given.artifact, given.format, given.out, ids, given.images, given.results)
