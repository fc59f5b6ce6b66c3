"""Sidecars: a small JSON beside each artifact that says how it was made. Artifacts themselves hold no provenance."""

import json
import platform
import resource
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.version import VERSION
from workflow_scripts.store.artifacts import write

# What readers of a sidecar rely on.
CONTENT = {"stage": str, "settings": dict, "code": str, "sha256": str, "parents": dict}
PACKAGES = ("torch", "torchvision", "timm", "numpy", "h5py", "pillow", "pydensecrf2")


def sidecar_path(artifact: str | Path) -> Path:
    """`eps.h5` -> `eps.h5.json`."""
    return Path(f"{artifact}.json")


def read_sidecar(artifact: str | Path) -> dict | None:
    """The sidecar of an artifact, or None where it is missing or does not hold what `write_sidecar` writes."""
    try:
        record = json.loads(sidecar_path(artifact).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    complete = isinstance(record, dict) and all(isinstance(record.get(key), kind) for key, kind in CONTENT.items())
    return record if complete else None


def write_sidecar(
    artifact: str,
    stage: str,
    settings: str,
    code: str,
    parents: dict[str, str],
    seconds: float,
    modules: Iterable[str],
    shards: Iterable[str] = (),
) -> None:
    """Record settings, code digest, digests of the artifact and its parents, versions, duration and peak memory.

    Args:
        parents: of `parent_digests`, taken before they were read.
        shards: that the artifact was put together from: their durations are added, and the highest peaks are told.
    """
    parts = [json.loads(sidecar_path(shard).read_text(encoding="utf-8")) for shard in shards]
    peaks = [peak_memory(), *(part["memory_mib"] for part in parts)]
    record = {
        "stage": stage,
        "settings": json.loads(settings),
        "code": code,
        "sha256": file_sha256(artifact),
        "parents": parents,
        "versions": {"wsss": VERSION, "python": platform.python_version()}
        | {name: _version(name) for name in PACKAGES},
        "seconds": round(seconds + sum(part["seconds"] for part in parts), 1),
        "memory_mib": {kind: max(peak.get(kind, 0) for peak in peaks) for kind in {kind for p in peaks for kind in p}},
        "modules": sorted({*modules, *(name for part in parts for name in part["modules"])}),
    }
    write(sidecar_path(artifact), json.dumps(record, indent=1, sort_keys=True) + "\n")


def parent_digests(paths: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each input, compared with what its sidecar says: a damaged artifact is told before anything reads it.

    Libraries do not notice every damage, and some never come back from it (HDF5). It costs a tenth of what reading an
    artifact does, which is compressed.

    Raises:
        UserError: a file is missing, or is not what its stage wrote.
    """
    digests = {}
    for path in paths:
        record = read_sidecar(path)
        try:
            digests[path] = file_sha256(path)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; run snakemake to make it") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); check the disk and its permissions") from None
        if record and record["sha256"] != digests[path]:
            raise UserError(f"{path}: its bytes are not those that its stage wrote; delete it and run again")
    return digests


def check_bytes(path: str | Path) -> None:
    """Refuse an artifact that is not what its sidecar says, as `parent_digests`; one without a sidecar passes."""
    if sidecar_path(path).exists():
        parent_digests([str(path)])


def peak_memory() -> dict[str, int]:
    """Peak of this process and its largest child together, and of the GPU where it is used, MiB."""
    peaks = {"process": (own_peak() + _peak(resource.RUSAGE_CHILDREN)) >> 20}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peaks["gpu"] = torch.cuda.max_memory_allocated() // 2**20
    return peaks


def own_peak() -> int:
    """Bytes of memory that this process has had at most; where the system tells no better, or those of what started it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) << 10
    except (OSError, StopIteration):
        return _peak(resource.RUSAGE_SELF)


def _peak(user: int) -> int:
    """What the system's accounts say, which for a new process begin with the size of the one that started it."""
    return resource.getrusage(user).ru_maxrss * (1 if sys.platform == "darwin" else 1 << 10)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
