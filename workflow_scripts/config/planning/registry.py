"""Jobs as functions that are registered by the name of their stage, which is the name of its rule; and what is made on request."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Job:
    """Inputs by name, settings (plain values) and the modules looked up by name, all of one job."""

    inputs: dict[str, Any] = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    modules: tuple[str, ...] = ()


JobFunction = Callable[..., Job]  # of the context and, by their names, the wildcards of the rule
JOBS: dict[str, JobFunction] = {}
ON_REQUEST: list[Callable] = []  # of the context and a data set: files that can be asked for beside the targets


def job(stage: str) -> Callable[[JobFunction], JobFunction]:
    """Register a function for the jobs of a stage, each stage once.

    Raises:
        ValueError: the stage has one already.
    """

    def register(function: JobFunction) -> JobFunction:
        if stage in JOBS:
            raise ValueError(f"stage {stage!r} is registered twice, by {function.__module__} too")
        JOBS[stage] = function
        return function

    return register


def on_request(function: Callable) -> Callable:
    """Register a function that lists files of a data set which are made on request alone."""
    ON_REQUEST.append(function)
    return function
