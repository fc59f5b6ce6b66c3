"""Which images a training step sees: a batch is a pure function of (seed, iteration)."""

import zlib
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


def generator(seed: int, epoch: int, identifier: str) -> np.random.Generator:
    """The augmentation's generator for one image in one epoch."""
    return np.random.default_rng([seed, epoch, zlib.crc32(identifier.encode())])


class BatchSampler(Sampler):
    """Yields lists of (epoch, position); every epoch shuffled anew, what is left over at its end dropped.

    Args:
        count: images.
        batch: images per step; with fewer images than that, every batch repeats the epoch's images.
        start: iteration to begin with, for a resumed run.
        part: (which, of how many) equal parts of every batch.
    """

    def __init__(
        self, count: int, batch: int, iterations: int, seed: int, start: int = 0, part: tuple[int, int] = (0, 1)
    ):
        self.count, self.batch, self.iterations, self.seed, self.start = count, batch, iterations, seed, start
        which, parts = part
        self.part = slice(which * batch // parts, (which + 1) * batch // parts)

    def __len__(self) -> int:
        return self.iterations - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch = max(1, self.count // self.batch)
        order, current = np.zeros(0, int), -1
        for iteration in range(self.start, self.iterations):
            epoch, step = divmod(iteration, per_epoch)
            if epoch != current:
                order, current = np.random.default_rng([self.seed, epoch]).permutation(self.count), epoch
            chosen = np.resize(order, per_epoch * self.batch)[step * self.batch : (step + 1) * self.batch]
            yield [(epoch, int(position)) for position in chosen[self.part]]
