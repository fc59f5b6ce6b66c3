"""YAML files, read without trust: plain values only, no more of them than a configuration has, and no key twice."""

import json
import math
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.base.errors import UserError, one_line

MOST_VALUES = 1_000_000  # of a file, its aliases written out
MERGE = "tag:yaml.org,2002:merge"  # of the key <<
PLAIN_TAGS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is six times as fast


class Placed(dict):
    """A mapping of a file that knows where each of its keys is written: `places["threshold"]` is `mine.yaml:3`."""

    __slots__ = ("places",)

    def __init__(self, values=(), places: dict[Any, str | None] | None = None):
        super().__init__(values)
        self.places = dict(getattr(values, "places", {})) if places is None else places


def place(data: Any, *keys: str | int) -> str | None:
    """Where a value is written: file and line of the last of the keys that is known."""
    found = None
    for key in keys:
        found = getattr(data, "places", {}).get(key, found)
        inside = isinstance(data, dict) and key in data or isinstance(data, list) and str(key).isdigit()
        if not inside or isinstance(data, list) and int(key) >= len(data):
            break
        data = data[int(key)] if isinstance(data, list) else data[key]
    return found


def read_yaml(path: str | Path) -> dict:
    """The mapping that a YAML or JSON file holds, `Placed`; anything else is the user's error."""
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
    if "*" in text and _expanded(node) > MOST_VALUES:
        raise UserError(f"{path}: its aliases stand for more than {MOST_VALUES:,} values; write out what is meant")
    return _Reader(loader, path).value(node, "")


class _Reader:
    """Makes the values of nodes, with the lines of keys, and refuses a key that is written twice in one mapping.

    YAML's own readers keep the last of two without a word.
    """

    def __init__(self, loader, path: str | Path):
        self.loader, self.path, self.known = loader, path, dict[int, Any]()

    def value(self, node: yaml.Node, where: str):
        if id(node) not in self.known:
            self.known[id(node)] = self._value(node, where)
        return self.known[id(node)]

    def _value(self, node: yaml.Node, where: str):
        if isinstance(node, yaml.SequenceNode):
            items = [self.value(item, f"{where}.{number}") for number, item in enumerate(node.value)]
            return items if node.tag in PLAIN_TAGS else self.loader.construct_object(node, deep=True)
        if not isinstance(node, yaml.MappingNode):
            return self.loader.construct_object(node)
        self._refuse_twice(node, where)
        if node.tag not in PLAIN_TAGS:
            return self.loader.construct_object(node, deep=True)
        self.loader.flatten_mapping(node)  # what `<<` names
        data = Placed()
        for key, value in node.value:
            name = self.loader.construct_object(key, deep=True)
            if not isinstance(name, Hashable):
                raise ValueError(f"line {key.start_mark.line + 1}: a key is a text")
            data[name] = self.value(value, f"{where}.{key.value}")
            data.places[name] = f"{self.path}:{key.start_mark.line + 1}"
        return data

    def _refuse_twice(self, node: yaml.MappingNode, where: str) -> None:
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
                continue
            line = key.start_mark.line + 1
            if first := lines.get((key.tag, key.value)):
                name = f"{where}.{key.value}".removeprefix(".")
                raise UserError(
                    f"{self.path}, line {line}: {name} is written twice, and the first, in line {first}, would be lost; "
                    "merge the two"
                )
            lines[key.tag, key.value] = line


def _json(text: str, path: str | Path):
    """What a JSON file holds, or None for another; YAML has all of JSON but tabs between its parts."""

    def unique(pairs: list[tuple]) -> dict:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise UserError(f"{path}: {key!r} is written twice, and the first would be lost; merge the two")
        return Placed(pairs, dict.fromkeys(keys, str(path)))

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
        pairs = (item for pair in values for item in pair) if isinstance(node, yaml.MappingNode) else values
        inside = () if isinstance(node, yaml.ScalarNode) else pairs
        known[id(node)] = 1 + sum(_expanded(item, known) for item in inside)
    return known[id(node)]
