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
from workflow_scripts.config.types.parts import File
from workflow_scripts.config.types.saliency_blocks import Detected

INSTALL = "pip install -r requirements.txt"
RELEASE = "https://github.com/danielgatis/rembg/releases/download/v0.0.0/"
# What rembg downloads, by model: name, size, checksum.
MODELS = {
    "u2net": ("u2net.onnx", "176 MB", "md5:60024c5c889badc19c04ad937298a77b"),
    "u2netp": ("u2netp.onnx", "5 MB", "md5:8e83ca70e441ab06c318d82300c84806"),
    "silueta": ("silueta.onnx", "44 MB", "md5:55e59e0d8062d2f5d013f4725ee84782"),
    "isnet-general-use": ("isnet-general-use.onnx", "179 MB", "md5:fc16ebd8b0c10d971d3513d564d01e29"),
    "birefnet-general": ("BiRefNet-general-epoch_244.onnx", "973 MB", "md5:7a35a0141cbbc80de11d9c9a28f52697"),
    "birefnet-general-lite": (
        "BiRefNet-general-bb_swin_v1_tiny-epoch_232.onnx",
        "224 MB",
        "md5:4fab47adc4ff364be1713e97b7e66334",
    ),
}


class RembgSaliency(Detected):
    detector: Literal["rembg"]
    model: Literal["u2net", "u2netp", "silueta", "isnet-general-use", "birefnet-general", "birefnet-general-lite"]
    models: str | None = Field(None, description="folder of {model}.onnx; null: rembg's own, to which it downloads")

    def given_weights(self) -> str | None:
        return f"{self.models}/{self.model}.onnx" if self.models else None

    def packages(self) -> dict[str, str]:
        return {"rembg": INSTALL}

    def needed_files(self) -> tuple[File]:
        """The model, which rembg downloads unless the block names a folder of its own."""
        file, size, checksum = MODELS[self.model]
        return (File("saliency model", self._path(), f"{RELEASE}{file}", size, checksum, is_fetched=not self.models),)

    def _path(self) -> str:
        name = f"{self.model}.onnx"
        if self.models:
            return f"{self.models}/{name}"
        home, data = os.environ.get("U2NET_HOME"), os.environ.get("XDG_DATA_HOME")
        root = home or os.environ.get("REMBG_HOME") or (f"{data}/rembg" if data else "~/.rembg")
        paths = [f"{root}/models/{self.model}/{name}", home or f"{data or '~'}/.u2net"]
        paths[1] += f"/{name}"  # where older versions of rembg kept it, and newer ones still look
        first, *others = map(os.path.expanduser, paths)
        return next((path for path in (first, *others) if os.path.exists(path)), first)


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
