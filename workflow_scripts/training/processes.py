"""Processes that share the batches of a training, one a GPU, started by torchrun (`command.run`).

Each takes an equal part of every batch; gradients and losses are averaged, so that a step is that of the whole batch up to
rounding. Trained batch normalisation takes its statistics from the whole batch on GPUs, and from each process's part on
CPUs, which torch synchronises none on; of the running means those of the first process are kept. Dropout draws in
another order than in one process.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from workflow_scripts.base.errors import UserError


@dataclass(frozen=True)
class Group:
    """The place of this process among those that share a training."""

    rank: int = 0
    count: int = 1

    def check(self, recipe) -> None:
        """Batches must be shared equally.

        Raises:
            UserError: parts of them are not equal.
        """
        if recipe.batch % (self.count * recipe.accumulate):
            raise UserError(
                f"config: batch {recipe.batch} cannot be shared equally by {self.count} processes with accumulate "
                f"{recipe.accumulate}; change batch, accumulate or the data set's gpus"
            )

    def prepare(self, network: nn.Module) -> None:
        """Equal weights everywhere, and trained batch normalisation over the whole batch."""
        if self.count == 1:
            return
        for tensor in network.state_dict().values():
            distributed.broadcast(tensor, 0)
        if torch.cuda.is_available():
            _synchronise(network)

    def seed(self, seed: int, iteration: int) -> None:
        """Draw dropout as a function of the iteration, so that processes need not save what they would draw."""
        if self.count > 1:
            torch.manual_seed((seed * 1_000_003 + iteration) * self.count + self.rank)

    def whole(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The part of a batch with the label maps of all of it, which losses count the labelled positions of."""
        if self.count == 1 or "label" not in batch:
            return batch
        labels = [torch.empty_like(batch["label"]) for _ in range(self.count)]
        distributed.all_gather(labels, batch["label"].contiguous())
        return batch | {"whole_label": torch.cat(labels)}

    def average(self, tensors: list[Tensor]) -> None:
        """Replace tensors by their means over the processes."""
        for work in [distributed.all_reduce(tensor, async_op=True) for tensor in tensors]:
            work.wait()
        for tensor in tensors:
            tensor.div_(self.count)


class Gradients:
    """Averages the gradients of a network: of all parameters that any process has one of at its first step."""

    def __init__(self, network: nn.Module, group: Group):
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.group = group
        self._used: list[bool] | None = None

    def average(self) -> None:
        if self.group.count == 1:
            return
        present = [parameter.grad is not None for parameter in self.parameters]
        if self._used is None:
            anywhere = torch.tensor(present, dtype=torch.float32, device=self.parameters[0].device)
            distributed.all_reduce(anywhere)
            self._used = [count > 0 for count in anywhere.tolist()]
        if any(here and not used for here, used in zip(present, self._used, strict=True)):
            raise RuntimeError("a parameter has its first gradient after the first step, which processes cannot share")
        used = [parameter for parameter, used in zip(self.parameters, self._used, strict=True) if used]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.group.average([parameter.grad for parameter in used])


@contextlib.contextmanager
def joined() -> Iterator[Group]:
    """The processes of this training: those that torchrun has started, else this one alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield Group()
        return
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "nccl"
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group(backend)
    try:
        yield Group(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def _synchronise(network: nn.Module) -> None:
    """In place, and not what is kept in evaluation mode; parameters stay the same objects."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d) and child.training:
                setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
