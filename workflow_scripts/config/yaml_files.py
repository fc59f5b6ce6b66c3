"""YAML files, read without trust: plain values only, and no more of them than a configuration has."""

import itertools
import math
from pathlib import Path

import yaml

from workflow_scripts.errors import UserError, one_line

MOST_VALUES = 1_000_000  # of a file, its aliases written out


def read_yaml(path: str | Path) -> dict:
    """The mapping that a YAML file holds; anything else is the user's error."""
    try:
        loader = yaml.SafeLoader(Path(path).read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is not None and _expanded(node) > MOST_VALUES:
            raise UserError(f"{path}: its aliases stand for more than {MOST_VALUES:,} values; write out what is meant")
        data = loader.construct_document(node) if node is not None else None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name an existing YAML file") from None
    except RecursionError:
        raise UserError(f"{path}: not valid YAML (nested too deep, or within itself)") from None
    # The last five: what a number, a date or a !!tag with a text that is none makes the library raise.
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, LookupError, OverflowError) as error:
        raise UserError(f"{path}: not valid YAML ({one_line(error)})") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds no mapping of sections; expected keys such as datasets and systems")
    return data


def _expanded(node: yaml.Node, known: dict[int, float] | None = None) -> float:
    """How many values a YAML node stands for where each alias is written out: infinite for one within itself."""
    known = {} if known is None else known
    if id(node) not in known:
        known[id(node)] = math.inf  # while its own values are counted
        values = getattr(node, "value", ())
        pairs = itertools.chain.from_iterable(values) if isinstance(node, yaml.MappingNode) else values
        inside = () if isinstance(node, yaml.ScalarNode) else pairs
        known[id(node)] = 1 + sum(_expanded(item, known) for item in inside)
    return known[id(node)]
