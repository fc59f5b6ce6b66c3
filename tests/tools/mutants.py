"""Break the product in small ways and see which tests notice: each mutant of mutants.yaml against the tests nearest to it.

    python tests/tools/mutants.py [WORD ...] [--jobs 2] [--list]

WORD keeps the mutants whose file or description holds it. Each mutant is made in a copy of the tree, in which the tests
named for its file run until the first one fails. A table says what killed each; exits with 1 if fewer than 95 % are
killed, or one survives without a reason.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import yaml

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    "Snakefile",
    "config.yaml",
    "configs",
    "envs",
    "profiles",
    "report",
    "rules",
    "workflow_scripts",
    "tests",
    "pyproject.toml",
)
LIMIT = 900  # seconds of the tests of one mutant
LEAST = 0.95  # share that must be killed
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        file: relative to the root.
        breaks: what it breaks, in words.
        old, new: the text that stands once in the file, and what takes its place.
        tests: names of test files, without folder and ending, or `test_file.py::test_name`.
        survives: why no test can kill it; empty for all others.
    """

    file: str
    breaks: str
    old: str
    new: str
    tests: tuple[str, ...]
    survives: str = ""

    def source(self) -> str:
        """The changed file.

        Raises:
            ValueError: the old text does not stand exactly once in it, or the new one is no Python.
        """
        text = (ROOT / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: {self.old!r} stands {text.count(self.old)} times in it, expected once")
        changed = text.replace(self.old, self.new)
        compile(changed, self.file, "exec")
        return changed

    @property
    def targets(self) -> list[str]:
        """What pytest is asked to run."""
        return [f"tests/{name}" if "::" in name else f"tests/{name}.py" for name in self.tests]


def mutants(words: Sequence[str] = ()) -> Iterator[Mutant]:
    """Those of the table whose file or description holds one of the words; all, if there is none."""
    table = yaml.safe_load((Path(__file__).with_name("mutants.yaml")).read_text(encoding="utf-8"))
    for file, about in table.items():
        for item in about["mutants"]:
            mutant = Mutant(file=file, tests=tuple(about["tests"]), **item)
            if not words or any(word in f"{file} {mutant.breaks}" for word in words):
                yield mutant


def copy(tree: Path) -> None:
    """The workflow and its tests, without results."""
    tree.mkdir(parents=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, tree / name)


def outcome(mutant: Mutant, tree: Path) -> str:
    """Run the tests nearest to a mutant in a copy of the tree; the test that killed it, or "" where all pass."""
    original = (ROOT / mutant.file).read_text(encoding="utf-8")
    (tree / mutant.file).write_text(mutant.source(), encoding="utf-8")
    try:
        done = tested(mutant.targets, tree)
    finally:
        (tree / mutant.file).write_text(original, encoding="utf-8")
    if done.returncode == 0:
        return ""
    found = FAILED.search(done.stdout)
    return found[1].removeprefix("tests/") if found else f"pytest ended with {done.returncode}"


def tested(targets: Sequence[str], tree: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *targets]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=LIMIT, check=False)


def main() -> int:
    """The command line; 0 if at least 95 % are killed and every survivor is explained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="of files or descriptions")
    parser.add_argument("--jobs", type=int, default=2, help="mutants that are tested at once (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="say what the mutants are, run nothing")
    given = parser.parse_args()
    chosen = list(mutants(given.words))
    for mutant in chosen:
        mutant.source()
    if given.list or not chosen:
        print("\n".join(f"{mutant.file}: {mutant.breaks}" for mutant in chosen) or "no such mutant")
        return 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(given.jobs):
            # beside a folder `shared`, where the checkout has one
            tree = Path(folder) / str(number) / ROOT.name
            copy(tree)
            if (ROOT.parent / "shared").exists():
                (tree.parent / "shared").symlink_to(ROOT.parent / "shared")
            trees.put(tree)
        tree = trees.get()
        whole = tested(sorted({target for mutant in chosen for target in mutant.targets}), tree)
        trees.put(tree)
        if whole.returncode:
            print(f"{whole.stdout[-3000:]}\nthe tests fail without any mutant; mend them first")
            return 1

        def run(mutant: Mutant) -> str:
            tree = trees.get()
            try:
                return outcome(mutant, tree)
            finally:
                trees.put(tree)

        killed = 0
        unexplained = 0
        with ThreadPoolExecutor(given.jobs) as pool:
            for mutant, killer in zip(chosen, pool.map(run, chosen), strict=True):
                killed += bool(killer)
                unexplained += not killer and not mutant.survives
                said = f"killed by {killer}" if killer else f"SURVIVES {mutant.survives}".rstrip()
                print(f"{mutant.file}: {mutant.breaks}: {said}", flush=True)
    print(f"{killed} of {len(chosen)} killed ({100 * killed / len(chosen):.1f} %)")
    return int(killed < LEAST * len(chosen) or unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())
