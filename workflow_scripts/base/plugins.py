"""Modules that a block names are imported by that name, so that a stage's code holds only those that it uses.

Folders from outside bring more, as flat files: `seam.py` there is `workflow_scripts.methods.seam` where a block names it as
a method. Jobs learn the folders from an environment variable.
"""

import os
import re
import traceback
from importlib import import_module
from pathlib import Path
from types import ModuleType

FOLDERS = "WSSS_PLUGINS"


def folders() -> list[str]:
    """Folders from outside, in the order in which a module is looked for in them."""
    return [folder for folder in os.environ.get(FOLDERS, "").split(os.pathsep) if folder]


def plugin(family: str, name: str) -> ModuleType:
    """The module `workflow_scripts.{family}.{name}`, from our own folder or one from outside."""
    package = import_module(f"workflow_scripts.{family}")
    package.__path__[1:] = map(os.path.abspath, folders())
    return import_module(f"workflow_scripts.{family}.{name}")


def place(error: BaseException) -> str | None:
    """File and line in a folder from outside that an error comes from, if it does; also one in another process."""
    text = "".join(traceback.format_exception(error))
    outside = {os.path.realpath(folder) for folder in folders()}
    for file, line in reversed(re.findall(r'File "([^"\n]+)", line (\d+)', text)):
        if os.path.realpath(Path(file).parent) in outside:
            return f"{file}:{line}"
    return None
