"""The training loop: one optimiser step an iteration, state saved now and then, bytes that survive being killed."""

import time

import torch
from torch import nn
from torch.utils.data import Dataset

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.stopping import Stopped, postponed
from workflow_scripts.data.checkpoints.weights import save_weights
from workflow_scripts.run.command import Job
from workflow_scripts.training import memory
from workflow_scripts.training.device import check_compiler, check_precision, device
from workflow_scripts.training.feed import batches
from workflow_scripts.training.processes import Group, joined
from workflow_scripts.training.record import NotFinite, Record
from workflow_scripts.training.state import State
from workflow_scripts.training.step import Step

REPORT_EVERY = 50  # iterations between lines of the log and rows of the curve


def train_for(job: Job, network: nn.Module, samples: Dataset) -> None:
    """`train` with the recipe, the seed, the fingerprint and the outputs `weights` and `curve` of a job."""
    settings, outputs = job.settings, job.outputs
    train(
        network, samples, settings.block.recipe,
        seed=settings.seed, fingerprint=job.fingerprint, output=outputs.weights, curve=outputs.curve,
        workers=job.workers, save_every=job.save_every,
    )  # fmt: skip


def train(
    network: nn.Module,
    samples: Dataset,
    recipe,
    *,
    seed: int,
    fingerprint: str,
    output: str,
    curve: str,
    workers: int = 1,
    save_every: int | None = None,
) -> None:
    """Train a network and write its weights and its curve.

    Args:
        network: its `losses(batch)`, named and to be summed, are called under autocast of the recipe's precision.
        samples: indexed by (epoch, position).
        recipe: iterations, batch, optimiser and so on (`config.parts.Schedule`).
        fingerprint: of the job; state saved under another one is not resumed but removed.
        output: path of the weights; the resumable state is kept beside it until the end.
        curve: CSV to write: iteration, learning rate, mean of each loss since the row before.
        workers: processes that load images; their number never changes the bytes.
        save_every: steps between saved states, which do not either; None saves only when stopped by a signal.

    Raises:
        UserError: a loss is not finite, the GPU's memory is too small, or the precision is not for this device.
        Stopped: by a signal; the steps that are done are saved.

    Of several processes that torchrun has started each trains on a part of every batch, and the first writes.
    """
    with joined() as group:
        _train(network, samples, recipe, seed, State(output, fingerprint), output, curve, workers, save_every, group)


def _train(
    network, samples, recipe, seed: int, state: State, output: str, curve: str, workers: int, save_every, group: Group
) -> None:
    where = device()
    check_precision(where, recipe.precision)
    group.check(recipe)
    if recipe.compile:
        check_compiler()
    step, record = Step(network, recipe, where, group), Record()
    start = state.load(step, record)
    part = (group.rank, group.count)
    try:
        with batches(samples, recipe, seed, where, start, max(1, workers // group.count), part) as loaded:
            _iterate(step, loaded, seed, start, record, state, save_every)
    except torch.OutOfMemoryError:
        raise UserError(
            f"{output}: the GPU's memory is too small; less is needed with {memory.smaller(recipe)}"
        ) from None
    except NotFinite as error:
        raise UserError(
            f"{output}: {error}; lower learning_rate (now {recipe.learning_rate:g}) or set precision: float32"
        ) from None
    if group.rank:
        return
    record.write(curve)
    save_weights(network.eval(), output)
    state.remove()  # last: a job killed before this line goes on from its state


def _iterate(step: Step, loaded, seed: int, start: int, record: Record, state: State, save_every: int | None) -> None:
    recipe, clock, done, saved = step.recipe, time.monotonic(), start, start
    try:
        for batch in loaded:
            with postponed():  # a step is done wholly or not at all
                if done == start:
                    memory.announce(memory.estimate(step, batch), recipe, step.where)
                rate = step.rate
                step.group.seed(seed, done)
                record.add(done + 1, step(batch))
                done += 1
                last = done == recipe.iterations
                if done % REPORT_EVERY == 0 or last:
                    record.add_row(done, rate)
                    _report(record.rows[-1], recipe, done - start, time.monotonic() - clock, step.where)
                if save_every and done % save_every == 0 and not last and not step.group.rank:
                    state.save(done, step, record)
                    saved = done
    except Stopped as stop:
        if done > saved and not step.group.rank:
            state.save(done, step, record)
        raise Stopped(
            f"{stop}; {done} of {recipe.iterations} iterations are saved and run again goes on there"
        ) from None


def _report(row: dict, recipe, done_now: int, seconds: float, where: torch.device) -> None:
    left = seconds / max(1, done_now) * (recipe.iterations - row["iteration"])
    losses = ", ".join(f"{name} {value}" for name, value in row.items() if name not in {"iteration", "learning_rate"})
    used = f", memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB" if where.type == "cuda" else ""
    print(
        f"iteration {row['iteration']}/{recipe.iterations}, rate {row['learning_rate']}, {losses}, "
        f"{recipe.batch * done_now / seconds:.1f} images/s, {left:.0f} s left{used}",
        flush=True,
    )
