"""Kill the workflow at random moments of every stage, and compare what it ends with to an undisturbed run.

    python tests/tools/kills.py [--kills 60] [--seed 0] [--folder /tmp/kills] [--targets ...] [--reference a finished tree]

A small demo with every kind of stage is run in one folder undisturbed and in another with kills: of a stage's process,
of its shell or of Snakemake, by SIGKILL, SIGTERM or (Snakemake and all it started, as Ctrl-C does) SIGINT. After each kill
the same command is run again, with no option that repairs anything: up to the stage whose turn it is, the last time to the
end. It exits with 1 where artifacts or tables differ in a byte, something temporary is left, or a process outlives the
Snakemake that started it by more than a minute.
"""

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import yaml

from workflow_scripts.config.planning.stages import STAGES as DECLARED
from workflow_scripts.store.provenance import read_sidecar

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = (
    "Snakefile",
    "config.yaml",
    "configs",
    "envs",
    "library",
    "profiles",
    "rules",
    "workflow_scripts",
    "tests/small.yaml",
)
TARGETS = (
    "results/demo/miou.csv",
    "results/demo/pictures/done.txt",
    "results/demo/pictures/erasing/seenet.png",
    "results/demo/pictures/confidence/bana.png",
    "results/demo/saliency.csv",
    "results/demo/saliency/distilled_once.h5",
    "results/demo/mask_ap.csv",
    "results/demo/seed-0/coco/bana.json",
    "results/demo/boundaries.csv",
    "results/demo/confusion_ratios.csv",
    "results/demo/tune/twice.csv",
    "results/demo/tables/eps_table_1.csv",
    "results/demo/seed-0/doubt/eps.csv",
    "results/demo/gallery/index.html",
)
# What the tests' demo does not have: a training on the maps of other detectors, and a sweep.
OVERLAY = {
    "tunings": {"twice": {"mask": "eps", "vary": {"masks.eps.threshold": [0.2, 0.4]}}},
    "saliency": {
        "distilled_once": {
            "maps": ["rendered"],
            "network": {"backbone": {"name": "tiny", "stride": 8, "batch_norm": "trained", "frozen_stages": 0}},
            "initial": "random",
            "recipe": {"iterations": 6, "batch": 4, "save_every": 2},
        }
    },
}
# In an order of the DAG; those that fetch and unpack files, and the cost, which tells times, have no part here.
STAGES = (
    "render index truth train_saliency saliency train_classifier classification cams thresholds affinity_labels "
    "train_affinity masks train_segmenter predictions estimated_saliency scores saliency_table filling_rates "
    "instance_truth instances coco_json train_instances detections precision mask_ap boundaries boundary_table "
    "confusion_ratios confusion_table tune erasing confidence montage curves charts doubt gallery table miou"
).split()
WAYS = (
    ("stage", signal.SIGKILL),
    ("snakemake", signal.SIGKILL),
    ("stage", signal.SIGTERM),
    ("all", signal.SIGINT),
    ("shell", signal.SIGKILL),
    ("snakemake", signal.SIGTERM),
)
PATIENCE = 60  # seconds that a process may outlive what started it: its imports, a step, an image in every worker
LONGEST = 7200  # seconds of a run without a kill


@dataclass(frozen=True)
class Kill:
    """Of whom, how and when: at a share of the time that the stage usually takes."""

    stage: str
    victim: str
    signal: signal.Signals
    moment: float

    def __str__(self) -> str:
        return f"{self.signal.name} of {self.victim} at {self.moment:.0%} of {self.stage}"


def planned(kills: int, seed: int, run: Iterable[str] = STAGES) -> list[Kill]:
    """So many kills, in the order of the DAG, every stage that is run and every way as often as any other up to one."""
    stages = [stage for stage in STAGES if stage in run]
    rng = random.Random(seed)
    places = sorted(range(kills), key=lambda number: number % len(stages))
    ways = [WAYS[number % len(WAYS)] for number in range(kills)]
    rng.shuffle(ways)
    return [
        Kill(stages[place % len(stages)], *way, moment=rng.random()) for place, way in zip(places, ways, strict=True)
    ]


