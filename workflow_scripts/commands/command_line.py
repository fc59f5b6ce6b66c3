"""What the commands for people share: their help, which shows an example, and the option --configfile."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.config.resolve import Config


def command_parser(name: str, text: str) -> argparse.ArgumentParser:
    """A parser whose help is the docstring of the command's module, as it is written.

    Args:
        text: the docstring, which has an example in lines of its own.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=f"wsss {name}", description=text, formatter_class=formatter)


def add_configfile(parser: argparse.ArgumentParser) -> None:
    """The option that Snakemake has, with the same meaning."""
    parser.add_argument(
        "--configfile",
        "--configfiles",
        nargs="+",
        default=[],
        metavar="FILE",
        help="YAML files laid over config.yaml in this order, as they are given to snakemake",
    )


def load_config(paths: Sequence[str | Path]) -> Config:
    """The configuration as Snakemake sees it: the library and config.yaml, and the files of --configfile over them.

    Raises:
        UserError: a file cannot be read, or the configuration is not right.
    """
    return Config.load(*paths)
