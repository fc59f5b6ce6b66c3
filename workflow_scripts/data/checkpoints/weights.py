"""Initial weights by name or path, and the safetensors files that trained networks are kept in."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.checkpoints.layer_names import of_backbone, of_network
from workflow_scripts.data.checkpoints.mxnet_params import read_params
from workflow_scripts.store.artifacts import replaced

WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys of checkpoints that hold more than the network


def load_initial(network: nn.Module, initial, given: str | None = None) -> None:
    """Fill a backbone with its initial weights.

    Args:
        network: a backbone of `networks`; its `imagenet()` gives torchvision's state dict, `renames` foreign names of its
            layers; `ignored` are layers of checkpoints that it does not have (the classifier of ImageNet), the log names them.
        initial: as in the configuration: "random", "imagenet", the path of a state dict, or settings with `sha256`
            (downloaded) or `classifier`, whose file is `given`; of whole networks the backbone is taken.

    Raises:
        UserError: missing file, pickled code, or layers that do not fit, each named.
    """
    if initial == "random":
        return
    optional: tuple[str, ...] = ()
    if initial == "imagenet":
        source, state = initial, network.imagenet()
    else:
        source = given or initial
        mxnet = Path(source).suffix == ".params" and hasattr(network, "from_mxnet")
        state = network.from_mxnet(read_params(source)) if mxnet else read_state(source)
    if any(name.removeprefix("module.").startswith("features.") for name in state):  # torchvision's
        optional = getattr(network, "unfilled", ())
    state = of_backbone(network, _in_own_layout(network, state, source), source)
    if hasattr(network, "adapted"):
        state = network.adapted(state)
    load_strictly(network, state, source, optional)


def load_trained(network: nn.Module, path: str | Path) -> None:
    """Fill a whole network from a checkpoint, its authors' or one of this project; every layer must fit.

    Args:
        network: a classifier, affinity network or segmentation network; its `renames`, if any, and its backbone's give foreign names.
        path: a state dict, in half precision too, alone or with the rest of a checkpoint.

    Raises:
        UserError: missing file, pickled code, or layers that do not fit; the log names each of them.
    """
    parted = network if hasattr(network, "own_layout") else network.backbone
    state = of_network(network, _in_own_layout(parted, read_state(path), str(path)), str(path))
    load_strictly(network, state, str(path))


def _in_own_layout(network: nn.Module, state: dict[str, torch.Tensor], source: str) -> dict[str, torch.Tensor]:
    """A checkpoint in float32, its tensors parted as the network's are, which has `own_layout` where others part them differently."""
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    return network.own_layout(state, source) if hasattr(network, "own_layout") else state


def load_strictly(
    network: nn.Module, state: dict[str, torch.Tensor], source: str, optional: tuple[str, ...] = ()
) -> None:
    """Load a state dict that must fit whole; the layers that do not are named, three of a kind, all of them in the log.

    Those whose names start with one of `optional` may be missing: they stay random, and the log says so.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    random = [name for name in missing if name.startswith(optional)] if optional else []
    missing = [name for name in missing if name not in random]
    unknown = [name for name in state if name not in own]
    wrong = [
        f"{name} ({_shape(state[name])}, expected {_shape(own[name])})"
        for name in state
        if name in own and own[name].shape != state[name].shape
    ]
    faults = []
    for title, names in (("missing", missing), ("unknown", unknown), ("of another shape", wrong)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            faults.append(f"{title}: {', '.join(names[:3])}{more}")
            if more:
                print(f"{source}: {title}: {', '.join(names)}", flush=True)
    if faults:
        raise UserError(f"{source}: weights of another network ({'; '.join(faults)}); name weights made for this one")
    if random:
        print(f"{source}: has no {', '.join(random)}; they start at random", flush=True)
    network.load_state_dict(state, strict=False)


def _shape(value: torch.Tensor) -> str:
    return "x".join(map(str, value.shape)) or "one number"


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict: .safetensors, or a .pth of tensors, alone or in a checkpoint under one of `WRAPPERS`.

    Pickled code is refused, never run.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such weights; download them there or name others in the configuration")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any way
        reason = "it holds code, which is never run" if "Weights only" in str(error) else "damaged or no checkpoint"
        raise UserError(
            f"{path}: not a state dict of tensors ({reason}); name a .pth or .safetensors of weights"
        ) from None
    inside = [state.get(key) for key in WRAPPERS] if isinstance(state, dict) else []
    state = next((part for part in inside if isinstance(part, dict)), state)
    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no plain state dict of tensors; save network.state_dict() alone")
    return state


def save_weights(network: nn.Module, path: str | Path) -> None:
    """Write a network's weights as safetensors, whole or not at all."""
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with replaced(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(state, temporary)
        temporary.chmod(mode)  # as the user wants new files; safetensors makes them for their owner alone


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Read weights that `save_weights` wrote for the same network."""
    load_strictly(network, read_state(path), str(path))
