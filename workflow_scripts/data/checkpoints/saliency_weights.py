"""Weights of saliency networks as others published them: PyTorch checkpoints of ports, Keras files.

Written after the published code that saves them; not yet tried on the files themselves. What does not fit is named.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.data.checkpoints import weights
from workflow_scripts.store.artifacts import DAMAGED, read_array

# Numbers that checkpoints keep beside the weights; harmless, but not among what torch reads by itself.
SCALAR = np._core.multiarray.scalar  # type: ignore[attr-defined]
NUMBERS = [SCALAR, np.dtype, np.float64, np.float32, type(np.dtype("f4")), type(np.dtype("f8"))]


def load_initial(network: nn.Module, initial, given: str | None = None) -> None:
    """Initial weights of a saliency network's backbone, named as a classifier's.

    Files of VGG16 may have the names of torchvision, of its `features` alone, or of caffe.
    """
    backbone = getattr(network, "backbone", None)
    if backbone is None or not hasattr(backbone, "renamed"):
        if backbone is not None:
            weights.load_initial(backbone, initial, given)
        return
    if initial == "random":
        return
    if initial == "imagenet":
        state, source = backbone.imagenet(), initial
    else:
        source = initial if given is None or not hasattr(initial, "sha256") else given
        state = backbone.renamed(weights.read_state(source))
    state = {name: value.float() for name, value in state.items()}
    weights.load_strictly(backbone, state, source)


def load_published(network: nn.Module, path: str) -> None:
    """Fill a whole network from a published file: .pth or .safetensors of a port or of this project, .h5 of Keras.

    Raises:
        UserError: missing, damaged, pickled code, or layers that do not fit, each named.
    """
    if not Path(path).exists():
        raise UserError(f"{path}: no such weights; download them there or name others under 'weights'")
    if Path(path).suffix in {".h5", ".hdf5"}:
        state = _from_keras(path)
    else:
        state = _checkpoint(path)
    rename = getattr(network, "published_names", lambda state: state)
    weights.load_strictly(network, rename(state), path)


def _checkpoint(path: str) -> dict[str, Tensor]:
    """A state dict, or the one under `model` or `state_dict` in a checkpoint; `module.` of several GPUs taken off."""
    if Path(path).suffix == ".safetensors":
        return weights.read_state(path)
    try:
        with torch.serialization.safe_globals(NUMBERS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any way
        reason = "it holds code, which is never run" if "Weights only" in str(error) else "damaged or no checkpoint"
        raise UserError(f"{path}: not a checkpoint of tensors ({reason}); name a .pth of weights") from None
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no state dict of tensors; save network.state_dict() alone")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _from_keras(path: str) -> dict[str, Tensor]:
    """Arrays of a Keras file by `layer.weight`, convolutions and matrices turned to PyTorch's order of axes."""
    parts = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}
    parts |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    state: dict[str, Tensor] = {}
    try:
        with h5py.File(path, "r") as file:
            root = file["model_weights"] if "model_weights" in file else file
            for layer in root:
                found: list[str] = []
                root[layer].visititems(
                    lambda name, item, found=found: found.append(name) if isinstance(item, h5py.Dataset) else None
                )
                for name in found:
                    array = read_array(root[layer], name)
                    part = name.rpartition("/")[2].partition(":")[0]
                    order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
                    array = np.ascontiguousarray(array.transpose(order) if order else array)
                    state[f"{layer}.{parts.get(part, part)}"] = torch.from_numpy(array)
    except DAMAGED as error:
        raise UserError(f"{path}: not a Keras file of weights ({one_line(error)}); download it again") from None
    return state
