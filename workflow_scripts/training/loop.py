"""The training loop: one optimiser step an iteration, state saved now and then, bytes that survive being killed."""

import csv
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from workflow_scripts.artifacts import replaced
from workflow_scripts.data.weights import save_weights
from workflow_scripts.errors import UserError
from workflow_scripts.training import memory
from workflow_scripts.training.device import check_compiler, check_precision, device
from workflow_scripts.training.feed import batches
from workflow_scripts.training.step import Step

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
    workers: int = 1,
) -> None:
    """Train a network and write its weights and its curve.

    Args:
        network: its `losses(batch)`, named and to be summed, are called under autocast of the recipe's precision.
        samples: indexed by (epoch, position).
        recipe: iterations, batch, optimiser and so on (`config.parts.Schedule`).
        fingerprint: of the job; state saved under another one is not resumed.
        output: path of the weights; the resumable state is kept beside it until the end.
        curve: CSV to write: iteration, learning rate, mean of each loss since the row before.
        workers: processes that load images; their number never changes the bytes.

    Raises:
        UserError: a loss is not finite, the GPU's memory is too small, or the precision is not for this device.
    """
    where = device()
    check_precision(where, recipe.precision)
    if recipe.compile:
        check_compiler()
    step = Step(network, recipe, where)
    state_path = Path(f"{output}.state")
    record = _Record()
    start = _resume(state_path, fingerprint, step, record)
    try:
        _iterate(step, batches(samples, recipe, seed, where, start, workers), start, record, state_path, fingerprint)
    except torch.OutOfMemoryError:
        raise UserError(
            f"{output}: the GPU's memory is too small; less is needed with {memory.smaller(recipe)}"
        ) from None
    except _NotFinite as error:
        raise UserError(
            f"{output}: {error}; lower learning_rate (now {recipe.learning_rate:g}) or set precision: float32"
        ) from None
    _write_curve(curve, record.rows)
    save_weights(network.eval(), output)
    state_path.unlink(missing_ok=True)  # last: a job killed before this line goes on from its state


def _iterate(step: Step, loaded, start: int, record: "_Record", state_path: Path, fingerprint: str) -> None:
    recipe, clock = step.recipe, time.monotonic()
    for done, batch in enumerate(loaded, start + 1):
        if done == start + 1:
            memory.announce(memory.estimate(step, batch), recipe, step.where)
        rate = step.rate
        record.add(done, step(batch))
        last = done == recipe.iterations
        if done % REPORT_EVERY == 0 or last:
            record.add_row(done, rate)
            _report(record.rows[-1], recipe, done - start, time.monotonic() - clock, step.where)
        if done % recipe.save_every == 0 and not last:
            _save(state_path, fingerprint, done, step, record)


class _NotFinite(Exception):
    """A loss is infinite or not a number."""


@dataclass
class _Record:
    """Rows of the curve, and the sums of what has no row yet."""

    rows: list[dict] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    since: int = 0

    def __post_init__(self):
        self._unread: list[tuple[int, dict[str, Tensor]]] = []

    def add(self, iteration: int, losses: dict[str, Tensor]) -> None:
        """Keep the losses of a step; they are read later, as a GPU is waited for by whoever reads."""
        self._unread.append((iteration, losses))

    def read(self) -> None:
        """Add the losses kept to the sums."""
        if not self._unread:
            return
        values = torch.stack([torch.stack(list(losses.values())) for _, losses in self._unread]).tolist()
        for (iteration, losses), numbers in zip(self._unread, values, strict=True):
            named = dict(zip(losses, numbers, strict=True))
            if not math.isfinite(sum(numbers)):
                found = ", ".join(f"{name} {value:.3g}" for name, value in named.items())
                raise _NotFinite(f"loss is not finite at iteration {iteration - 1} ({found})")
            for name, value in named.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        self._unread.clear()

    def add_row(self, iteration: int, rate: float) -> None:
        self.read()
        means = {name: f"{value / (iteration - self.since):.6g}" for name, value in self.sums.items()}
        self.rows.append({"iteration": iteration, "learning_rate": f"{rate:.6g}"} | means)
        self.sums, self.since = {}, iteration


def _report(row: dict, recipe, done_now: int, seconds: float, where: torch.device) -> None:
    left = seconds / max(1, done_now) * (recipe.iterations - row["iteration"])
    losses = ", ".join(f"{name} {value}" for name, value in row.items() if name not in {"iteration", "learning_rate"})
    used = f", memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB" if where.type == "cuda" else ""
    print(
        f"iteration {row['iteration']}/{recipe.iterations}, rate {row['learning_rate']}, {losses}, "
        f"{recipe.batch * done_now / seconds:.1f} images/s, {left:.0f} s left{used}",
        flush=True,
    )


def _save(path: Path, fingerprint: str, iteration: int, step: Step, record: _Record) -> None:
    record.read()
    state = {
        "fingerprint": fingerprint,
        "iteration": iteration,
        "random": torch.get_rng_state(),
        "record": asdict(record),
    } | step.state_dict()
    if torch.cuda.is_available():
        state["random_cuda"] = torch.cuda.get_rng_state()
    with replaced(path) as temporary, open(temporary, "wb") as file:
        torch.save(state, file)


def _resume(path: Path, fingerprint: str, step: Step, record: _Record) -> int:
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
    step.load_state_dict(state)
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
