"""The JSON schema of `config.yaml` for editors, from the types: `python -m workflow_scripts.config.schema`."""

import json

from pydantic import TypeAdapter

from workflow_scripts.config import blocks

HEADER = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "config.yaml"}


def schema() -> dict:
    """Schema of the whole file. A block may leave out what its `base` gives, so nothing is required."""
    definitions: dict = {}
    properties = {}
    for section, type_ in (*blocks.KINDS.items(), ("systems", blocks.System), ("datasets", blocks.AnyDataset)):
        part = TypeAdapter(type_).json_schema(ref_template="#/$defs/{model}")
        definitions |= part.pop("$defs", {})
        properties[section] = {"type": "object", "additionalProperties": part}
    for definition in (
        *definitions.values(),
        properties["systems"]["additionalProperties"],
        properties["cams"]["additionalProperties"],
    ):
        definition.pop("required", None)
        definition.setdefault("properties", {})["base"] = {
            "type": "string",
            "description": "block of the same kind to inherit from",
        }
    for part in properties.values():
        _allow_partial(part["additionalProperties"])
    return HEADER | {"type": "object", "properties": properties, "additionalProperties": False, "$defs": definitions}


def _allow_partial(part: dict) -> None:
    """A block with a base need not repeat what selects its type."""
    if "oneOf" in part:
        part["anyOf"] = part.pop("oneOf")
        part.pop("discriminator", None)


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1, sort_keys=True))
