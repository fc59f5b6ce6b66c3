"""YAML files, read without trust: plain values only, no more of them than a configuration has, and no key twice."""

import itertools
import json
import math
from pathlib import Path

import yaml

from workflow_scripts.base.errors import UserError, one_line

MOST_VALUES = 1_000_000  # of a file, its aliases written out
MERGE = "tag:yaml.org,2002:merge"  # of the key <<
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is six times as fast


def read_yaml(path: str | Path) -> dict:
    """The mapping that a YAML or JSON file holds; anything else is the user's error."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        data = _json(text, path) if text.lstrip().startswith("{") else None
        data = _yaml(text, path) if data is None else data
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name an existing YAML file") from None
    except RecursionError:
        raise UserError(f"{path}: not valid YAML (nested too deep, or within itself); correct it") from None
    # The last five: what a number, a date or a !!tag with a text that is none makes the library raise.
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, LookupError, OverflowError) as error:
        raise UserError(f"{path}: not valid YAML ({_reason(error)}); correct it") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds no mapping of sections; expected keys such as datasets and systems")
    return data


def _yaml(text: str, path: str | Path):
    loader = Loader(text)
    node = loader.get_single_node()
    if node is None:
        return None
    if _expanded(node) > MOST_VALUES:
        raise UserError(f"{path}: its aliases stand for more than {MOST_VALUES:,} values; write out what is meant")
    _refuse_twice(node, path)
    return loader.construct_document(node)


def _json(text: str, path: str | Path):
    """What a JSON file holds, or None for another; YAML has all of JSON but tabs between its parts."""

    def unique(pairs: list[tuple]) -> dict:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise UserError(f"{path}: {key!r} is written twice, and the first would be lost; merge the two")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    """What is wrong, and the line, which a long text before it must not push out."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return where + one_line(ValueError(error.problem) if getattr(error, "problem", None) else error)


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


def _refuse_twice(node: yaml.Node, path: str | Path, where: str = "", known: set[int] | None = None) -> None:
    """Of a key that is written twice in one mapping, YAML's readers keep the last without a word."""
    known = set() if known is None else known
    if id(node) in known or isinstance(node, yaml.ScalarNode):
        return
    known.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _refuse_twice(item, path, f"{where}.{number}", known)
        return
    lines: dict[tuple[str, str], int] = {}
    for key, value in node.value:
        name, line = f"{where}.{key.value}".removeprefix("."), key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
            if first := lines.get((key.tag, key.value)):
                raise UserError(
                    f"{path}, line {line}: {name} is written twice, and the first, in line {first}, would be lost; merge the two"
                )
            lines[key.tag, key.value] = line
        _refuse_twice(value, path, name, known)
