"""Where a job computes, in which precision, and with how many threads."""

import contextlib
import os
import shutil

import torch

from workflow_scripts.base.errors import UserError


def device() -> torch.device:
    """The GPU that is visible, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(where: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Forward passes in "bfloat16" or "float16"; weights and losses stay float32.

    In "float32" a GPU that has TensorFloat-32 takes it for convolutions, not for matrix products: torch's default.
    """
    dtype = torch.float16 if precision == "float16" else torch.bfloat16
    return torch.autocast(where.type, dtype=dtype, enabled=precision != "float32")


def check_precision(where: torch.device, precision: str) -> None:
    """Tell what a device is too slow at, before it is.

    Raises:
        UserError: float16 on a CPU.
    """
    if where.type != "cpu":
        return
    if precision == "float16":
        raise UserError(
            "config: precision float16 is for GPUs and this job has none; set precision: bfloat16 or float32, or gpus"
        )
    if precision == "bfloat16" and not native_bfloat16():
        print("this processor emulates bfloat16; precision: float32 is faster here", flush=True)


def check_compiler() -> None:
    """What torch.compile builds its kernels with must be there.

    Raises:
        UserError: no C++ compiler.
    """
    if not any(map(shutil.which, (os.environ.get("CXX") or "g++", "clang++"))):
        raise UserError("config: compile: true needs a C++ compiler; install g++, or set compile: false")


def native_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself."""
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def deterministic(seed: int, threads: int, cores: int) -> None:
    """Seed torch, fix the number of its threads (it decides the bytes on a CPU) and take deterministic kernels.

    The few kernels of a GPU that have no deterministic form are used all the same, with a warning.

    Args:
        threads: as configured; a job that was given fewer cores takes as many threads as these, and says so, since more
            would wait for each other.
        cores: that the job was given, for all its processes where it has several GPUs.
    """
    given = max(1, cores // int(os.environ.get("WORLD_SIZE", "1")))
    if threads > given and device().type == "cpu":
        print(
            f"warning: torch_threads is {threads}, and the job was given {given} of the cores: it computes with {given}, so its "
            f"bytes are those of torch_threads: {given}; run with --cores {threads} or more for those of the configuration",
            flush=True,
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to be deterministic
    torch.manual_seed(seed)
    torch.set_num_threads(min(threads, given))
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a help for debugging that costs up to a tenth
    torch.backends.cudnn.benchmark = False
