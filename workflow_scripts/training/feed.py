"""Batches of a training run, loaded ahead by processes of their own and brought to the device."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from workflow_scripts.data.batches import BatchSampler
from workflow_scripts.data.canvas import finish
from workflow_scripts.errors import UserError, one_line
from workflow_scripts.stopping import ignore


@contextmanager
def batches(
    samples: Dataset,
    recipe,
    seed: int,
    where: torch.device,
    start: int = 0,
    workers: int = 1,
    part: tuple[int, int] = (0, 1),
) -> Iterator[Iterator[dict[str, Tensor]]]:
    """A context that gives the batches from iteration `start` on, on the device, images float32 (B, 3, H, W) in channels-last order.

    The loading processes, which signals do not end, end with the context: a job that fails would wait for them for ever.

    Args:
        samples: indexed by (epoch, position).
        workers: loading processes; their number never changes the bytes.
        part: (which, of how many) equal parts of every batch.

    Raises:
        UserError: a mistake that a sample shows.
    """
    loader = DataLoader(
        samples,
        batch_sampler=BatchSampler(len(samples), recipe.batch, recipe.iterations, seed, start, part),
        num_workers=workers,
        prefetch_factor=4 if workers == 1 else 2,
        pin_memory=where.type == "cuda",  # so that the copy to the GPU goes on while it computes
        multiprocessing_context="fork" if where.type == "cpu" else "spawn",
        worker_init_fn=ignore,
        generator=torch.Generator(),  # its own, so that a resumed run draws the same dropout
    )
    loaded = iter(loader)
    try:
        yield (finish(batch, where) for batch in _one_line(loaded))
    finally:
        loaded._shutdown_workers()  # torch itself does so when nothing refers to it, which a stack trace does


def _one_line(loaded: Iterable) -> Iterator:
    """The batches; a mistake found in the loading process arrives with its stack trace, which is cut off."""
    try:
        yield from loaded
    except UserError as error:
        raise UserError(str(error).rpartition("UserError: ")[2].strip()) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            f"a process that loads images ended ({one_line(error)}); most likely memory ran out: give the data set fewer "
            "`workers`, or the machine fewer jobs at once, and run again"
        ) from None
