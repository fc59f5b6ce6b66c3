"""Files of settings laid over each other, and blocks over their bases: one reading for Snakemake and for all commands.

`null` takes a key away, whoever gave it: an earlier file, the block itself or a base. It is kept while files and bases
are merged, so that it also reaches what is laid below it, and goes at the end.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from workflow_scripts.base import plugins
from workflow_scripts.base.errors import UserError
from workflow_scripts.config import families
from workflow_scripts.config.fingerprint import ROOT
from workflow_scripts.config.types.parts import NAME, nearest
from workflow_scripts.config.yaml_files import MOST_VALUES, Placed, place, read_yaml

# Sections that have blocks which are not written: those of a name that a block of another section has.
IMPLIED = ("cams", "masks", "systems", "instances", "instance_systems")
SHIPPED = ROOT.parent / "config.yaml"
LIBRARY = ROOT.parent / "library"


def read_settings(files: Iterable[str | Path] = (), *more: Mapping, shipped: bool = True) -> dict:
    """The library, the YAML of plug-in folders, config.yaml, files and then mappings, later ones laid over earlier ones.

    Args:
        shipped: whether config.yaml is read.
    """
    layers = [*map(_checked, [*([SHIPPED] if shipped else []), *files]), *more]
    named: Mapping = next((layer for layer in reversed(layers) if "plugins" in layer), {})
    families.use(named.get("plugins") or (), place(named, "plugins") or "config")
    return reduce(_laid_over, layers, _library(plugins.folders()))


def _laid_over(settings: dict, layer: Mapping) -> dict:
    """A file over what is below it; a name that it takes away must be there, or be implied by a block of that name."""
    merged = merge(settings, layer)
    for kind, blocks in layer.items():
        for name in blocks if isinstance(blocks, Mapping) else ():
            known = settings.get(kind) or {}
            others = [merged[other] for other in merged if other != kind and kind in IMPLIED]
            if blocks[name] is None and not any(name in found for found in (known, *others) if isinstance(found, dict)):
                where = place(layer, kind, name) or "config"
                raise UserError(f"{where}: {kind}.{name} is null, and there is no such block; {nearest(name, known)}")
    return merged


def of_workflow(workflow: Any, config: Mapping) -> dict:
    """What a run of Snakemake is configured by: the library, config.yaml, the files of --configfile, the values of --config.

    Files are read here, not taken as Snakemake has read them, which keeps the last of two sections of one name. Of a
    module with a `config` of its own, that is what is laid over config.yaml.
    """
    if workflow.modifier.skip_configfile:
        return read_settings([], config)
    settings = workflow.config_settings
    return read_settings(workflow.overwrite_configfiles, settings.config, shipped=not settings.replace_workflow_config)


def _library(folders: Iterable[str]) -> dict:
    """The blocks of all files of the library and of plug-in folders; no two of one name."""
    blocks: dict[str, Placed] = {}
    files = [path for folder in folders for path in sorted(Path(folder).glob("*.yaml"))]
    for path in [*sorted(LIBRARY.rglob("*.yaml")), *files]:
        layer = _checked(path)
        for section in layer:
            known = blocks.setdefault(section, Placed())
            if not isinstance(layer[section], Placed):
                raise UserError(f"{place(layer, section)}: {section}: expected named blocks, each a mapping")
            for name in layer[section]:
                here = place(layer, section, name)
                if name in known:
                    raise UserError(f"{here}: {section}.{name} is a block of {place(known, name)} too; rename one")
                known[name], known.places[name] = layer[section][name], here
    return blocks


def _checked(path: str | Path) -> dict:
    path = Path(path)
    layer = read_yaml(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    check_values(layer, path)
    return layer


def merge(base: Mapping, change: Mapping) -> dict:
    """`change` laid over `base`: mappings merged deeply, everything else replaced."""
    kept = {key: where for key, where in getattr(base, "places", {}).items() if key not in change}
    merged = Placed(base, kept | getattr(change, "places", {}))
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def without_nulls(data: Mapping, levels: int = -1) -> dict:
    """The mapping without keys that are null, in mappings within it too; so many levels of them, or all."""
    kept = {
        key: without_nulls(value, levels - 1) if isinstance(value, Mapping) and levels != 1 else value
        for key, value in data.items()
        if value is not None
    }
    return Placed(kept, getattr(data, "places", {}))


def known_block(kind: str, name: str, known: Iterable[str], gone: Mapping[str, str | None]) -> str:
    """Which block may have been meant by a name, or why there is none of that name."""
    if name in gone:
        where = f" ({gone[name]})" if gone[name] else ""
        return f"as {kind}.{name} is null{where}, so that there is no such block; name another, or take the null away"
    return nearest(name, known)


def section(raw: Mapping, name: str) -> dict[str, dict]:
    """The named blocks of a section; what is null is not there."""
    blocks = raw.get(name) or {}
    if not isinstance(blocks, dict):
        raise UserError(f"config: {name}: expected named blocks, each a mapping")
    for key, block in blocks.items():
        if not isinstance(block, dict | None):
            raise UserError(f"config: {name}.{key}: expected a block, such as {{base: {key}}}, found {block!r}")
        if block and not isinstance(block.get("base"), str | None):
            raise UserError(f"config: {name}.{key}.base: expected the name of a block, found {block['base']!r}")
        if not NAME.fullmatch(key):
            raise UserError(
                f"config: {name}: {key!r} is no name: letters, digits and _ only, as it becomes a file name"
            )
    return Placed({key: block for key, block in blocks.items() if block is not None}, getattr(blocks, "places", {}))


def check_values(raw: Any, source: str | Path = "config") -> None:
    """Refuse keys that are no texts, texts that name no file or block, and more values than a configuration has.

    Args:
        source: the file that is named in the message; of settings that were handed over there is none.
    """
    seen = [0]

    def told(keys: tuple[str, ...], fault: str) -> UserError:
        return UserError(": ".join(filter(None, [str(source), ".".join(keys), fault])))

    def visit(value: Any, keys: tuple[str, ...]) -> None:
        seen[0] += 1
        if seen[0] > MOST_VALUES:
            raise UserError(f"{source}: stands for more than {MOST_VALUES:,} values; write out what is meant")
        if isinstance(value, str):
            if "\0" in value:
                raise told(keys, "a NUL character is in no name of a file or block; take it out")
        elif isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str):
                    raise told(keys, f"the key {key!r} is no text, as YAML reads it; put it in quotes")
                inside = (*keys, key)
                visit(key, inside)
                visit(item, inside)
        elif isinstance(value, Sequence):
            for number, item in enumerate(value):
                visit(item, (*keys, str(number)))

    visit(raw, ())
