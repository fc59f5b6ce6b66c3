"""What Snakemake says in the terminal: why a job is run by the keys that changed, and last why jobs failed.

Snakemake shows all settings of a job before and now, and below the message of a job that failed its command, twice.
"""

import ast
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake import persistence
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from workflow_scripts.config.planning.changes import changes
from workflow_scripts.config.planning.outputs import maker
from workflow_scripts.config.planning.plan import Plan

OURS = "workflow_scripts.stages."  # in the command of a job of this workflow
LAST = "At least one job did not complete successfully."  # Snakemake's last line
TOLD = re.compile(r"^(error|stopped): ", re.MULTILINE)
OF_A_PLAN = re.compile(r"UserError: (.+?)\nWildcards:", re.DOTALL)
TAIL = 1 << 16  # bytes of a log
MOST_LINES = 60  # of a message

_plans: list[Plan] = []  # of this workflow, and of others that it is a module of beside it


def tell(plan: Plan, with_commands: bool = False) -> None:
    """Make Snakemake tell of the jobs of a plan in this way.

    Args:
        with_commands: keep the commands of jobs that failed, as asked for by --printshellcmds.
    """
    if not any(isinstance(known, Failures) for known in logger.filters):
        logger.addFilter(Failures(with_commands))
        _ParamsText.before = persistence.ParamsChange.__str__
        persistence.ParamsChange.__str__ = _ParamsText.text
    _plans.append(plan)


class _ParamsText:
    """Snakemake's text of the params that changed, and ours in its place."""

    before: Any = None

    @staticmethod
    def text(change: persistence.ParamsChange) -> str:
        return changed(change.only_old, change.only_new, change.files) or _ParamsText.before(change)


def changed(before: Iterable[str], now: Iterable[str], files: Iterable[str]) -> str | None:
    """What of a job's params changed: its settings, and its code; None for jobs that are not of this workflow.

    Args:
        before, now: the params that only one of both has, as Snakemake keeps them.
        files: that the job makes.
    """
    path = re.sub(r"^.*?(?=(?:results|data)/)", "", min(map(str, files), default=""))
    (old, old_code), (new, new_code) = _params(before), _params(now)
    told = []
    if old is not None and new is not None:
        told = changes(path, old, new, _plan(path))
    if old_code and new_code:
        told.append(f"the code of stage {(maker(path) or ('of it',))[0]}")
    return ", ".join(told) or None


def _params(values: Iterable[str]) -> tuple[dict | None, str | None]:
    """Settings and digest of the code among params, which Snakemake keeps as Python writes them."""
    settings = code = None
    for value in sorted(values):
        try:
            text = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            continue
        if isinstance(text, str) and re.fullmatch("[0-9a-f]{32}", text):
            code = text
        elif isinstance(text, str) and text.startswith("{"):
            try:
                settings = json.loads(text)
            except ValueError:
                continue
    return settings, code


def _plan(path: str) -> Plan | None:
    named = re.match(r"results/([^/]+)/", path)
    return next((plan for plan in _plans if named and named[1] in plan.config.datasets), None)


@dataclass
class Failure:
    """A job that failed, and its logs."""

    rule: str
    logs: list[str]
    in_group: bool


class Failures(logging.Filter):
    """Takes the commands out of what is said of failed jobs, and ends with the last words of each job's log."""

    def __init__(self, with_commands: bool = False):
        super().__init__()
        self.with_commands = with_commands
        self.failed: dict[object, Failure] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_ERROR:
            self._note(record)
        elif event == LogEvent.JOB_FINISHED:
            self.failed.pop(getattr(record, "job_id", None), None)  # at another attempt
        elif event == LogEvent.ERROR:
            text = str(record.msg)
            if "CalledProcessError" in text and OURS in text:
                return self.with_commands
            if found := OF_A_PLAN.search(text):
                record.msg = f"error: {found[1].strip()}"
            elif text.rstrip().endswith(LAST):
                record.msg = "\n".join([text.rstrip(), *last_words(self.failed.values())])
        return True

    def _note(self, record: Any) -> None:
        if OURS not in str(record.shellcmd):
            return
        self.failed[record.jobid] = Failure(record.rule_name, list(record.log), bool(record.indent))
        if record.rule_msg is None:
            record.msg = ""  # else it says "message: None"
        if not self.with_commands:
            record.shellcmd = None


def last_words(failed: Iterable[Failure]) -> list[str]:
    """For each job the name of its log, and the message that it ends with."""
    lines = []
    for failure in failed:
        words = {path: message(_tail(path)) for path in failure.logs}
        path = next((path for path, (_, is_told) in words.items() if is_told), None)
        if path is None and failure.in_group:
            continue  # another job of its group failed
        path = path or next((path for path in reversed(failure.logs) if words[path][0]), None)
        said = (
            words[path][0] if path else ["error: it ended without a word; was it killed, for its memory or its time?"]
        )
        lines += ["", f"Rule {failure.rule} failed; see {path or ', '.join(failure.logs)}", *said]
    return lines


def message(text: str) -> tuple[list[str], bool]:
    """The last words of a log, and whether they are a message of ours: that line and what follows; or its last line."""
    found = [match.start() for match in TOLD.finditer(text)]
    if found:
        lines = text[found[-1] :].rstrip().splitlines()
        return (
            lines
            if len(lines) <= MOST_LINES
            else [*lines[:MOST_LINES], f"... and {len(lines) - MOST_LINES} more lines"]
        ), True
    return [line for line in text.splitlines() if line.strip()][-1:], False


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, Path(path).stat().st_size - TAIL))
            return file.read().decode("utf-8", errors="replace").replace("\r", "\n")
    except OSError:
        return ""
