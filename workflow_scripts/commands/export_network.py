"""Export a trained segmentation network as one file that runs without this project.

    wsss export-network --weights eps/large_fov.safetensors --format onnx
    wsss export-network --weights eps/large_fov.safetensors --format onnx --out cats.onnx --images photos
    wsss export-network --weights eps/large_fov.safetensors --format pt2

onnx: for onnxruntime and all that reads ONNX. pt2: for torch (`torch.export.load`). Both take an image as it is, uint8
(height, width, 3) RGB of any size, and give `probabilities`, float32 (labels, height, width), and `logits` at the network's
cells; the image is normalised and the result enlarged inside. The names and colours of the labels are in the file. It is
compared with the network on five images before it gets its name. `wsss predict` runs the ONNX file. docs/howto/onnx.md
has a program of ten lines that does so too.
"""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.base.version import VERSION
from workflow_scripts.commands.command_line import command_parser
from workflow_scripts.commands.predict import list_images, read_any, read_settings
from workflow_scripts.data.transforms import resized, scaled_size
from workflow_scripts.look.pictures import PALETTE
from workflow_scripts.segmentation import exported
from workflow_scripts.segmentation.inference import load
from workflow_scripts.store.artifacts import replaced

FORMATS = ("onnx", "pt2")
SIZES = ((65, 65), (97, 131), (160, 120), (224, 224), (241, 321))  # height and width of the images that are rendered
IMAGES = len(SIZES)
TOLERANCE = 1e-4  # of a probability
MOST_READ = 50  # photographs
LONGEST = 1024  # pixels; larger photographs are compared reduced to it

Run = Callable[[np.ndarray], np.ndarray]  # from an image to its probabilities


def metadata(settings: SimpleNamespace, stride: int, weights: Path) -> dict[str, str]:
    """What the file says of the network, as JSON."""
    about = {
        "classes": ["background", *settings.classes],  # in the order of the probabilities
        "colours": PALETTE[: len(settings.classes) + 1].tolist(),  # red, green, blue
        "stride": stride,  # pixels per cell of the logits
        "align_corners": settings.block.align_corners,  # of the enlargement
        "dataset": settings.dataset,
        "weights": file_sha256(weights),
        "wsss": VERSION,
    }
    return {key: json.dumps(value) for key, value in about.items()}


def rendered() -> list[np.ndarray]:
    """Five images of smooth colours, always the same."""
    rng = np.random.default_rng(0)
    return [resized(rng.integers(0, 256, (7, 9, 3), np.uint8), *size) for size in SIZES]


def photographs(folder: Path) -> list[np.ndarray]:
    """The first five images of a folder that differ in size, or the first five if no such five are among the first 50."""
    images: list[np.ndarray] = []
    for path in list_images(folder)[:MOST_READ]:
        image, _, _ = read_any(path)
        height, width = image.shape[:2]
        images.append(resized(image, *scaled_size(height, width, min(1, LONGEST / max(height, width)))))
        firsts = {image.shape: image for image in reversed(images)}
        if len(firsts) == IMAGES:
            return list(firsts.values())[::-1]
    if len(images) < IMAGES:
        raise UserError(
            f"{folder}: holds {len(images)} images, {IMAGES} are compared; name another, or leave --images out"
        )
    return images[:IMAGES]


def differences(graph: exported.Graph, run: Run, images: Sequence[np.ndarray]) -> list[float]:
    """The greatest difference of a probability from the network's, for each image."""
    found = []
    for image in images:
        with torch.inference_mode():
            expected = graph(torch.from_numpy(image))[1].numpy()
        result = run(image)
        same = result.shape == expected.shape and bool(np.isfinite(result).all())
        found.append(float(np.abs(result - expected).max()) if same else float("inf"))
    return found


def write_file(graph: exported.Graph, kind: str, path: Path, about: dict[str, str]) -> Run:
    """Write the file and give the function that runs what is written.

    Raises:
        Exception: of torch, of any kind, where it cannot export the network.
    """
    program = exported.traced(graph)
    if kind == "onnx":
        exported.save_onnx(program, path, about)
        session = exported.open_onnx(path, torch.get_num_threads())
        return lambda image: session.run(["probabilities"], {"image": image})[0]
    buffer = io.BytesIO()  # torch refuses names that do not end in .pt2
    torch.export.save(program, buffer, extra_files=about)
    path.write_bytes(buffer.getvalue())
    buffer.seek(0)
    module = torch.export.load(buffer).module()
    return lambda image: module(torch.from_numpy(image))[1].detach().numpy()


def main(arguments: Sequence[str]) -> None:
    """The command line, after the name of the command."""
    parser = command_parser("export-network", __doc__)
    parser.add_argument(
        "--weights", type=Path, required=True, help="a trained segmentation network, its .json beside it"
    )
    parser.add_argument("--format", choices=FORMATS, required=True, help="kind of the file")
    parser.add_argument("--out", type=Path, help="the file; beside the weights, of their name, if left away")
    parser.add_argument(
        "--images", type=Path, help=f"folder of photographs, of which {IMAGES} are compared instead of rendered images"
    )
    given = parser.parse_args(arguments)
    out = given.out or given.weights.with_suffix(f".{given.format}")
    if out.suffix != f".{given.format}":
        raise UserError(f"--out {out}: its name must end in .{given.format}; rename it")
    settings = read_settings(given.weights)
    images = photographs(given.images) if given.images else rendered()
    network = load(settings.block, len(settings.classes) + 1, str(given.weights)).to(
        "cpu", memory_format=torch.contiguous_format
    )
    network.requires_grad_(False)
    graph = exported.Graph(network, settings.block.align_corners).eval()
    about = metadata(settings, network.backbone.stride, given.weights)
    with replaced(out) as temporary:
        try:
            run = write_file(graph, given.format, temporary, about)
        except (UserError, OSError):
            raise
        except Exception as error:  # of any kind, by what the network computes with
            raise UserError(
                f"{given.weights}: a network on {settings.block.backbone.name!r} cannot be exported ({one_line(error)}); predict "
                "with the weights themselves, or train on another backbone"
            ) from None
        found = differences(graph, run, images)
        for image, difference in zip(images, found, strict=True):
            print(
                f"{image.shape[1]} x {image.shape[0]} pixels: probabilities differ from torch's by {difference:.1e} at most"
            )
        if not max(found) <= TOLERANCE:
            raise UserError(
                f"{out}: not written, as its probabilities differ from the network's by {max(found):.1e}, more than {TOLERANCE:g}; "
                "predict with the weights themselves"
            )
    print(f"wrote {out}, {out.stat().st_size / 2**20:.1f} MiB; greatest difference {max(found):.1e}")
