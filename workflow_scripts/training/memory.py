"""What a training run will need of the device's memory, told before it begins."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from workflow_scripts.training.device import autocast
from workflow_scripts.training.step import Step, parts_of

TRIED = (2, 3)  # images of the forward passes that larger batches are extrapolated from


@dataclass(frozen=True)
class Estimate:
    """Bytes, without the workspace of single operations and what the allocator cannot reuse.

    With these, processes that trained MobileNetV2 and ResNet-50 on a CPU grew by 8 to 33 % more.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int
    batch: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimiser + self.activations + self.batch


def estimate(step: Step, batch: dict[str, Tensor]) -> Estimate:
    """Estimate the peak of a training run from its first batch.

    What the backward pass needs of the forward pass grows linearly with the images: it is counted for two and for
    three. Weights, statistics and the random state are as before.
    """
    network, recipe = step.network, step.recipe
    tensors = [*network.parameters(), *network.buffers()]
    trained = sum(_size(parameter) for parameter in network.parameters() if parameter.requires_grad)
    copies = 2 if recipe.optimiser == "adamw" else 1 if recipe.momentum else 0
    part = parts_of(batch, recipe.accumulate)[0]
    return Estimate(
        weights=sum(map(_size, tensors)),
        gradients=trained,
        optimiser=copies * trained,
        activations=_activations(step, part),
        batch=sum(map(_size, batch.values())),
    )


def announce(found: Estimate, recipe, where: torch.device) -> None:
    """Print an estimate in one line, and in another that it is more than is free and what needs less."""
    kinds = ", ".join(f"{name} {_readable(size)}" for name, size in vars(found).items())
    free = free_memory(where)
    known = "" if free is None else f"; {_readable(free)} free"
    print(f"memory: about {_readable(found.total)} on the {where.type} ({kinds}){known}", flush=True)
    if free is not None and found.total > free:
        print(f"memory: more than is free; less is needed with {smaller(recipe)}", flush=True)


def smaller(recipe) -> str:
    """The settings of a recipe that would lower its need of memory."""
    ways = [f"a larger accumulate (now {recipe.accumulate} of batch {recipe.batch})"] * (
        recipe.accumulate < recipe.batch
    )
    if hasattr(recipe, "crop"):
        ways.append(f"a smaller crop (now {recipe.crop})")
    if recipe.precision == "float32":
        ways.append("precision: bfloat16")
    return ", ".join(ways) or "a smaller network"


def free_memory(where: torch.device) -> int | None:
    """Bytes that this process can still have or already holds on the device; None where the system does not tell."""
    if where.type == "cuda":
        return torch.cuda.mem_get_info(where)[0] + torch.cuda.memory_reserved(where)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def saved_bytes(forward: Callable[[], object], kept: list[Tensor]) -> int:
    """Bytes that a forward pass keeps for the backward pass, each storage once, without those of the tensors `kept`."""
    known, saved = {tensor.untyped_storage().data_ptr() for tensor in kept}, {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()  # held until all is counted: what it keeps alive is at addresses of its own
    total = sum(size for address, size in saved.items() if address not in known)
    del result
    return total


def _activations(step: Step, part: dict[str, Tensor]) -> int:
    network, images = step.network, len(part["image"])
    tried = TRIED if images > max(TRIED) else (images,)
    buffers = [buffer.clone() for buffer in network.buffers()]
    with torch.random.fork_rng([step.where] if step.where.type == "cuda" else []):
        counted = [_forward(step, part, count) for count in tried]
    with torch.no_grad():
        for buffer, before in zip(network.buffers(), buffers, strict=True):
            buffer.copy_(before)
    if len(tried) == 1:
        return counted[0]
    slope = (counted[1] - counted[0]) / (tried[1] - tried[0])
    return round(counted[0] + slope * (images - tried[0]))


def _forward(step: Step, part: dict[str, Tensor], images: int) -> int:
    some = {name: value[:images] for name, value in part.items()}
    kept = [*step.network.parameters(), *step.network.buffers(), *some.values()]
    with autocast(step.where, step.recipe.precision):
        return saved_bytes(lambda: step.network.losses(some), kept)


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _readable(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
