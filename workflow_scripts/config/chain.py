"""Blocks over their bases, and along the chain of one name: classifier, cam, mask, system or instances.

Three rules spare all that would only re-wire. A block that does not say what it is made of is made of the block of its
own name. A cam or mask without a `base` has the base of what it is made of, where its own section has one of that name;
any block without one has the block `base` of its section, if there is one; maps of a folder have `base_folder`. A block
that would say nothing more need not be written: it is there when it is asked for.

`base`, and names that begin with `base_`, are what blocks share: they are no blocks themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.families import references, sections
from workflow_scripts.config.layers import IMPLIED, known_block, merge, without_nulls
from workflow_scripts.config.yaml_files import Placed, place

# Of a section: the keys that say what its blocks are made of, and the section that each names a block of.
MADE_OF = {
    "cams": {"classifier": "classifiers"},
    "affinities": {"cam": "cams"},
    "masks": {"cam": "cams", "classifier": "classifiers"},
    "systems": {"mask": "masks"},
    "instances": {"mask": "masks"},
    "instance_systems": {"instances": "instances"},
}
# Sections whose blocks have the base of what they are made of. Those that end a chain have not: the networks and published
# figures of one system are not another's.
FOLLOWING = ("cams", "masks")


def is_base(name: str) -> bool:
    """Whether a name is of what blocks share, and so of no block."""
    return name == "base" or name.startswith("base_")


class Chain:
    """The blocks of all sections, as one data set sees them."""

    def __init__(self, written: Mapping[str, Mapping[str, Mapping]], gone: Mapping[str, Mapping[str, str | None]]):
        """
        Args:
            written: blocks by section and name, as they are written.
            gone: of each section, names of blocks that are null, and their file and line.
        """
        self.blocks, self._gone = written, gone
        self._known: dict[tuple[str, str], bool] = {}
        self._found: dict[tuple[str, str], dict] = {}

    @property
    def sections(self) -> list[str]:
        """All sections."""
        return list(self.blocks)

    def place(self, section: str, name: str) -> str | None:
        """File and line of a block; None of one that is not written, or not in a file."""
        return place(self.blocks[section], name)

    def has(self, section: str, name: str) -> bool:
        """Whether there is such a block, written or not."""
        if name in self.blocks[section]:
            return True
        if section not in IMPLIED or is_base(name) or name in self._gone[section]:
            return False
        if (section, name) not in self._known:
            self._known[section, name] = self.has(made_of(section), name) and (
                section not in FOLLOWING or self._implied_base(section, name) is not None
            )
        return self._known[section, name]

    def written(self, section: str) -> list[str]:
        """Names of the blocks that are written."""
        return [name for name in self.blocks[section] if not is_base(name)]

    def names(self, section: str) -> list[str]:
        """Names of all blocks that there are, written or not."""
        implied = self.names(made_of(section)) if section in MADE_OF else []
        return list(dict.fromkeys([*self.written(section), *(name for name in implied if self.has(section, name))]))

    def base(self, section: str, name: str) -> str | None:
        """What the block lies over."""
        written = self.blocks[section].get(name, {})
        return written["base"] if "base" in written else self._implied_base(section, name)

    def _implied_base(self, section: str, name: str) -> str | None:
        if is_base(name):
            return None
        if section == "cams" and "rule" in self.blocks[section].get(name, {}):  # made by no classifier
            return "base_folder" if "base_folder" in self.blocks[section] else None
        if section in FOLLOWING:
            above, other, seen = made_of(section), name, set()
            while other not in seen and self.has(above, other) and (base := self.base(above, other)):
                if self.has(section, base):
                    return base
                seen.add(other)
                other = base
        return "base" if "base" in self.blocks[section] else None

    def lineage(self, section: str, name: str) -> Iterator[str]:
        """A block, the one that it lies over, and so on."""
        found: str | None = name
        while found is not None:
            yield found
            found = self.base(section, found)

    def null(self, section: str, name: str, keys: Sequence[str]) -> tuple[str, str | None] | None:
        """What is null on the way to a key of a block, in it or in its bases, with file and line; None if nothing is."""
        for block in self.lineage(section, name):
            inside: Any = self.blocks[section].get(block)
            for number, key in enumerate(keys):
                if not isinstance(inside, Mapping) or key not in inside:
                    break
                if inside[key] is None:
                    return ".".join([section, block, *keys[: number + 1]]), place(inside, key)
                inside = inside[key]
        return None

    def plain(self, section: str, name: str) -> dict:
        """The block's values, those of its bases under them, without nulls."""
        return without_nulls(self.with_nulls(section, name))

    def with_nulls(self, section: str, name: str, path: tuple[str, ...] = ()) -> dict:
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            raise UserError(f"config: {section}.{name}.base: goes in a circle: {circle}; take one away")
        if (section, name) not in self._found:
            own: dict = Placed(self.blocks[section].get(name, {}))
            has_own_base = own.pop("base", None) is not None
            merged, base = own, self.base(section, name)
            if base is not None:
                if not self.has(section, base):
                    hint = known_block(
                        section, base, {*self.blocks[section], *self.names(section)}, self._gone[section]
                    )
                    raise UserError(f"config: {section}.{name}.base: no block {base!r}, {hint}")
                merged = merge(self.with_nulls(section, base, (*path, name)), own)
            self._found[section, name] = self._made_of(section, name, own, merged, has_own_base)
        return self._found[section, name]

    def _made_of(self, section: str, name: str, own: Mapping, merged: dict, has_own_base: bool) -> dict:
        """With the block of its own name as what it is made of, where neither it nor a base that it names says."""
        files = section == "cams" and "rule" in merged
        known = references(_type(section, merged)) if section in MADE_OF and not files else {}
        for key in MADE_OF.get(section, {}):
            if key in known:
                said = key in own or has_own_base and merged.get(key) is not None or merged.get("cam") and key == "mask"
                if not is_base(name) and not said:
                    merged = merge(merged, {key: name})
                break
        return merged


def made_of(section: str) -> str:
    """The section that blocks of a section are made of, first of all."""
    return next(iter(MADE_OF[section].values()))


def _type(section: str, data: Mapping):
    """The class of a block by the key that tells the classes of its section apart, or all of them."""
    kind = sections()[section]
    for part in get_args(get_args(kind)[0]) if get_args(kind) else ():
        for key in ("rule", "network"):
            if key in part.model_fields and data.get(key) in get_args(part.model_fields[key].annotation):
                return part
    return kind
