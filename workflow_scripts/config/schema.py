"""The JSON schema of files of settings for editors, from the types: `python -m workflow_scripts.config.schema`."""

import json

from pydantic import TypeAdapter

from workflow_scripts.config.families import sections, union
from workflow_scripts.config.types import archives

HEADER = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "settings"}


def schema() -> dict:
    """Schema of config.yaml, of files laid over it and of those of the library.

    A block may leave out what its `base` gives, so nothing is required; null takes it away.
    """
    definitions: dict = {}
    properties: dict[str, dict] = {}
    for section, type_ in (
        *sections().items(),
        ("datasets", union("datasets")),
        ("archives", archives.Archive),
    ):
        part = TypeAdapter(type_).json_schema(ref_template="#/$defs/{model}")
        for name, definition in part.pop("$defs", {}).items():
            if definitions.setdefault(name, definition) != definition:
                raise TypeError(f"two types of the configuration are called {name}; rename one")
        properties[section] = {"type": ["object", "null"], "additionalProperties": part}
    parts = [part["additionalProperties"] for part in properties.values()]
    for definition in (*definitions.values(), *(part for part in parts if "properties" in part)):
        definition.pop("required", None)
        known = {key: _or_null(part) for key, part in definition.get("properties", {}).items()}
        definition["additionalProperties"] = {"type": "null"}  # a key that only the base's type has, taken away
        definition["properties"] = known | {
            "base": {"type": ["string", "null"], "description": "block to inherit from"}
        }
    for part in (*parts, *definitions.values()):
        _allow_partial(part)
    properties["plugins"] = {
        "type": "array",
        "items": {"type": "string"},
        "description": "folders that bring blocks and methods",
    }
    properties["shards"] = {
        "type": "integer",
        "minimum": 1,
        "description": "jobs of a stage that goes through the images",
    }
    return HEADER | {"type": "object", "properties": properties, "additionalProperties": False, "$defs": definitions}


def _allow_partial(part) -> None:
    """A block with a base need not repeat what selects its type, nor that of a part of it."""
    if isinstance(part, dict) and "oneOf" in part:
        part["anyOf"] = part.pop("oneOf")
        part.pop("discriminator", None)
    for inside in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _allow_partial(inside)


def _or_null(part: dict) -> dict:
    """Null takes an inherited key away."""
    about = {key: part.pop(key) for key in ("title", "description", "default") if key in part}
    return {"anyOf": [part, {"type": "null"}]} | about


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1, sort_keys=True))
