"""Draw the training curves of all networks, and how mIoU depends on the threshold of every cam."""

import json
from pathlib import Path

from workflow_scripts.look.plots import loss_curves, read_curve, threshold_sweeps
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import write


def read_sweep(path: str | Path) -> tuple[dict[float, float], float]:
    """mIoU by threshold, and the threshold chosen."""
    record = json.loads(Path(path).read_text(encoding="utf-8"))
    return {float(threshold): miou for threshold, miou in record["miou"].items()}, float(record["threshold"])


def main(job: Job) -> None:
    curves = {name: read_curve(path) for name, path in zip(job.settings.curves, job.inputs.curves, strict=True)}
    sweeps: dict[str, list] = {}
    for name, path in zip(job.settings.sweeps, job.inputs.sweeps, strict=True):
        sweeps.setdefault(name, []).append(read_sweep(path))
    write(job.outputs.curves, loss_curves(curves))
    write(job.outputs.sweep, threshold_sweeps(sweeps))


if __name__ == "__main__":
    run(main, lists=("curves", "sweeps"), outputs=("curves", "sweep"))
