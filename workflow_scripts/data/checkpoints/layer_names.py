"""Layers of foreign checkpoints under the names that our networks give them.

A network lists rules `renames`: pairs of a regular expression at the begin of a name and what stands there instead. They
stand beside the layers that they name, so that a further family of checkpoints touches no other network.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor, nn

from workflow_scripts.base.errors import UserError

Renames = Sequence[tuple[str, str | Callable[[re.Match], str]]]

PREFIX = "backbone."


def renamed(name: str, rules: Renames) -> str:
    """The name with every rule applied, in order."""
    for pattern, ours in rules:
        name = re.sub(rf"\A(?:{pattern})", ours, name)
    return name


def of_backbone(network: nn.Module, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """What a checkpoint holds for a backbone; all else is left out and named in the log.

    Args:
        network: a backbone; `renames` are its rules, and names that begin with one of `ignored` are heads that it lacks.
        state: a state dict of the backbone alone, or of a whole network, where it may bear the prefix `backbone.` or one
            of its `wrappers`.
        source: where it is from, for messages.
    """
    names = {name: name.removeprefix("module.") for name in state}
    for prefix in (*getattr(network, "wrappers", ()), PREFIX):
        if any(name.startswith(prefix) for name in names.values()):
            names = {name: short.removeprefix(PREFIX) for name, short in names.items() if short.startswith(prefix)}
            break
    ours = {name: renamed(short, network.renames) for name, short in names.items()}
    taken = {name: own for name, own in ours.items() if not own.startswith(network.ignored)}
    _tell_left_out(source, [name for name in state if name not in taken])
    return _joined(state, taken, source)


def of_network(network: nn.Module, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """A whole checkpoint under the names of a network of ours, made of a `backbone` and layers that may have `renames` too."""
    known = network.state_dict().keys()

    def own(name: str) -> str:
        short = name.removeprefix("module.")
        head = renamed(short, getattr(network, "renames", ()))
        if head == short and head not in known:
            head = PREFIX + renamed(short.removeprefix(PREFIX), network.backbone.renames)
        return head if head in known else name  # what fits nowhere keeps its name, for the message

    # Layers of its authors' checkpoints that their network never applies, or that are there twice.
    unused = (*getattr(network, "unused", ()), *getattr(network.backbone, "unused", ()))
    names = {name: own(name) for name in state if not name.removeprefix("module.").startswith(unused)}
    _tell_left_out(source, [name for name in state if name not in names])
    return _joined(state, names, source)


def _joined(state: Mapping[str, Tensor], names: Mapping[str, str], source: str) -> dict[str, Tensor]:
    joined: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, own in names.items():
        if own in joined:
            raise UserError(f"{source}: {origin[own]} and {name} would both be {own}; keep one of them in the file")
        joined[own], origin[own] = state[name], name
    return joined


def _tell_left_out(source: str, names: Iterable[str]) -> None:
    names = list(names)
    if names:
        print(f"{source}: left out, as the network has no such layers: {', '.join(names)}", flush=True)
