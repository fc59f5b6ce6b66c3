"""Break the product in small ways and see which tests notice: each mutant of mutants.yaml against the tests nearest to it.

    python tests/tools/mutants.py [WORD ...] [--jobs 2] [--list]

WORD keeps the mutants whose file or description holds it. Each mutant is made in a copy of the tree, in which the tests
named for its file run until the first one fails. A table says what killed each; exits with 1 if fewer than 95 % are
killed, or one survives without a reason.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    *("Snakefile", "config.yaml", "library", "pyproject.toml", "README.md"),
    *("configs", "docs", "envs", "profiles", "report", "rules", "tests", "workflow_scripts"),
)
LEAST = 0.95  # share that must be killed
# Imported once, before any tree is: a process for each mutant begins with them.
LIBRARIES = [
    "pytest",
    "numpy",
    "h5py",
    "pandas",
    "PIL.Image",
    "pydantic",
    "scipy.ndimage",
    "torch",
    "torchvision",
]


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


class Watch:
    """Keeps the first test that fails."""

    failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid.removeprefix("tests/")

    pytest_collectreport = pytest_runtest_logreport


def tested(targets: Sequence[str], file: str = "", source: str = "") -> str:
    """Run tests in a new copy of the tree, one file of it changed; the first test that fails, or "" where all pass."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder) / ROOT.name
        copy(tree)
        if (ROOT.parent / "shared").exists():
            (Path(folder) / "shared").symlink_to(ROOT.parent / "shared")
        if file:
            (tree / file).write_text(source, encoding="utf-8")
        os.chdir(tree)
        watch = Watch()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            status = pytest.main(["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *targets], [watch])
        os.chdir(ROOT)
    return watch.failed or (f"pytest, which ended with {int(status)}" if status else "")


def main() -> int:
    """The command line; 0 if at least 95 % are killed and every survivor is explained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="of files or descriptions")
    parser.add_argument("--jobs", type=int, default=2, help="mutants that are tested at once (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="say what the mutants are, run nothing")
    given = parser.parse_args()
    chosen = list(mutants(given.words))
    sources = [mutant.source() for mutant in chosen]
    if given.list or not chosen:
        print("\n".join(f"{mutant.file}: {mutant.breaks}" for mutant in chosen) or "no such mutant")
        return 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    killed = unexplained = 0
    with ProcessPoolExecutor(given.jobs, context, max_tasks_per_child=1) as pool:
        if failed := pool.submit(tested, sorted({target for mutant in chosen for target in mutant.targets})).result():
            print(f"{failed} fails without any mutant; mend it first")
            return 1
        killers = pool.map(tested, [m.targets for m in chosen], [m.file for m in chosen], sources)
        for mutant, killer in zip(chosen, killers, strict=True):
            killed += bool(killer)
            unexplained += not killer and not mutant.survives
            said = f"killed by {killer}" if killer else f"SURVIVES {mutant.survives}".rstrip()
            print(f"{mutant.file}: {mutant.breaks}: {said}", flush=True)
    print(f"{killed} of {len(chosen)} killed ({100 * killed / len(chosen):.1f} %)")
    return int(killed < LEAST * len(chosen) or unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())
