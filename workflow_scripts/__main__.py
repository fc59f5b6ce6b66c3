"""The command `wsss`: look into data sets, settings and results, and use trained networks.

    wsss show results/demo/miou.csv

Each command has help of its own with examples: `wsss show --help`.
"""

import ast
import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from workflow_scripts.base.errors import UserError, disk_fault, not_written
from workflow_scripts.base.version import VERSION

COMMANDS = (
    "import",
    "check",
    "config",
    "doctor",
    "inspect",
    "show",
    "verify",
    "export",
    "predict",
    "export-network",
    "convert",
)
MODULES = {"import": "import_data"}  # where a name is a word of Python


def main(arguments: Sequence[str]) -> int:
    """Run a command, which is imported only now.

    Returns:
        The exit status: 0 where all is well, 1 where something was found or failed, 2 where the command line is wrong.
    """
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"wsss {VERSION}")
        return 0
    if name not in COMMANDS:
        match = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0)
        print(
            f"error: wsss has no command {name!r}; did you mean {match[0]!r}? `wsss --help` lists all", file=sys.stderr
        )
        return 2
    try:
        status = import_module(f"workflow_scripts.commands.{_module(name)}").main(rest) or 0
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python flushes what is left
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if reason := disk_fault(error):
            print(f"error: {not_written(error.filename or 'the output', reason)}", file=sys.stderr)
            return 1
        raise
    return status


def _help() -> str:
    """The docstring above, and the first line of each command's, which is read without importing it."""
    lines = [f"    {name:<14} {_docstring(name).partition(chr(10))[0]}" for name in COMMANDS]
    return "\n".join([f"usage: wsss COMMAND ...\n\n{__doc__}", *lines, "\n    --version"])


def _module(name: str) -> str:
    return MODULES.get(name, name.replace("-", "_"))


def _docstring(name: str) -> str:
    source = Path(__file__).with_name("commands") / f"{_module(name)}.py"
    return ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
