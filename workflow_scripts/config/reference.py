"""The reference of the settings for people, from the types: `python -m workflow_scripts.config.reference > docs/config.md`."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import TypeAdapter

from workflow_scripts.config.families import references, sections, union
from workflow_scripts.config.types import archives

SECTIONS = {
    "saliency": "Maps of what stands out in an image, whatever it is. A block is a detector.",
    "classifiers": "Networks that learn from image-level labels, or from boxes.",
    "cams": "Class activation maps: how a classifier is asked for them.",
    "affinities": "Networks that learn which pixels belong together, from class activation maps.",
    "masks": "Pseudo masks: label maps that segmentation networks learn from.",
    "segmenters": "Segmentation networks.",
    "predictions": "How a segmentation network is asked for its predictions, and what refines them.",
    "systems": "Named chains of blocks, the rows of the table.",
    "tunings": "Grids over numbers of blocks, scored on a held-out split.",
    "instances": "Masks of single objects: one for each box.",
    "instance_networks": "Networks that learn instances from such masks.",
    "instance_systems": "Named chains of these, the rows of the table of mask AP.",
    "tables": "Tables of the papers: their rows as printed, and the systems that stand beside them.",
    "datasets": "Where images are, what each split is for, which systems are run.",
    "archives": "What is downloaded and unpacked before a data set is read.",
}

TYPES = {**sections(), "datasets": union("datasets"), "archives": archives.Archive}

HEAD = """# Reference of the settings

Made from the types by `python -m workflow_scripts.config.reference > docs/config.md`; do not edit. The values, with their units and
sources, are in [library/](../library) and [config.yaml](../config.yaml); `wsss config eps` prints what a block stands for.
[howto/settings.md](howto/settings.md) says how to change them. Editors take [config.schema.json](config.schema.json).

A section holds named blocks. A name is letters, digits and `_`. In every block `base` names another of the section, whose keys
it takes over; `null` takes away what a base or an earlier file gives. A key without a default must be given, by the block or its
base; a key that names what the block is made of may be left out where that has the same name. `overrides` of a data set change blocks
for it alone: `overrides: {masks: {eps: {threshold: 0.3}}}`. Beside the sections, `plugins` is a list of folders that bring blocks
and methods, and `shards` the number of jobs that a stage which goes through the images is made up of.
"""


def reference() -> str:
    """The whole page, Markdown."""
    inputs: Any = [(section, "validation", TypeAdapter(TYPES[section])) for section in SECTIONS]
    found, about = TypeAdapter.json_schemas(inputs)
    schemas = {section: schema for (section, _), schema in found.items()}
    definitions = about["$defs"]
    shown: set[str] = set()
    lines = [HEAD, "Sections: " + ", ".join(f"[{section}](#{section})" for section in SECTIONS) + "."]
    for section, lead in SECTIONS.items():
        lines += ["", f"## {section}", "", lead]
        for name, part in _members(schemas[section], definitions):
            shown.add(name)
            lines += _block(section, part)
    lines += ["", "## Parts", "", "What the blocks above share."]
    for name in sorted(definitions.keys() - shown, key=_short):
        lines += ["", f"### {_short(name)}", *_table("", definitions[name])]
    return "\n".join(lines) + "\n"


def _members(schema: dict, definitions: dict[str, dict]) -> Iterator[tuple[str, dict]]:
    """Names and definitions of the types that a block of a section may have."""
    if "properties" in schema:
        yield schema["title"], schema
    for item in schema.get("oneOf", schema.get("anyOf", [schema] if "$ref" in schema else [])):
        if "$ref" in item:
            name = item["$ref"].rpartition("/")[2]
            yield name, definitions[name]
        else:
            yield from _members(item, definitions)


def _block(section: str, part: dict) -> Iterable[str]:
    chosen = {key: about["const"] for key, about in part["properties"].items() if "const" in about}
    title = ", ".join(f"`{key}: {value}`" for key, value in chosen.items()) or part["title"]
    return ["", f"### {title}", *_table(section, part, *chosen)]


def _short(name: str) -> str:
    """The name of a type; where two modules have one of that name, pydantic puts the module before it."""
    return name.rpartition("__")[2]


def _table(section: str, part: dict, *told: str) -> Iterator[str]:
    if about := part.get("description"):
        yield ""
        yield " ".join(about.split())
    rows = {key: value for key, value in part.get("properties", {}).items() if key not in told}
    if rows:
        yield from ("", "| key | value | default | |", "|---|---|---|---|")
    named = references(TYPES[section]) if section else {}
    for key, value in rows.items():
        kind = _kind(value)
        if key in named:
            kind = kind.replace("string", f"name in [{named[key]}](#{named[key]})")
        default = "" if key in part.get("required", ()) else f"`{_default(value.get('default'))}`"
        yield f"| `{key}` | {kind} | {default} | {_cell(value.get('description', ''))} |"


def _kind(value: dict) -> str:
    """A type in words."""
    if "$ref" in value:
        name = _short(value["$ref"].rpartition("/")[2])
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in value:
            return " or ".join(dict.fromkeys(map(_kind, value[key])))
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{item}`" for item in value["enum"])
    if value.get("type") == "array":
        if "prefixItems" in value:
            return f"[{', '.join(map(_kind, value['prefixItems']))}]"
        return f"list of {_kind(value['items'])}" if value.get("items") else "list"
    if value.get("type") == "object":
        inside = value.get("additionalProperties")
        return f"names, each with {_kind(inside)}" if isinstance(inside, dict) else "mapping"
    return _number(value)


def _number(value: dict) -> str:
    name = {None: "any", "null": "null"}.get(value.get("type"), value.get("type"))
    if "minimum" in value and "maximum" in value:
        return f"{name}, {value['minimum']:g} to {value['maximum']:g}"
    for key, sign in (("exclusiveMinimum", ">"), ("minimum", "≥"), ("maximum", "≤")):
        if key in value:
            return f"{name} {sign} {value[key]:g}"
    return str(name)


def _default(value) -> str:
    return (
        {None: "null", True: "true", False: "false"}.get(value, value)
        if not isinstance(value, list | dict)
        else str(value)
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