class Run:
    """Snakemake in a folder, with the stages that it runs."""

    def __init__(self, folder: Path, command: list[str]):
        self.folder, self.log = folder, folder / "kills.log"
        self.start = self.log.stat().st_size if self.log.exists() else 0
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PATH": path}
        with open(self.log, "ab") as log:
            self.process = psutil.Popen(
                command, cwd=folder, env=variables, stdout=log, stderr=log, start_new_session=True
            )

    def stages(self) -> dict[psutil.Process, str]:
        """The processes of its stages, without those that work for them."""
        found = {}
        for process in self.family():
            try:
                arguments = process.cmdline()
                above = process.parent().cmdline()
            except (psutil.Error, AttributeError):
                continue
            if (name := _stage(arguments)) and not _stage(above):
                found[process] = name
        return found

    def family(self) -> list[psutil.Process]:
        try:
            return self.process.children(recursive=True)
        except psutil.Error:
            return []

    def wait(self, seconds: float = LONGEST) -> int:
        """Its exit code; it is given up after so many seconds."""
        try:
            return self.process.wait(seconds)
        except psutil.TimeoutExpired:
            for process in [*self.family(), self.process]:
                process.kill()
            raise SystemExit(f"{self.folder}: did not end in {seconds} s, see kills.log") from None

    def end(self) -> None:
        """Stop it, however far it is: to run all that follows takes minutes."""
        with contextlib.suppress(psutil.Error):
            self.process.terminate()
        self.wait()

    def said(self) -> str:
        return self.log.read_bytes()[self.start :].decode(errors="replace")


def _stage(arguments: list[str]) -> str | None:
    module = next((text for text in arguments if text.startswith("workflow_scripts.stages.")), None)
    return module.rpartition(".")[2] if module and arguments[0].endswith(("python", "python3")) else None


def strike(run: Run, kill: Kill, seconds: float) -> str | None:
    """Wait for a stage to run, then for its moment, and kill; returns what was wrong, or None.

    Raises:
        Missed: the run ended before the stage came, or the victim before its moment.
    """
    while not (found := [process for process, name in run.stages().items() if name == kill.stage]):
        if run.process.poll() is not None:
            raise Missed
        time.sleep(0.02)
    stage, family = found[0], []
    time.sleep(kill.moment * seconds)
    try:
        family = run.family()
        if kill.victim == "stage":
            stage.send_signal(kill.signal)
        elif kill.victim == "shell":
            stage.parent().send_signal(kill.signal)
        elif kill.victim == "all":
            os.killpg(run.process.pid, kill.signal)
        else:
            run.process.send_signal(kill.signal)
    except (psutil.Error, AttributeError, ProcessLookupError):
        raise Missed from None
    run.wait()
    _, alive = psutil.wait_procs(family, timeout=PATIENCE)
    for process in alive:
        process.kill()
    return f"{len(alive)} processes outlived Snakemake" if alive else None


class Missed(Exception):
    """There was nothing to kill."""


def forget(folder: Path, stage: str) -> None:
    """Remove what a stage and those after it have finished, so that it runs; what it has saved on its way stays."""
    later = STAGES[STAGES.index(stage) :]
    for sidecar in (folder / "results").rglob("*.json"):
        artifact = sidecar.with_suffix("")
        record = read_sidecar(artifact)
        if record and record["stage"] in later:
            artifact.unlink(missing_ok=True)
            sidecar.unlink()


