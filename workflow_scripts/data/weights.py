"""Initial weights by name or path, and the safetensors files that trained networks are kept in."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from workflow_scripts.artifacts import replaced
from workflow_scripts.data.mxnet_params import read_params
from workflow_scripts.errors import UserError


def load_initial(network: nn.Module, initial, given: str | None = None) -> None:
    """Fill a backbone with its initial weights.

    Args:
        network: a backbone of `networks`; its `imagenet()` gives torchvision's state dict, `ignored` names the layers
            of a checkpoint that it does not have (the classifier of ImageNet).
        initial: as in the configuration: "random", "imagenet", the path of a state dict, or settings with `sha256`
            (downloaded) or `classifier`, whose file is `given`; of a classifier of this project the backbone is taken.

    Raises:
        UserError: missing file, pickled code, or layers that do not fit, each named.
    """
    if hasattr(initial, "classifier"):
        state = {
            name.removeprefix("backbone."): value
            for name, value in read_state(given).items()
            if name.startswith("backbone.")
        }
        load_strictly(network, state, given)
        return
    if hasattr(initial, "sha256"):
        initial = given
    if initial == "random":
        return
    optional: tuple[str, ...] = ()
    if initial == "imagenet":
        state, optional = network.imagenet(), getattr(network, "unfilled", ())
    elif Path(initial).suffix == ".params" and hasattr(network, "from_mxnet"):
        state = network.from_mxnet(read_params(initial))
    else:
        state = read_state(initial)
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    state = {name: value for name, value in state.items() if not name.startswith(network.ignored)}
    load_strictly(network, state, initial, optional)


def load_strictly(
    network: nn.Module, state: dict[str, torch.Tensor], source: str, optional: tuple[str, ...] = ()
) -> None:
    """Load a state dict that must fit whole; the layers that do not are named.

    Those whose names start with one of `optional` may be missing: they stay random, and the log says so.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    random = [name for name in missing if name.startswith(optional)] if optional else []
    missing = [name for name in missing if name not in random]
    unknown = [name for name in state if name not in own]
    wrong = [name for name in state if name in own and own[name].shape != state[name].shape]
    faults = []
    for title, names in (("missing", missing), ("unknown", unknown), ("of another shape", wrong)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            faults.append(f"{title}: {', '.join(names[:3])}{more}")
    if faults:
        raise UserError(f"{source}: weights of another network ({'; '.join(faults)}); name weights made for this one")
    if random:
        print(f"{source}: has no {', '.join(random)}; they start at random", flush=True)
    network.load_state_dict(state, strict=False)


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict: .safetensors, or a .pth of tensors only. Pickled code is refused, never run."""
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such weights; download them there or name others under 'initial'")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any way
        reason = "it holds code, which is never run" if "Weights only" in str(error) else "damaged or no checkpoint"
        raise UserError(
            f"{path}: not a state dict of tensors ({reason}); name a .pth or .safetensors of weights"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no plain state dict of tensors; save network.state_dict() alone")
    return state


def save_weights(network: nn.Module, path: str | Path) -> None:
    """Write a network's weights as safetensors, whole or not at all."""
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with replaced(path) as temporary:
        save_file(state, temporary)


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Read weights that `save_weights` wrote for the same network."""
    load_strictly(network, read_state(path), str(path))
