"""Run a trained segmentation network on a folder of new images, and on the folders in it.

    wsss predict --weights eps/large_fov.safetensors --images photos --out labels
    wsss predict --weights large_fov.onnx --images photos --out labels --overlay
    wsss predict --weights eps/large_fov.safetensors --images photos --out labels --prediction multi_crf
    wsss predict --weights eps/large_fov.safetensors --images maps --out labels --tile 1024 --probabilities

Writes `{name}.png` for every image, a palette PNG as large as the image whose values are listed in `classes.csv`
(0 background), and `areas.csv`, the pixels of each label in each image. With --overlay also `overlays/{name}.png`, with
--probabilities `probabilities/{name}.h5`. Images in folders below are predicted too; their label maps lie in folders of the same
names. The EXIF orientation of photographs is applied: label maps fit what viewers show. A file that is left out gets a line
that says why. docs/howto/predict.md tells more.
"""

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.listings import OF_FILE_MANAGERS, PICTURE_SUFFIXES
from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.commands.command_line import add_configfile, command_parser, load_config
from workflow_scripts.commands.convert import converted
from workflow_scripts.data.index_entries import check_id
from workflow_scripts.data.maps import upsampled
from workflow_scripts.data.readers.images import open_image, read_photograph
from workflow_scripts.data.transforms import resized, scaled_size
from workflow_scripts.look import pictures
from workflow_scripts.segmentation.exported import OnnxNetwork
from workflow_scripts.segmentation.inference import load, soft_prediction
from workflow_scripts.segmentation.tiles import Block, Tiling, predicted, tiling
from workflow_scripts.store.artifacts import new_hdf5, replaced, write
from workflow_scripts.store.csv_files import class_column, write_table
from workflow_scripts.store.provenance import read_sidecar, sidecar_path

OVERLAYS, PROBABILITIES = "overlays", "probabilities"  # folders in --out
MOST_SHOWN = 10  # names of files in a line
MOST_PIXELS = 400_000_000  # of an image: 1.2 GB of colours
LONGEST, OVERLAP = 1024, 256  # pixels
CHUNK = 256  # pixels, the side of what is compressed at once
STRIP = 256  # rows of a large picture that are worked on at once

