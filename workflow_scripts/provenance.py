"""Sidecars: a small JSON beside each artifact that says how it was made. Artifacts themselves hold no provenance."""

import json
import platform
import resource
import sys
from importlib import metadata
from pathlib import Path

from workflow_scripts.artifacts import replaced
from workflow_scripts.digests import file_sha256

# What readers of a sidecar rely on.
CONTENT = {"stage": str, "settings": dict, "code": str, "sha256": str, "parents": dict}
PACKAGES = ("torch", "torchvision", "numpy", "h5py", "pillow", "pydensecrf2")


def sidecar_path(artifact: str | Path) -> Path:
    """`eps.h5` -> `eps.h5.json`."""
    return Path(f"{artifact}.json")


def read_sidecar(artifact: str | Path) -> dict | None:
    """The sidecar of an artifact, or None where it is missing or does not hold what `write_sidecar` writes."""
    try:
        record = json.loads(sidecar_path(artifact).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    complete = isinstance(record, dict) and all(isinstance(record.get(key), kind) for key, kind in CONTENT.items())
    return record if complete else None


def write_sidecar(
    artifact: str, stage: str, settings: str, code: str, parents: list[str], seconds: float, modules: list[str]
) -> None:
    """Record settings, code digest, digests of the artifact and its parents, versions, duration and peak memory."""
    record = {
        "stage": stage,
        "settings": json.loads(settings),
        "code": code,
        "sha256": file_sha256(artifact),
        "parents": {parent: _recorded_digest(parent) for parent in parents},
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "seconds": round(seconds, 1),
        "memory_mib": peak_memory(),
        "modules": modules,
    }
    with replaced(sidecar_path(artifact)) as temporary:
        temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def peak_memory() -> dict[str, int]:
    """Peak of this process and its largest child together, and of the GPU where it is used, MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    users = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peaks = {"process": sum(resource.getrusage(user).ru_maxrss for user in users) // unit}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peaks["gpu"] = torch.cuda.max_memory_allocated() // 2**20
    return peaks


def _recorded_digest(parent: str) -> str:
    """What the parent's own sidecar says, which spares reading gigabytes again; foreign files are hashed."""
    record = read_sidecar(parent)
    return record["sha256"] if record else file_sha256(parent)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
