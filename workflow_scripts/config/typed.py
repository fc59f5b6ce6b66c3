"""From plain values to a typed part of the configuration, with errors of one line that name the place."""

from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from workflow_scripts.errors import UserError

MOST_SHOWN = 80  # characters of a value that is not as it should be

_adapter = cache(TypeAdapter)


def typed(type_: Any, data: dict, where: str):
    """The value of that type; what is wrong with `data` is told by its place below `where`."""
    try:
        return _adapter(type_).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # Only what the user wrote, or left out: locations of tagged unions hold the tag too.
        location, inside = [], data
        for part in first["loc"]:
            written = range(len(inside)) if isinstance(inside, list) else inside if isinstance(inside, dict) else ()
            if part in written:
                inside = inside[part]
                location.append(str(part))
        if first["type"] == "missing":
            location.append(str(first["loc"][-1]))
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            message = "missing, and no base gives it"
        elif "input" in first and not isinstance(first["input"], dict):
            message = (
                f"{message[0].lower() + message[1:]}, found {_shortened(repr(first['input']))}"
                if "unknown key" not in message
                else message
            )
        raise UserError(f"config: {'.'.join([where, *location])}: {message}") from None


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
