"""Time and memory of the sparse random walk against the published one, dense repeated squaring, on one machine.

    python benchmarks/random_walk.py --plot random_walk.png

Both get the same pair affinities (radius 5, published border, float32), 21 score maps and 2^8 steps. The dense peer
is at its best settings: float32 BLAS products into two preallocated matrices, on all threads (the sparse walk uses
one). Runs of both alternate after a warm-up; seconds are medians, memory is the growth of the process' peak over its
inputs in a process of its own (Linux).
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import time

import torch
from torch import Tensor

from workflow_scripts.refine.affinity import pair_affinity, pair_indices
from workflow_scripts.refine.random_walk import propagate_pairs

IMAGES = ((188, 250), (281, 375), (375, 500), (480, 640))  # height, width
STRIDE, LABELS, BETA, LOG_STEPS, RADIUS = 8, 21, 8, 8, 5
LIMITS = {(375, 500): 20, (480, 640): 50}  # times faster, at least
MEMORY_LIMIT = 0.1  # of the dense walk's


def dense_walk(scores: Tensor, affinity: Tensor) -> Tensor:
    """The published algorithm: scores (L, h, w) times the dense transition matrix squared LOG_STEPS times."""
    labels, height, width = scores.shape
    start, to = pair_indices(RADIUS, height, width)
    start, to = start.expand_as(to).flatten(), to.flatten()
    transition = torch.zeros(height * width, height * width)
    transition[start, to] = affinity.flatten()
    transition[to, start] = affinity.flatten()
    transition.fill_diagonal_(1).pow_(BETA)
    transition.div_(transition.sum(0))
    squared = torch.empty_like(transition)
    for _ in range(LOG_STEPS):
        torch.matmul(transition, transition, out=squared)
        transition, squared = squared, transition
    return (scores.flatten(1) @ transition).view(labels, height, width)


def sparse_walk(scores: Tensor, affinity: Tensor) -> Tensor:
    return propagate_pairs(scores, affinity, RADIUS, BETA, LOG_STEPS)


WALKS = {"dense": dense_walk, "sparse": sparse_walk}


def inputs(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Scores and pair affinities of an image of this size, from a seed."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = -(-height // STRIDE), -(-width // STRIDE)
    scores = torch.rand(LABELS, rows, columns, generator=generator)
    features = 0.3 * torch.randn(1, 64, rows, columns, generator=generator)
    return scores, pair_affinity(features, RADIUS)[0].contiguous()


def seconds(walk, *arguments: Tensor) -> float:
    begin = time.perf_counter()
    walk(*arguments)
    return time.perf_counter() - begin


def memory_status(field: str) -> float:
    """A field of this process' memory status, in MiB."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field} in the process status: memory is measured on Linux only")


def peak_memory(name: str, height: int, width: int) -> float:
    """MiB that a walk allocates beyond its inputs, in this process."""
    arguments = inputs(height, width)
    # Thread pools and libraries are no part of it: load them with a small walk, whose matrices are below 1 MiB.
    WALKS[name](*inputs(13 * STRIDE, 17 * STRIDE))
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = memory_status("VmRSS")
    WALKS[name](*arguments)
    return memory_status("VmHWM") - before


def peak_memory_apart(name: str, height: int, width: int, threads: int) -> float:
    command = [sys.executable, __file__, "--threads", str(threads), "--memory", name, str(height), str(width)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(height: int, width: int, repeats: int, threads: int) -> dict[str, float]:
    arguments = inputs(height, width)
    difference = (sparse_walk(*arguments) - dense_walk(*arguments)).abs().max().item()  # warms up as well
    times = {name: [] for name in WALKS}
    for _ in range(repeats):
        for name, walk in WALKS.items():
            times[name].append(seconds(walk, *arguments))
    row = {"difference": difference}
    for name in WALKS:
        row[f"{name}_s"] = statistics.median(times[name])
        row[f"{name}_mib"] = peak_memory_apart(name, height, width, threads)
    return row


def plot(rows: dict[tuple[int, int], dict[str, float]], path: pathlib.Path) -> None:
    """Seconds and memory of both walks against the number of pixels of the image, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    pixels = [height * width for height, width in rows]
    for axis, unit, title in zip(axes, ("s", "mib"), ("seconds", "memory beyond the inputs, MiB"), strict=True):
        for name, marker in (("dense", "o"), ("sparse", "s")):
            axis.loglog(pixels, [row[f"{name}_{unit}"] for row in rows.values()], marker=marker, label=name)
        axis.set_xticks(pixels, [f"{height}x{width}" for height, width in rows])
        axis.minorticks_off()
        axis.set_xlabel("image")
        axis.set_title(title)
        axis.grid(alpha=0.3)
        axis.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(description="Random walk: sparse against dense repeated squaring.")
    parser.add_argument("--plot", type=pathlib.Path, help="PNG to write")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each walk (default %(default)s)")
    parser.add_argument("--memory", nargs=3, metavar=("WALK", "HEIGHT", "WIDTH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        name, height, width = options.memory
        print(peak_memory(name, int(height), int(width)))
        return 0

    print(f"{LABELS} maps, 2^{LOG_STEPS} steps, float32, {options.threads} threads, median of {options.repeats}")
    print("| image | cells | dense s | sparse s | times faster | dense MiB | sparse MiB | share | difference |")
    print("|---|---|---|---|---|---|---|---|---|")
    rows, met = {}, True
    for height, width in IMAGES:
        row = rows[height, width] = measure(height, width, options.repeats, options.threads)
        faster, share = row["dense_s"] / row["sparse_s"], row["sparse_mib"] / row["dense_mib"]
        if (height, width) in LIMITS:
            met &= faster >= LIMITS[height, width] and share <= MEMORY_LIMIT
        print(
            f"| {height}x{width} | {-(-height // STRIDE)}x{-(-width // STRIDE)} | {row['dense_s']:.2f} "
            f"| {row['sparse_s']:.3f} | {faster:.0f} | {row['dense_mib']:.1f} | {row['sparse_mib']:.1f} "
            f"| {share:.3f} | {row['difference']:.1e} |",
            flush=True,
        )
    limits = ", ".join(f"{limit}x at {height}x{width}" for (height, width), limit in LIMITS.items())
    print(f"at least {limits}, at most {MEMORY_LIMIT} of the memory: {'met' if met else 'NOT MET'}")
    if options.plot:
        plot(rows, options.plot)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
