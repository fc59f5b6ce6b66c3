"""Peak memory of every stage with 1,000 rendered images against 100: it must not grow with the data set.

    python benchmarks/memory.py [--images 100 1000] [--limit 0.1]

Runs the demo's stages one after another, each in a process of its own with one worker, with little training. The peak
is that of the stage's process plus that of its loading process, where it has one (Linux). Prints a row for each stage
and exits with 1 where a stage takes more than the limit.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from workflow_scripts.config.layers import read_settings
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config, merge

ROOT = Path(__file__).resolve().parent.parent
LITTLE = {"iterations": 3, "batch": 4, "save_every": 2}

# Runs a module as `python -m` does and writes its peak, in MiB, at its end.
MEASURED = """
import atexit, json, runpy, sys
from workflow_scripts.store.provenance import peak_memory

atexit.register(lambda: json.dump(peak_memory()["process"], open("peak.json", "w")))
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def changes(images: int) -> dict:
    """The demo with so many images, all of which pass through every stage."""
    training = {"recipe": LITTLE}
    return {
        "datasets": {
            "demo": {
                "splits": {
                    "all_train": {"images": images},
                    "thresholds": {"first": images // 2},
                    "train": None,
                    "affinity": None,
                    "val": None,
                },
                "use": {"masks": "all_train", "affinity": None, "evaluation": ["all_train"]},
                "systems": ["eps", "eps_crf", "eps_affinity", "cam_irn"],
                "overrides": {
                    "saliency": {"rendered": {"images": 16, **training}},
                    "classifiers": {"cam": training},
                    "cams": {"cam": {"scales": [1]}},
                    "affinities": {"cam": training, "cam_irn": training},
                    "systems": {"eps_affinity": {"segmenter": None, "predictions": []}},
                    "segmenters": {"large_fov": training},
                    "predictions": {"multi": {"scales": [1]}},
                },
            }
        }
    }


def command(plan: Plan, stage: str, wildcards: dict[str, str]) -> list[str]:
    """The command line of a job, measured."""
    options = {"settings": plan.settings(stage, wildcards), "code": "0"} | plan.job(stage, wildcards).inputs
    options |= {f"{name}-to": path for name, path in plan.outputs(stage, wildcards).items()}
    parts = [sys.executable, "-c", MEASURED, f"workflow_scripts.{plan.modules(stage, wildcards)[0]}"]
    for name, value in options.items():
        parts += [f"--{name}", *([value] if isinstance(value, str) else value or [""])]
    return parts


def measure(images: int) -> dict[str, float]:
    """Peak of every job by name, in MiB."""
    plan = Plan(Config(merge(read_settings(), changes(images))))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for stage, wildcards in plan.jobs("demo"):
            done = subprocess.run(
                command(plan, stage, wildcards), cwd=folder, env=environment, capture_output=True, text=True
            )
            if done.returncode:
                sys.exit(f"{stage} {wildcards}: {done.stderr}")
            name = " ".join([stage, *(v for k, v in wildcards.items() if k not in {"dataset", "seed"})])
            peaks[name] = json.loads(Path(folder, "peak.json").read_text())
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs=2, default=[100, 1000], metavar=("FEW", "MANY"))
    parser.add_argument("--limit", type=float, default=0.1, help="share by which the peak may grow")
    arguments = parser.parse_args()
    few, many = (measure(images) for images in arguments.images)
    print(f"{'stage':44} {arguments.images[0]:>7} {arguments.images[1]:>7} images; MiB")
    missed = False
    for name, peak in few.items():
        growth = many[name] / peak - 1
        missed |= growth > arguments.limit
        print(
            f"{name:44} {peak:7.0f} {many[name]:7.0f} {100 * growth:+6.1f} %{' !' if growth > arguments.limit else ''}"
        )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
