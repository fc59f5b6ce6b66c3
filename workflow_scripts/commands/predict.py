"""Run a trained segmentation network on a folder of new images, and on the folders in it.

    wsss predict --weights eps/large_fov.safetensors --images photos --out labels

Writes `{name}.png` for every image, a palette PNG as large as the image whose values are listed in `classes.csv`
(0 background), and with --overlay `overlays/{name}.png`. Images in folders below are predicted too; their label maps
lie in folders of the same names. The EXIF orientation of photographs is applied: label maps fit what viewers show.
"""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image
from torch import nn

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.listings import PICTURE_SUFFIXES
from workflow_scripts.base.progress import progress
from workflow_scripts.commands.command_line import command_parser
from workflow_scripts.data.index_entries import check_id
from workflow_scripts.data.readers.images import read_photograph
from workflow_scripts.data.transforms import resized, scaled_size
from workflow_scripts.look import pictures
from workflow_scripts.segmentation.inference import load, soft_prediction
from workflow_scripts.store.artifacts import write
from workflow_scripts.store.provenance import read_sidecar, sidecar_path

OVERLAYS = "overlays"  # folder in --out
MOST_SHOWN = 10  # names of files in a line


def read_settings(weights: Path) -> SimpleNamespace:
    """The settings that a segmentation network was trained under: its `block`, `classes` and data set."""
    if not weights.is_file():
        raise UserError(f"{weights}: no such weights; run snakemake to make them")
    record = read_sidecar(weights)
    if record is None:
        raise UserError(
            f"{sidecar_path(weights)}: missing or not as a stage wrote it; it says which network the weights are of, "
            "keep it beside them"
        )
    if record["stage"] != "train_segmenter":
        raise UserError(
            f"{weights}: made by {record['stage']!r}, expected a segmentation network (segmenters/*/*.safetensors)"
        )
    return json.loads(json.dumps(record["settings"]), object_hook=lambda item: SimpleNamespace(**item))


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder and of those below it, by name; two that would give one label map are refused."""
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder of images"
        raise UserError(f"{folder}: {found}; name the folder that the images are in")
    files = sorted(_files(folder))
    images = [path for path in files if path.suffix.lower() in PICTURE_SUFFIXES]
    others = [str(path.relative_to(folder)) for path in files if path.suffix.lower() not in PICTURE_SUFFIXES]
    if others:
        more = f" and {len(others) - 10} more" if len(others) > 10 else ""
        print(f"left out, no images by their names: {', '.join(others[:10])}{more}")
    if not images:
        raise UserError(f"{folder}: holds no image; expected files named {', '.join(sorted(PICTURE_SUFFIXES))}")
    by_name: dict[Path, Path] = {}
    for path in images:
        name = path.relative_to(folder)
        other = by_name.setdefault(name.with_suffix(".png"), name)
        if other is not name:
            raise UserError(
                f"{folder}: {other} and {name} would both give {name.with_suffix('.png')}; rename one of them"
            )
    return images


def _files(folder: Path) -> Iterator[Path]:
    """Files of a folder and of those below it, also behind links, each folder once; hidden ones are left out."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        below = [name for name in folders if not name.startswith(".")]
        folders[:] = sorted(name for name in below if os.path.realpath(os.path.join(place, name)) not in seen)
        yield from (Path(place, name) for name in names if not name.startswith("."))


def check_output(out: Path, images: Path, overlay: bool) -> None:
    """Refuse to write among the images, and overlays where label maps of a folder of that name go."""
    if overlay and (images / OVERLAYS).is_dir():
        raise UserError(
            f"{images / OVERLAYS}: a folder of images of this name would get its label maps where the overlays go; rename it, or "
            "leave --overlay out"
        )
    source = images.resolve()
    if out.resolve() in source.parents and (images / source.relative_to(out.resolve())).exists():
        raise UserError(f"--out {out}: some label maps would be written into {images}; name another folder")
    for folder in (out.resolve(), (out / OVERLAYS).resolve()):
        if folder == source or source in folder.parents:
            raise UserError(
                f"--out {out}: lies in the folder of the images, which is never written to; name another folder"
            )
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; name a folder")