def disturb(
    folder: Path, command: list[str], kills: list[Kill], seconds: dict[str, float]
) -> tuple[list[Kill], list[str]]:
    """Run the command until it ends by itself, with kills on the way; which were done, and what was found wrong."""
    done, faults = [], []
    for kill in kills:
        for attempt in range(6):  # earlier each time, as some are over at once
            tried = replace(kill, moment=kill.moment / 2**attempt)
            forget(folder, kill.stage)
            run = Run(folder, [*command[:3], "--until", *rules(kill.stage), *command[3:]])
            try:
                fault = strike(run, tried, seconds.get(kill.stage, 1.0))
            except Missed:
                run.end()
                continue
            done.append(kill)
            print(f"{len(done)}: {tried}", flush=True)
            faults += [f"{tried}: {fault}"] if fault else []
            break
    run = Run(folder, command)
    if code := run.wait():
        faults.append(f"the last run ended with {code}:\n{run.said()[-3000:]}")
    return done, faults


def rules(stage: str) -> list[str]:
    """Names of the rules that run a stage."""
    return [name for name, declared in DECLARED.items() if stage == (declared.module or name)]


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all that results hold, without sidecars, which tell times."""
    files = {path for path in (folder / "results").rglob("*") if path.is_file()}
    sidecars = {path for path in files if path.suffix == ".json" and path.with_suffix("") in files}
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files - sidecars}


def differences(folder: Path, reference: Path) -> list[str]:
    """Files that are not as in the reference; those that are too many, temporary ones among them."""
    found, expected = digests(folder), digests(reference)
    lines = [f"{path}: missing" for path in sorted(expected.keys() - found.keys())]
    lines += [f"{path}: left over" for path in sorted(found.keys() - expected.keys())]
    lines += [f"{path}: other bytes" for path in sorted(found.keys() & expected) if found[path] != expected[path]]
    return lines + [f"{path}: left over" for path in (folder / ".snakemake" / "locks").glob("*")]


def prepare(folder: Path, targets: Sequence[str] = TARGETS) -> list[str]:
    """Copy the workflow to a new folder; returns the command that runs it there."""
    for part in PARTS:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, folder / part)
    (folder / "kills.yaml").write_text(yaml.safe_dump(OVERLAY))
    # A failed job ends the run: what does not need it would go on for minutes.
    profile = folder / "profiles/default/config.yaml"
    profile.write_text(profile.read_text().replace("keep-going: true", "keep-going: false"))
    configuration = ["--configfile", "config.yaml", "tests/small.yaml", "kills.yaml"]
    return [sys.executable, "-m", "snakemake", "--cores", "2", *configuration, "--", *targets]


def durations(folder: Path) -> dict[str, float]:
    """Seconds of each stage with the start of Python, the mean over its jobs, from a finished run."""
    times: dict[str, list[float]] = {}
    for path in (folder / "results").rglob("*.json"):
        if record := read_sidecar(path.with_suffix("")):
            times.setdefault(record["stage"], []).append(record["seconds"] + 2)
    return {stage: sum(values) / len(values) for stage, values in times.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", default=TARGETS, help="files to make, instead of every kind")
    parser.add_argument("--folder", type=Path, help="an empty one; a temporary one if none")
    parser.add_argument("--reference", type=Path, help="folder `undisturbed` of another run of this script, same code")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        reference = arguments.reference or folder / "undisturbed"
        if not arguments.reference and Run(reference, prepare(reference, arguments.targets)).wait():
            sys.exit(f"{reference}: the undisturbed run failed, see kills.log")
        disturbed = folder / "disturbed"
        command, seconds = prepare(disturbed, arguments.targets), durations(reference)
        start = time.monotonic()
        done, faults = disturb(disturbed, command, planned(arguments.kills, arguments.seed, seconds), seconds)
        faults += differences(disturbed, reference)
        for name, counted in (
            ("victims", (f"{k.victim} {k.signal.name}" for k in done)),
            ("stages", (k.stage for k in done)),
        ):
            print(f"{name}: " + ", ".join(f"{item} {count}" for item, count in Counter(counted).items()))
        print(
            f"{len(done)} of {arguments.kills} kills in {time.monotonic() - start:.0f} s, {len(faults)} faults",
            *faults,
            sep="\n",
        )
    sys.exit(bool(faults) or len(done) < arguments.kills)


if __name__ == "__main__":
    main()
