"""Main memory that a training asks for, by arithmetic on its block: planning builds no network."""

from typing import Any

# MiB of a process that has loaded torch, as is counted for each: trainings, and processes that load images, had 600 to 650.
PROCESS = 700
CUDA = 3_000  # MiB more where a process uses a GPU: a guess
PIXEL = 24  # bytes of a pixel that waits to be learnt from: colours, labels, saliency
# Bytes for each pixel that layers after the backbone and losses keep; and for each of the labels there.
BESIDE, LABEL = 200, 12
WORKSPACE = 1.35  # of what is counted: of single operations, and what the allocator cannot reuse (training/memory.py)
HALF = 0.7  # of what float32 keeps, in a precision of 16 bits


def of_training(block: Any, labels: int, gpus: int, loading: int) -> int | None:
    """MiB; None where the network says nothing of its memory, or takes over trained weights.

    Args:
        labels: classes and background.
        gpus: one process each, 0 for the CPU.
        loading: processes that load images.
    """
    if block.trained or (held := block.held()) is None:
        return None
    recipe = block.recipe
    processes = max(1, gpus)
    scales = 1 + sum(scale**2 for scale in getattr(block, "image_scales", None) or ())
    pixels = recipe.crop**2 * recipe.batch / processes  # of a process's part of a batch
    waiting = PIXEL * pixels * (loading * (4 if loading == 1 else 2) + 1)
    copies = 2 + (2 if recipe.optimiser == "adamw" else 1)  # weights, gradients, and what the optimiser keeps
    step = 4 * copies * held.parameters * 1e6
    if not gpus:
        kept = (held.kept + BESIDE + LABEL * labels) * (1 if recipe.precision == "float32" else HALF)
        step += WORKSPACE * scales * kept * pixels / recipe.accumulate
    of_process = PROCESS + (CUDA if gpus else 0) + step / 2**20
    return round(processes * of_process + loading * PROCESS + waiting / 2**20)