def classes_csv(classes: Sequence[str]) -> str:
    """Value, name and colour of every label."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["value", "name", "red", "green", "blue"])
    for value, name in enumerate(["background", *classes]):
        writer.writerow([value, name, *pictures.PALETTE[value].tolist()])
    return text.getvalue()


def predict_label(network: nn.Module, image: np.ndarray, options, longest: int) -> np.ndarray:
    """Label map uint8 (H, W) of an image uint8 (H, W, 3), which is reduced first if its longer side exceeds `longest`."""
    height, width = image.shape[:2]
    reduced = resized(image, *scaled_size(height, width, min(1, longest / max(height, width))))
    label = soft_prediction(network, reduced, options).argmax(axis=0).astype(np.uint8)
    return resized(label, height, width, nearest=True)


def predict_folder(
    folder: Path, images: Sequence[Path], out: Path, label_of: Callable[[np.ndarray], np.ndarray], overlay: bool
) -> list[str]:
    """Write the label map of every image of a folder that can be read; returns a line for each of the others."""
    faults, turned = [], []
    for path in progress(images, len(images), "predict"):
        try:
            name = path.relative_to(folder).with_suffix(".png")
            for part in (*name.parent.parts, name.stem):
                check_id(part)
            image, orientation = read_photograph(path)
        except UserError as error:
            faults.append(str(error))
            continue
        turned += [str(path.relative_to(folder))] * (orientation != 1)
        label = label_of(image)
        write(out / name, pictures.label_png(label))
        if overlay:
            picture = pictures.blended(image, label)
            write(out / OVERLAYS / name, pictures.png(Image.fromarray(picture)))
    if turned:
        more = f" and {len(turned) - MOST_SHOWN} more" if len(turned) > MOST_SHOWN else ""
        print(f"EXIF orientation applied to {len(turned)} images: {', '.join(turned[:MOST_SHOWN])}{more}")
    return faults


def main(arguments: Sequence[str]) -> int:
    """The command line; exit status 1 if any image could not be predicted."""
    parser = command_parser("predict", __doc__)
    parser.add_argument(
        "--weights", type=Path, required=True, help="a trained segmentation network, its .json beside it"
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of images, which may hold folders")
    parser.add_argument("--out", type=Path, required=True, help="folder for the label maps")
    parser.add_argument(
        "--scales", type=float, nargs="+", default=[1.0], help="test scales, their predictions are averaged (1)"
    )
    parser.add_argument("--flip", action="store_true", help="also predict the mirrored image")
    parser.add_argument(
        "--longest", type=int, default=1024, help="pixels; images with a longer side are predicted reduced to it (1024)"
    )
    parser.add_argument("--overlay", action="store_true", help="also write the label maps over their images")
    given = parser.parse_args(arguments)
    if min(given.scales) <= 0:
        raise UserError(f"--scales: {min(given.scales):g} is no scale; give numbers above 0")
    if given.longest < 1:
        raise UserError(f"--longest: {given.longest} pixels is no size; give at least 1")
    settings = read_settings(given.weights)
    check_output(given.out, given.images, given.overlay)
    images = list_images(given.images)
    network = load(settings.block, len(settings.classes) + 1, str(given.weights))
    options = SimpleNamespace(
        scales=given.scales,
        flip=given.flip,
        resize="antialiased",
        merge="mean",
        resolution=1,
        precision="float32",
        align_corners=settings.block.align_corners,
    )
    write(given.out / "classes.csv", classes_csv(settings.classes))
    faults = predict_folder(
        given.images,
        images,
        given.out,
        lambda image: predict_label(network, image, options, given.longest),
        given.overlay,
    )
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    print(f"{len(images) - len(faults)} of {len(images)} images predicted into {given.out}")
    return 1 if faults else 0