Keep = Callable[[Block, tuple[int, int]], None]  # is given a block, and the height and width that it is a part of


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
    """The images of a folder and of those below it, by name, whatever their endings; the others get a line each.

    Raises:
        UserError: there is no such folder, or no image in it, or two images would give one label map.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder of images"
        raise UserError(f"{folder}: {found}; name the folder that the images are in")
    images = []
    for path in sorted(_files(folder)):
        if path.suffix.lower() in PICTURE_SUFFIXES or _is_image(path):
            images.append(path)
        else:
            print(f"left out: {path.relative_to(folder)}: no image")
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


def _is_image(path: Path) -> bool:
    """Whether a file has the header of an image, whatever its name."""
    with contextlib.suppress(UserError, OSError), open(path, "rb") as stream:
        open_image(stream, path, MOST_PIXELS)
        return True
    return False


def _files(folder: Path) -> Iterator[Path]:
    """Files of a folder and of those below it, also behind links, each folder once; hidden ones are left out."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        below = [name for name in folders if not name.startswith(".")]
        folders[:] = sorted(name for name in below if os.path.realpath(os.path.join(place, name)) not in seen)
        yield from (Path(place, name) for name in names if not _hidden(name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in OF_FILE_MANAGERS


def check_output(out: Path, images: Path, overlay: bool, probabilities: bool = False) -> None:
    """Refuse to write among the images, and what else is written where label maps of a folder of that name go."""
    for name, option, asked in ((OVERLAYS, "overlay", overlay), (PROBABILITIES, "probabilities", probabilities)):
        if asked and (images / name).is_dir():
            raise UserError(
                f"{images / name}: a folder of images of this name would get its label maps where the {name} go; rename it, or "
                f"leave --{option} out"
            )
    source = images.resolve()
    if out.resolve() in source.parents and (images / source.relative_to(out.resolve())).exists():
        raise UserError(f"--out {out}: some label maps would be written into {images}; name another folder")
    for folder in (out.resolve(), (out / OVERLAYS).resolve(), (out / PROBABILITIES).resolve()):
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


# One image


def read_any(path: Path) -> tuple[np.ndarray, int, str]:
    """An image uint8 (H, W, 3), its EXIF orientation, and what was done to it, if it is of a kind that has to be converted.

    Raises:
        UserError: it cannot be read, or holds several pages or frames.
    """
    try:
        return *read_photograph(path, most_pixels=MOST_PIXELS), ""
    except UserError as error:
        refused = error
    try:
        pages = converted(path, None, MOST_PIXELS)
        image, second = next(pages), next(pages, None)
    except Exception:  # a broken file makes a decoder raise anything
        raise refused from None
    if second is not None:
        raise refused
    return np.array(image.convert("RGB")), 1, str(refused).removeprefix(f"{path}: ").partition(";")[0]


@dataclass(frozen=True)
class Predictor:
    """How label maps are made of images.

    Attributes:
        options: as of `soft_prediction`.
        longest: pixels; an image with a longer side is predicted reduced to it. None: none is.
        tiles: in which an image is predicted, None for whole images.
        crf: of the whole image, on the probabilities; None for none.
    """

    network: nn.Module
    options: SimpleNamespace
    longest: int | None
    tiles: Tiling | None = None
    crf: SimpleNamespace | None = None

    def soft(self, image: np.ndarray) -> np.ndarray:
        """Probabilities (L, H, W) of an image or a tile, at its own size."""
        return upsampled(soft_prediction(self.network, image, self.options), *image.shape[:2])

    def blocks(self, image: np.ndarray) -> Iterator[Block]:
        """Probabilities of the parts of an image, which cover it once."""
        if self.tiles:
            yield from predicted(image, self.soft, self.tiles)
            return
        scores = self.soft(image)
        if self.crf:
            scores = plugin("refine", "dense_crf").dense_crf(
                image, scores, self.crf.bilateral, self.crf.gaussian, self.crf.iterations
            )
        yield Block(slice(0, image.shape[0]), slice(0, image.shape[1]), scores)

    def is_reduced(self, image: np.ndarray) -> bool:
        return self.longest is not None and max(image.shape[:2]) > self.longest

    def label(self, image: np.ndarray, keep: Keep | None = None) -> np.ndarray:
        """Label map uint8 (H, W) of an image uint8 (H, W, 3).

        Args:
            keep: is given the blocks, and the height and width of the image as it is predicted.
        """
        height, width = image.shape[:2]
        longest = max(height, width)
        image = resized(image, *scaled_size(height, width, min(1, (self.longest or longest) / longest)))
        label = np.empty(image.shape[:2], np.uint8)
        for block in self.blocks(image):
            label[block.rows, block.columns] = block.probabilities.argmax(axis=0)
            if keep:
                keep(block, (image.shape[0], image.shape[1]))
        return resized(label, height, width, nearest=True)


@contextlib.contextmanager
def kept_probabilities(path: Path, classes: Sequence[str]) -> Iterator[Keep]:
    """An HDF5 file of `probabilities`, float16 (L, H, W), and `classes`, to which blocks are written as they come."""
    with replaced(path) as temporary, new_hdf5(temporary) as file:
        file.attrs["classes"] = ["background", *classes]

        def keep(block: Block, size: tuple[int, int]) -> None:
            if PROBABILITIES not in file:
                chunks = (1, min(CHUNK, size[0]), min(CHUNK, size[1]))
                file.create_dataset(
                    PROBABILITIES,
                    (len(block.probabilities), *size),
                    np.float16,
                    chunks=chunks,
                    compression="gzip",
                    compression_opts=1,
                    shuffle=True,
                )
            file[PROBABILITIES][:, block.rows, block.columns] = block.probabilities

        yield keep


def drawn_over(image: np.ndarray, label: np.ndarray) -> Image.Image:
    """`pictures.blended`, strip by strip."""
    picture = Image.new("RGB", (image.shape[1], image.shape[0]))
    for top in range(0, len(image), STRIP):
        bottom = min(top + STRIP, len(image))
        strip = slice(top, bottom + 1)  # with the row below, from which edges are seen
        picture.paste(Image.fromarray(pictures.blended(image[strip], label[strip])[: bottom - top]), (0, top))
    return picture


# A folder


def predict_folder(
    folder: Path,
    images: Sequence[Path],
    out: Path,
    label_of: Callable[..., np.ndarray],
    overlay: bool,
    classes: Sequence[str] | None = None,
    probabilities: bool = False,
) -> list[str]:
    """Write the label map of every image of a folder that can be read, and with `classes` the table of areas.

    Args:
        label_of: from an image to its label map; with `probabilities` also given where these are kept.

    Returns:
        a line for each of the images that could not be read.
    """
    faults, turned, areas = [], [], []
    for path in progress(images, len(images), "predict"):
        name = path.relative_to(folder).with_suffix(".png")
        try:
            for part in (*name.parent.parts, name.stem):
                check_id(part)
            image, orientation, change = read_any(path)
        except UserError as error:
            faults.append(str(error))
            continue
        if change:
            print(f"converted to 8-bit RGB: {path.relative_to(folder)}: {change}")
        turned += [str(path.relative_to(folder))] * (orientation != 1)
        if probabilities:
            with kept_probabilities(out / PROBABILITIES / name.with_suffix(".h5"), classes or ()) as keep:
                label = label_of(image, keep)
        else:
            label = label_of(image)
        write(out / name, pictures.label_png(label))
        if classes is not None:
            areas.append(area_row(path.relative_to(folder).as_posix(), label, classes))
        if overlay:
            write(out / OVERLAYS / name, pictures.png(drawn_over(image, label)))
    if turned:
        more = f" and {len(turned) - MOST_SHOWN} more" if len(turned) > MOST_SHOWN else ""
        print(f"EXIF orientation applied to {len(turned)} images: {', '.join(turned[:MOST_SHOWN])}{more}")
    if areas:
        write_table(str(out / "areas.csv"), areas)
    return faults


def area_row(name: str, label: np.ndarray, classes: Sequence[str]) -> dict[str, str | int]:
    """Size of an image and the pixels of each of its labels."""
    strips = (label[top : top + STRIP].ravel() for top in range(0, len(label), STRIP))
    counts = np.sum([np.bincount(strip, minlength=len(classes) + 1) for strip in strips], axis=0)
    names = [class_column("pixels", name) for name in ("background", *classes)]
    return {"image": name, "height": label.shape[0], "width": label.shape[1]} | dict(
        zip(names, counts.tolist(), strict=True)
    )


# The command


@dataclass(frozen=True)
class Trained:
    """A network and what is known of it."""

    network: nn.Module
    classes: list[str]
    align_corners: bool
    dataset: str


def open_network(weights: Path) -> Trained:
    """The network of a file of weights, or the exported one of an ONNX file."""
    if weights.suffix == ".onnx":
        if not weights.is_file():
            raise UserError(f"{weights}: no such file; export a network with `wsss export-network`")
        exported = OnnxNetwork(weights)
        return Trained(exported, exported.classes, exported.align_corners, exported.dataset)
    settings = read_settings(weights)
    network = load(settings.block, len(settings.classes) + 1, str(weights))
    return Trained(network, settings.classes, settings.block.align_corners, settings.dataset)


def recipe(name: str, configfiles: Sequence[str], dataset: str) -> tuple[Any, Any]:
    """What the settings call a prediction: the passes of the network, and the CRF on them, if it has one."""
    config = load_config(configfiles)
    block = config.block(dataset, "predictions", name)
    if hasattr(block, "crf"):
        return config.block(dataset, "predictions", block.prediction), block.crf
    return block, None


def main(arguments: Sequence[str]) -> int:
    """The command line; exit status 1 if any image could not be predicted."""
    parser = command_parser("predict", __doc__)
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        help="a trained segmentation network, its .json beside it; or one that export-network made, .onnx",
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of images, which may hold folders")
    parser.add_argument("--out", type=Path, required=True, help="folder for the label maps")
    parser.add_argument("--scales", type=float, nargs="+", help="test scales, their predictions are averaged (1)")
    parser.add_argument("--flip", action="store_true", help="also predict the mirrored image")
    parser.add_argument(
        "--prediction", metavar="NAME", help="a block of `predictions` of the settings, instead of --scales and --flip"
    )
    add_configfile(parser)
    parser.add_argument(
        "--longest",
        type=int,
        help=f"pixels; images with a longer side are predicted reduced to it ({LONGEST}; with --tile none is)",
    )
    parser.add_argument(
        "--tile", type=int, help="pixels; larger images are predicted in squares of this side that overlap"
    )
    parser.add_argument("--overlap", type=int, help=f"pixels that neighbouring tiles share ({OVERLAP})")
    parser.add_argument("--overlay", action="store_true", help="also write the label maps over their images")
    parser.add_argument(
        "--probabilities", action="store_true", help="also write the probabilities of all labels, at the size predicted"
    )
    given = parser.parse_args(arguments)
    if min(given.scales or [1.0]) <= 0:
        raise UserError(f"--scales: {min(given.scales):g} is no scale; give numbers above 0")
    if given.prediction and (given.scales or given.flip):
        raise UserError(
            f"--prediction {given.prediction}: has scales and flips of its own; leave --scales and --flip out"
        )
    if given.longest is not None and given.longest < 1:
        raise UserError(f"--longest: {given.longest} pixels is no size; give at least 1")
    if given.overlap is not None and given.tile is None:
        raise UserError("--overlap: is of tiles; give --tile too, or leave it out")
    check_output(given.out, given.images, given.overlay, given.probabilities)
    trained = open_network(given.weights)
    predictor = make_predictor(given, trained)
    images = list_images(given.images)
    write(given.out / "classes.csv", classes_csv(trained.classes))
    reduced = 0

    def label_of(image: np.ndarray, keep: Keep | None = None) -> np.ndarray:
        nonlocal reduced
        reduced += predictor.is_reduced(image)
        return predictor.label(image, keep)

    faults = predict_folder(
        given.images, images, given.out, label_of, given.overlay, trained.classes, given.probabilities
    )
    if reduced:
        print(
            f"{reduced} images were reduced to {predictor.longest} pixels; with --tile {LONGEST} they are predicted as they are"
        )
    for fault in faults:
        print(f"left out: {fault}", file=sys.stderr)
    print(f"{len(images) - len(faults)} of {len(images)} images predicted into {given.out}")
    return 1 if faults else 0


def make_predictor(given: Any, trained: Trained) -> Predictor:
    """What the command line asks for, of a network."""
    options, crf = (
        SimpleNamespace(
            scales=given.scales or [1.0],
            flip=given.flip,
            resize="antialiased",
            merge="mean",
            resolution=1,
            precision="float32",
            align_corners=trained.align_corners,
        ),
        None,
    )
    if given.prediction:
        options, crf = recipe(given.prediction, given.configfile, trained.dataset)
    if isinstance(trained.network, OnnxNetwork) and options.resize != "antialiased":
        raise UserError(
            f"--prediction {given.prediction}: resizes the normalised image, which an exported network makes itself; give the "
            ".safetensors file, or a prediction with resize: antialiased"
        )
    if given.tile is None:
        return Predictor(trained.network, options, given.longest or LONGEST, crf=crf)
    if crf:
        raise UserError(
            f"--prediction {given.prediction}: its CRF sees a whole image; leave --tile out, or name a prediction without crf"
        )
    overlap = OVERLAP if given.overlap is None else given.overlap
    tiles = tiling(given.tile, overlap, trained.network.backbone.stride, options.align_corners)
    return Predictor(trained.network, options, given.longest, tiles)
