"""A segmentation network with all that comes before and after it in one graph, for programs that have no part of this project.

From an image to probabilities at its pixels: normalisation, network, enlargement, softmax. Sizes are free.
"""

import contextlib
import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.data.transforms import MEAN, STANDARD_DEVIATION, resize_maps

OPSET = 18  # of ONNX's operators: the first that resizes with antialiasing, as some of timm's transformers do
EXAMPLE = (97, 130)  # height and width that a network is traced with; no stride divides them
OUTPUTS = ("logits", "probabilities")


class Graph(nn.Module):
    """image, uint8 (H, W, 3) RGB -> logits (L, h, w) at the network's cells and probabilities (L, H, W), float32."""

    def __init__(self, network: nn.Module, align_corners: bool):
        super().__init__()
        self.network, self.align_corners = network, align_corners
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(STANDARD_DEVIATION)[:, None, None])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        height, width = image.shape[:2]
        normalised = (image.permute(2, 0, 1).float() / 255 - self.mean) / self.deviation
        logits = self.network(normalised[None]).float()
        enlarged = resize_maps(logits, height, width, self.align_corners)
        return logits[0], enlarged.softmax(dim=1)[0]


@contextlib.contextmanager
def without_notes() -> Iterator[None]:
    """What torch logs and prints while it exports is for its developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


@without_notes()
@torch.no_grad()
def traced(graph: Graph) -> torch.export.ExportedProgram:
    """The graph for images of any height and width; raises whatever torch does where the network does not allow it."""
    example = torch.zeros(*EXAMPLE, 3, dtype=torch.uint8)
    free = torch.export.Dim.DYNAMIC
    program = torch.export.export(graph.eval(), (example,), dynamic_shapes={"image": {0: free, 1: free}})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


@without_notes()
def save_onnx(program: torch.export.ExportedProgram, path: Path, about: dict[str, str]) -> None:
    """Write ONNX, its weights inside, `about` as its metadata; without torch's notes of where each layer is from."""
    found: Any = torch.onnx.export(
        program, dynamo=True, opset_version=OPSET, output_names=list(OUTPUTS), external_data=False, verbose=False
    )
    for node in found.model.graph.all_nodes():
        node.metadata_props.clear()
    graph = found.model.graph
    graph.metadata_props.clear()
    height, width, _ = graph.inputs[0].shape
    sizes = {str(height): "height", str(width): "width"}
    for value in (*graph.inputs, graph.outputs[-1]):
        for axis, size in enumerate(value.shape):
            value.shape[axis] = sizes.get(str(size), size)
    found.model.metadata_props.clear()
    found.model.metadata_props.update(about)
    found.save(path)


def open_onnx(path: str | Path, threads: int) -> Any:
    """onnxruntime's session of a file, on the processor.

    Raises:
        UserError: onnxruntime is not there, or cannot read the file.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else it tells its maker of models and machines, from 1.29 on
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{path}: needs the library onnxruntime ({error}); pip install -r requirements.txt") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common
        raise UserError(
            f"{path}: onnxruntime cannot read it ({one_line(error)}); export it again with `wsss export-network`"
        ) from None


class OnnxNetwork(nn.Module):
    """An exported network in the place of a network of torch: (1, 3, H, W) normalised -> logits (1, L, h, w).

    Attributes:
        classes: names of the objects, without the background.
        align_corners: of the enlargement.
        dataset: that it was trained on.
        backbone: has the `stride`.

    Raises:
        UserError: the file is no exported network.
    """

    def __init__(self, path: str | Path):
        super().__init__()
        self.session = open_onnx(path, torch.get_num_threads())
        import onnxruntime

        about = self.session.get_modelmeta().custom_metadata_map
        try:
            names = json.loads(about["classes"])
            self.classes, self.align_corners = (
                [str(name) for name in names[1:]],
                bool(json.loads(about["align_corners"])),
            )
            self.dataset = str(json.loads(about["dataset"]))
            self.backbone = _Cells(int(about["stride"]))
            (image,) = self.session.get_inputs()
            if image.type != "tensor(uint8)" or OUTPUTS[0] not in [
                output.name for output in self.session.get_outputs()
            ]:
                raise ValueError("input or outputs")
        except (KeyError, ValueError, TypeError):
            raise UserError(
                f"{path}: not a network that `wsss export-network` wrote; export one, or give a .safetensors file"
            ) from None
        self.place = nn.Parameter(torch.zeros(0), requires_grad=False)  # says on which device it computes
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(STANDARD_DEVIATION)[:, None, None])
        self.only_logits = onnxruntime.RunOptions()
        self.only_logits.only_execute_path_to_fetches = True

    def forward(self, images: Tensor) -> Tensor:
        pixels = ((images[0] * self.deviation + self.mean) * 255).round().byte()  # as they were before `normalise`
        image = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
        (logits,) = self.session.run([OUTPUTS[0]], {"image": image}, self.only_logits)
        return torch.from_numpy(logits)[None]


class _Cells(nn.Module):
    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride
