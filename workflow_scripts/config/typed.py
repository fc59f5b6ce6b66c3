"""From plain values to a typed part of the configuration, with errors of one line that name the place."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types.parts import nearest

MOST_SHOWN = 80  # characters of a value that is not as it should be

PLAIN = {  # what users of YAML call Python's types
    "tuple_type": "input should be a list, such as [a, b]",
    "dict_type": "input should be keys with values, such as {a: 1}",
    "model_attributes_type": "input should be keys with values, such as {a: 1}",
}

_adapter = cache(TypeAdapter)
TRUTH = "; YAML reads yes, no, on, off, true and false as truth values, so write the number"
UNQUOTED = "; YAML reads what is not in quotes as a truth value, number, date or nothing, so put the text in quotes"


def typed(type_: Any, data: dict, where: str):
    """The value of that type; what is wrong with `data` is told by its place below `where`."""
    try:
        value = _adapter(type_).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        parts, missing = list(first["loc"]), None
        if first["type"] == "missing":
            *parts, missing = parts
        elif first["type"] == "union_tag_not_found" and first["ctx"]["discriminator"].startswith("'"):
            missing = first["ctx"]["discriminator"].strip("'")  # the key that says which kind it is
        location = _place(tuple(parts), data, first["input"])
        location = _keys(parts, data) if location is None else location
        message, found = PLAIN.get(first["type"], first["msg"].removeprefix("Value error, ")), first["input"]
        if first["type"] == "union_tag_invalid":
            tags = first["ctx"]["expected_tags"].strip("'").split("', '")
            location.append(first["ctx"]["discriminator"].strip("'"))
            message = f"there is no {first['ctx']['tag']!r}, {nearest(first['ctx']['tag'], tags)}"
        elif missing:
            location.append(str(missing))
            message = "missing, and no base gives it; add it"
        elif (not isinstance(found, dict) or first["type"] in PLAIN) and "unknown key" not in message:
            if first["type"] != "value_error":
                message = message[0].lower() + message[1:]
            message += f", found {_shortened(repr(found))}"
            if first["type"] == "string_type" and not isinstance(found, list):
                message += UNQUOTED
        raise UserError(f"config: {'.'.join([where, *location])}: {message}") from None
    for keys, found in _truths(data, value):
        raise UserError(f"config: {'.'.join([where, *keys])}: input should be a number, found {found}{TRUTH}")
    return value


def check_nulls(written: Mapping, read: Any, where: str, known: Collection[str]) -> None:
    """Refuse a null whose key none of the types in question has; other nulls take away what a base gives.

    Args:
        written: a block, with its nulls.
        read: the same, typed.
        known: the keys of all those types.
    """
    for key, item in written.items():
        if item is None and isinstance(read, BaseModel) and key not in known:
            raise UserError(f"config: {where}: unknown key {key!r}, {nearest(key, type(read).model_fields)}")
        if isinstance(item, Mapping):
            below = read.get(key) if isinstance(read, dict) else getattr(read, key, None)
            check_nulls(item, below, f"{where}.{key}", known)


def _truths(written: Any, read: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Where a truth value was taken for the number 0 or 1."""
    if isinstance(written, bool):
        if type(read) in (int, float):
            yield keys, written
    elif isinstance(written, dict):
        for key, item in written.items():
            below = read.get(key) if isinstance(read, dict) else getattr(read, key, None)
            yield from _truths(item, below, (*keys, key))
    elif isinstance(written, list) and isinstance(read, tuple | list):
        for number, (item, below) in enumerate(zip(written, read, strict=False)):
            yield from _truths(item, below, (*keys, str(number)))


def _place(parts: tuple, inside: Any, found: Any) -> list[str] | None:
    """The keys among the parts of a location that lead to the value found; the others are tags of unions.

    A tag can have the name of a key, so that both ways are tried.
    """
    if not parts:
        return [] if inside is found or inside == found else None
    part, *rest = parts
    if part in _written(inside) and (below := _place(tuple(rest), inside[part], found)) is not None:
        return [str(part), *below]
    return _place(tuple(rest), inside, found)


def _keys(parts: Iterable[Any], inside: Any) -> list[str]:
    """What of a location the user wrote, where nothing there is the value found."""
    keys = []
    for part in parts:
        if part in _written(inside):
            inside = inside[part]
            keys.append(str(part))
    return keys


def _written(inside: Any) -> Any:
    return range(len(inside)) if isinstance(inside, list) else inside if isinstance(inside, dict) else ()


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
