"""Print blocks of the settings as they resolve, each value with the file and line that it comes from.

    wsss config eps
    wsss config classifiers.eps masks.eps --dataset voc --configfile mine.yaml
    wsss config datasets.voc

A name stands for all blocks of that name, a section for the list of its blocks. What `base` gives is in it; what the data set
overrides is in it with --dataset. A block that is not written is told to be implied, and by what.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from workflow_scripts.base.errors import UserError
from workflow_scripts.commands.command_line import add_configfile, command_parser, load_config
from workflow_scripts.config.chain import Chain, made_of
from workflow_scripts.config.types.parts import nearest
from workflow_scripts.config.yaml_files import Placed, place


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = command_parser("config", __doc__)
    parser.add_argument("blocks", nargs="+", metavar="BLOCK", help="a name, section.name, or a section")
    parser.add_argument("--dataset", help="as this data set sees them, with its overrides")
    add_configfile(parser)
    given = parser.parse_args(arguments)
    chain = load_config(given.configfile).chain(given.dataset)
    for name in given.blocks:
        print("\n".join(lines(chain, name)))
    return 0


def lines(chain: Chain, asked: str) -> Iterator[str]:
    """What is printed of a name, `section.name` or a section.

    Raises:
        UserError: there is no such block.
    """
    if asked in chain.sections:
        yield f"{asked}:"
        for name in chain.names(asked):
            yield f"  {name}: # {_origin(chain, asked, name)}"
        return
    section, _, name = asked.rpartition(".")
    found = [section] if section else [kind for kind in chain.sections if chain.has(kind, asked)]
    if section and section not in chain.sections:
        raise UserError(f"config: no section {section!r}, {nearest(section, chain.sections)}")
    if not found or not chain.has(found[0], name):
        known = [item for kind in ([section] if section else chain.sections) for item in chain.names(kind)]
        raise UserError(
            f"config: {section or 'no section'} has {'no' if section else 'a'} block {name!r}, {nearest(name, known)}"
        )
    for kind in found:
        yield f"{kind}:"
        yield f"  {name}: # {_origin(chain, kind, name)}"
        yield from _values(chain.plain(kind, name), "    ")


def _origin(chain: Chain, section: str, name: str) -> str:
    written, base = chain.place(section, name), chain.base(section, name)
    origin = written or f"implied by {made_of(section)}.{name}"
    return f"{origin}, over {base}" if base else origin


def _values(data: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_written(key)}:"
            yield from _values(value, f"{indent}  ")
        else:
            yield f"{indent}{_written(key)}: {_written(value)} # {place(data, key) or 'by its name'}"


class _Dumper(yaml.SafeDumper):
    """Knows mappings that know their places."""


_Dumper.add_representer(Placed, yaml.SafeDumper.represent_dict)


def _written(value: Any) -> str:
    """A value in one line of YAML."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("...\n").strip()
