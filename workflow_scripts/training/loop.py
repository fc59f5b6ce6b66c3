"""The training loop: one optimiser step an iteration, state saved now and then, bytes that survive being killed."""

import csv
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from workflow_scripts.artifacts import replaced
from workflow_scripts.data.batches import BatchSampler
from workflow_scripts.data.weights import save_weights
from workflow_scripts.errors import UserError
from workflow_scripts.training.device import autocast, device
from workflow_scripts.training.optimiser import build

REPORT_EVERY = 50  # iterations between lines of the log and rows of the curve


def train(
    network: nn.Module,
    samples: Dataset,
    recipe,
    *,
    seed: int,
    fingerprint: str,
    output: str,
    curve: str,
) -> None:
    """Train a network and write its weights and its curve.

    Args:
        network: its `losses(batch)`, named and to be summed, are called under autocast of the recipe's precision.
        samples: indexed by (epoch, position).
        recipe: iterations, batch, optimiser and so on (`config.parts.Recipe`).
        fingerprint: of the job; state saved under another one is not resumed.
        output: path of the weights; the resumable state is kept beside it until the end.
        curve: CSV to write: iteration, learning rate, mean of each loss since the row before.

    Raises:
        UserError: a loss is not finite.
    """
    where = device()
    network.to(where, memory_format=torch.channels_last).train()
    optimiser, schedule = build(network, recipe)
    state_path = Path(f"{output}.state")
    record = _Record()
    start = _resume(state_path, fingerprint, network, optimiser, schedule, record)
    sampler = BatchSampler(len(samples), recipe.batch, recipe.iterations, seed, start)
    loader = DataLoader(
        samples,
        batch_sampler=sampler,
        num_workers=1,
        prefetch_factor=4,
        multiprocessing_context="fork" if where.type == "cpu" else "spawn",
        generator=torch.Generator(),  # its own, so that a resumed run draws the same dropout
    )
    clock = time.monotonic()
    for iteration, batch in enumerate(_one_line(loader), start):
        batch = {name: value.to(where, non_blocking=True) for name, value in batch.items()}
        batch["image"] = batch["image"].to(memory_format=torch.channels_last)
        with autocast(where, recipe.precision):
            named = network.losses(batch)
        total = sum(named.values())
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()
        for name, value in named.items():
            record.sums[name] = record.sums.get(name, 0.0) + value.item()
        if not math.isfinite(sum(record.sums.values())):
            raise UserError(
                f"{output}: loss is not finite at iteration {iteration} ({', '.join(f'{n} {v.item():.3g}' for n, v in named.items())}); "
                f"lower learning_rate (now {recipe.learning_rate:g}) or set precision: float32"
            )
        rate = schedule.get_last_lr()[0]
        schedule.step()
        done = iteration + 1
        if done % REPORT_EVERY == 0 or done == recipe.iterations:
            record.add_row(done, rate)
            _report(record.rows[-1], recipe.iterations, done - start, time.monotonic() - clock, where)
        if done % recipe.save_every == 0 and done < recipe.iterations:
            _save(state_path, fingerprint, done, network, optimiser, schedule, record)
    _write_curve(curve, record.rows)
    save_weights(network.eval(), output)
    state_path.unlink(missing_ok=True)  # last: a job killed before this line goes on from its state


def _one_line(batches: Iterable) -> Iterator:
    """The batches; a mistake found in the loading process arrives with its stack trace, which is cut off."""
    try:
        yield from batches
    except UserError as error:
        raise UserError(str(error).rpartition("UserError: ")[2].strip()) from None


@dataclass
class _Record:
    """Rows of the curve, and the sums of what has no row yet."""

    rows: list[dict] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    since: int = 0

    def add_row(self, iteration: int, rate: float) -> None:
        means = {name: f"{value / (iteration - self.since):.6g}" for name, value in self.sums.items()}
        self.rows.append({"iteration": iteration, "learning_rate": f"{rate:.6g}"} | means)
        self.sums, self.since = {}, iteration


def _report(row: dict, total: int, done_now: int, seconds: float, where: torch.device) -> None:
    left = seconds / max(1, done_now) * (total - row["iteration"])
    losses = ", ".join(f"{name} {value}" for name, value in row.items() if name not in {"iteration", "learning_rate"})
    memory = f", memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB" if where.type == "cuda" else ""
    print(
        f"iteration {row['iteration']}/{total}, rate {row['learning_rate']}, {losses}, {left:.0f} s left{memory}",
        flush=True,
    )


def _save(path: Path, fingerprint: str, iteration: int, network, optimiser, schedule, record: _Record) -> None:
    state = {
        "fingerprint": fingerprint,
        "iteration": iteration,
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
        "random": torch.get_rng_state(),
        "record": asdict(record),
    }
    if torch.cuda.is_available():
        state["random_cuda"] = torch.cuda.get_rng_state()
    with replaced(path) as temporary, open(temporary, "wb") as file:
        torch.save(state, file)


def _resume(path: Path, fingerprint: str, network, optimiser, schedule, record: _Record) -> int:
    """Load the saved state if it is this job's; returns the iteration to go on with."""
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever is wrong with it, the job can start anew
        print(f"{path}: cannot be read, starting from the beginning", flush=True)
        return 0
    if state.get("fingerprint") != fingerprint:
        print(f"{path}: saved by other settings or code, starting from the beginning", flush=True)
        return 0
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    torch.set_rng_state(state["random"])
    if torch.cuda.is_available() and "random_cuda" in state:
        torch.cuda.set_rng_state(state["random_cuda"])
    vars(record).update(state["record"])
    print(f"resumed at iteration {state['iteration']}", flush=True)
    return state["iteration"]


def _write_curve(path: str, rows: list[dict]) -> None:
    with replaced(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
