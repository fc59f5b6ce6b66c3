"""Stages run in this process, by the command line that their rule makes; data set `mine` of the current folder."""

import contextlib
import io
import runpy
import sys
from pathlib import Path

from workflow_scripts.config.planning.plan import Plan


def arguments(plan: Plan, stage: str, **wildcards) -> list[str]:
    """The command line that the rule of the stage makes."""
    wildcards = {"dataset": "mine", **wildcards}
    options = {"--settings": plan.settings(stage, wildcards), "--code": "0"}
    for name, value in plan.job(stage, wildcards).inputs.items():
        options[f"--{name}"] = value
    for name, path in plan.outputs(stage, wildcards).items():
        options[f"--{name}-to"] = path
    values = ([value] if isinstance(value, str) else value or [""] for value in options.values())
    return [part for option, value in zip(options, values, strict=True) for part in (option, *value)]


def run(plan: Plan, stage: str, **wildcards) -> str | None:
    """Run a stage's command line in this process; None, or what it exits with."""
    return start(plan.modules(stage, {"dataset": "mine", **wildcards})[0], arguments(plan, stage, **wildcards))


def start(name: str, command: list[str]) -> str | None:
    """Run the module of a stage with a command line in this process; None, or what it exits with."""
    module = f"workflow_scripts.{name}"
    before, sys.argv = sys.argv, [module, *command]
    imported = sys.modules.pop(module, None)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code
    finally:
        sys.argv = before
        if imported:
            sys.modules[module] = imported
    return None


def results() -> set[Path]:
    """What stages have written; the digests of the user's files are kept beside it."""
    return {path for path in Path("results").rglob("*") if path.is_file() and path.name != ".sources.json"}


def refused(plan: Plan, stage: str, *fragments, faults: int = 0, **wildcards) -> str:
    """The stage ends with one error (a header and a line for each fault where it looks for all) and writes nothing."""
    before = results()
    message = run(plan, stage, **wildcards)
    assert isinstance(message, str) and message.startswith("error: ") and "Traceback" not in message
    assert message.count("\n") == faults
    for fragment in fragments:
        assert str(fragment) in message
    assert results() == before
    return message
