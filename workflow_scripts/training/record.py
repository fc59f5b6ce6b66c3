"""The curve of a training: means of its losses, read from the device only where a row is made."""

import csv
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from workflow_scripts.store.artifacts import replaced


class NotFinite(Exception):
    """A loss is infinite or not a number."""


@dataclass
class Record:
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
        """Add the losses kept to the sums.

        Raises:
            NotFinite: one of them is not finite.
        """
        if not self._unread:
            return
        values = torch.stack([torch.stack(list(losses.values())) for _, losses in self._unread]).tolist()
        for (iteration, losses), numbers in zip(self._unread, values, strict=True):
            named = dict(zip(losses, numbers, strict=True))
            if not math.isfinite(sum(numbers)):
                found = ", ".join(f"{name} {value:.3g}" for name, value in named.items())
                raise NotFinite(f"loss is not finite at iteration {iteration - 1} ({found})")
            for name, value in named.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        self._unread.clear()

    def add_row(self, iteration: int, rate: float) -> None:
        """Close a row: the means since the one before, and the rate of its last step."""
        self.read()
        means = {name: f"{value / (iteration - self.since):.6g}" for name, value in self.sums.items()}
        self.rows.append({"iteration": iteration, "learning_rate": f"{rate:.6g}"} | means)
        self.sums, self.since = {}, iteration

    def write(self, path: str) -> None:
        """Write the rows as CSV."""
        with replaced(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.rows[-1]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
