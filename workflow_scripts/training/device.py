"""Where a job computes, in which precision, and with how many threads."""

import contextlib
import os

import torch


def device() -> torch.device:
    """The GPU that is visible, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(where: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Forward passes in bfloat16 where the recipe says so; weights and losses stay float32."""
    return torch.autocast(where.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def deterministic(seed: int, threads: int) -> None:
    """Seed torch, fix the number of its threads (it decides the bytes on a CPU) and take deterministic kernels.

    The few kernels of a GPU that have no deterministic form are used all the same, with a warning.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to be deterministic
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
