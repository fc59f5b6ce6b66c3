"""Modules that a block names are imported by that name, so that a stage's code holds only those that it uses."""

from importlib import import_module
from types import ModuleType


def plugin(family: str, name: str) -> ModuleType:
    """The module `workflow_scripts.{family}.{name}`."""
    return import_module(f"workflow_scripts.{family}.{name}")
