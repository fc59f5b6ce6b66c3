"""Saliency maps by the models of the rembg library (U2-Net, Qin et al., PR 2020, and others), which it downloads itself."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types.saliency_blocks import Detected


class RembgSaliency(Detected):
    detector: Literal["rembg"]
    model: Literal["u2net", "u2netp", "silueta", "isnet-general-use", "birefnet-general", "birefnet-general-lite"]
    models: str | None = Field(None, description="folder of {model}.onnx; null: rembg's own, to which it downloads")

    def given_weights(self) -> str | None:
        return f"{self.models}/{self.model}.onnx" if self.models else None


INSTALL = "pip install -r requirements.txt"


def fetch(block: SimpleNamespace) -> None:
    """Download the model of the block, if it is not there."""
    load(block)


def load(block: SimpleNamespace, weights: None = None) -> Callable[[np.ndarray], np.ndarray]:
    """The function from an image, uint8 (H, W, 3) RGB, to its map, uint8 (H, W), by the `model` of the block.

    The model's file is {model}.onnx in the folder `models`, or where rembg keeps those that it downloads, each by its
    own checksum. One thread computes, so that the bytes do not depend on the machine's cores.

    Raises:
        UserError: rembg is not installed, the folder lacks the file, or it cannot be downloaded or read.
    """
    if block.models is not None:
        file = Path(block.models) / f"{block.model}.onnx"
        if not file.is_file():
            raise UserError(f"{file}: no such model; copy it there, or take `models` away and rembg downloads it")
        os.environ["U2NET_HOME"] = str(Path(block.models).resolve())
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else it tells its maker of models and machines, from 1.29 on
    try:
        import onnxruntime
        from rembg import new_session
    except ImportError as error:
        raise UserError(f"detector 'rembg' needs the library rembg ({error}); {INSTALL}") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = new_session(block.model, sess_opts=options)
    except Exception as error:  # of the network, the checksum or the model's reader
        reason = re.sub(r"\s+", " ", str(error))[:200]
        raise UserError(
            f"rembg's model {block.model!r} cannot be had ({reason}); try again with a network, "
            f"put {block.model}.onnx into a folder and name that under `models`, or take detector 'hand_made', which needs none"
        ) from None

    def detect(image: np.ndarray) -> np.ndarray:
        # rembg stretches what a model says of an image to 0 to 255, and divides by 0 where that is all one value.
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(session.predict(Image.fromarray(image))[0].convert("L"))

    return detect
