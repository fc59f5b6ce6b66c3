"""Batches of a training run, loaded ahead by processes of their own and brought to the device."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.base.stopping import ignore, postponed
from workflow_scripts.data.samples.batches import BatchSampler
from workflow_scripts.data.samples.canvas import finish


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
        UserError: a mistake that a sample shows, or a loading process was killed.
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
    with ExitStack() as ending:
        with postponed():
            loaded = iter(loader)
            ending.callback(_end, loaded)
        try:
            yield (finish(batch, where) for batch in loaded)
        except UserError as error:  # with its stack trace, if it comes from a loading process
            raise UserError(str(error).rpartition("UserError: ")[2].strip()) from None
        except RuntimeError as error:  # raised wherever this process is when a loading process is killed
            if "DataLoader worker" not in str(error):
                raise
            raise UserError(
                f"a process that loads images ended ({one_line(error)}); most likely memory ran out: give the data set fewer "
                "`workers`, or the machine fewer jobs at once, and run again"
            ) from None


def _end(loaded) -> None:
    """End the loading processes of an iterator; torch itself does so when nothing refers to it, which a stack trace does."""
    try:
        loaded._shutdown_workers()
    finally:
        for worker in loaded._workers:
            worker.kill()  # one that stands still; they ignore SIGTERM
