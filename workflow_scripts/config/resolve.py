"""From the raw YAML to typed blocks: inheritance, overrides of a data set, references, and errors of one line."""

import contextlib
import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from workflow_scripts.base.errors import UserError
from workflow_scripts.config import families
from workflow_scripts.config.chain import Chain, is_base
from workflow_scripts.config.families import references, sections, union
from workflow_scripts.config.layers import (
    LIBRARY,
    SHIPPED,
    check_values,
    known_block,
    merge,
    read_settings,
    section,
    without_nulls,
)
from workflow_scripts.config.planning.tunings import Grid, Variant, expand, of_splits
from workflow_scripts.config.typed import check_nulls, typed
from workflow_scripts.config.types import datasets
from workflow_scripts.config.types.archives import Archive
from workflow_scripts.config.types.initial import Download
from workflow_scripts.config.types.parts import nearest
from workflow_scripts.config.yaml_files import Placed, place

SHARED = ""  # in place of a data set: blocks as none overrides them


class Config:
    """The whole configuration, checked; blocks are looked up per data set, overrides applied."""

    def __init__(self, raw: Mapping):
        check_values(raw)
        raw = Placed(raw)
        try:
            with _placed(raw):
                self._read(raw)
        except UserError as error:
            known = (*sections(), "datasets", "archives")
            if not (nulls := [key for key in raw if raw[key] is None and key in known]):
                raise
            raise UserError(
                f"{place(raw, nulls[0]) or 'config'}: {nulls[0]} is null, which takes all its blocks away; take the null "
                f"away, or set single blocks to null; without them: {str(error).removeprefix('config: ')}"
            ) from None

    def _read(self, raw: Any) -> None:
        shards = raw.pop("shards", None)
        self.shards = 1 if shards is None else _shards(shards)
        self.plugins = raw.pop("plugins", None) or ()
        families.use(self.plugins)
        known = [*sections(), "datasets", "archives"]
        for key in raw:
            if key not in known:
                raise UserError(f"config: unknown key {key!r}, {nearest(key, {*known, 'plugins', 'shards'})}")
        self._raw = {key: section(raw, key) for key in known}
        self._gone = {
            key: {name: place(raw, key, name) for name in raw.get(key) or () if name not in self._raw[key]}
            for key in known
        }
        shared = Chain(self._raw, self._gone)
        plain = {name: _without_nulls(shared, name) for name in shared.written("datasets")}
        self.datasets: dict[str, datasets.Dataset] = {
            name: _read(shared, "datasets", name, union("datasets"), data) for name, data in plain.items()
        }
        self.archives: dict[str, Archive] = {
            name: _read(shared, "archives", name, Archive, shared.plain("archives", name))
            for name in shared.written("archives")
        }
        self._overrides = {name: shared.with_nulls("datasets", name).get("overrides") or {} for name in plain}
        self._chains = {SHARED: shared} | {name: self._chain(name) for name in plain}
        self._plain: dict[tuple[str, str], dict[str, dict]] = {}
        self._blocks: dict[tuple[str, str], dict[str, BaseModel]] = {}
        self._unsuited: dict[tuple[str, str, str], UserError] = {}
        for seen_by in self._chains:
            for kind in sections():
                self._plain[seen_by, kind], self._blocks[seen_by, kind] = {}, {}
            self._check_blocks(seen_by)
        self._grids: dict[tuple[str, str], Grid | UserError] = {}
        self._of_splits: dict[tuple[str, str, str], Variant | None] = {}
        for name, dataset in self.datasets.items():
            self._check_dataset(name, dataset)
            self._check_tables(name)

    @classmethod
    def load(cls, *paths: str | Path) -> "Config":
        """The library and config.yaml, and YAML files laid over them, later ones over earlier ones."""
        return cls(read_settings(paths))

    def dataset(self, name: str) -> Any:
        if name not in self.datasets:
            raise UserError(f"config: no data set {name!r}, {self._nearest('datasets', name, self.datasets)}")
        return self.datasets[name]

    def block(self, dataset: str, kind: str, name: str) -> Any:
        """The block of that kind and name as the data set sees it."""
        self.dataset(dataset)
        if found := self._asked(dataset, kind, name):
            return found
        if variant := self.variant(dataset, kind, name):
            return variant.block
        raise UserError(f"config: {kind} has no block {name!r}, {self._hint(dataset, kind, name)}")

    def plain(self, dataset: str, kind: str, name: str) -> dict:
        """The values of a block as they are written, inheritance and overrides applied."""
        self.block(dataset, kind, name)
        return self._plain[dataset, kind][name]

    def chain(self, dataset: str | None = None) -> Chain:
        """All blocks, as a data set sees them or, without one, as no data set overrides them."""
        return self._chains[self.dataset(dataset) and dataset if dataset else SHARED]

    def grid(self, dataset: str, tuning: str) -> Grid:
        """What a tuning becomes for a data set."""
        if (dataset, tuning) not in self._grids:
            try:
                self._grids[dataset, tuning] = expand(self, dataset, tuning)
            except UserError as error:
                self._grids[dataset, tuning] = error
        found = self._grids[dataset, tuning]
        if isinstance(found, UserError):
            raise found
        return found

    def variant(self, dataset: str, kind: str, name: str) -> Variant | None:
        """A block with other numbers, of a tuning, or for other splits, by its name; None for one of the configuration."""
        if "@" not in name:
            return None
        if (key := (dataset, kind, name)) not in self._of_splits:
            self._of_splits[key] = of_splits(self, dataset, kind, name)
        if found := self._of_splits[key]:
            return found
        for tuning in self.names(dataset, "tunings"):
            try:
                found = self.grid(dataset, tuning).variants.get((kind, name))
            except UserError:  # of a tuning that does not suit this data set, told when it is asked for
                continue
            if found:
                return found
        return None

    def lineage(self, dataset: str) -> list[str]:
        """A data set, the one that it is based on, and so on."""
        names = [dataset]
        while base := self._raw["datasets"][names[-1]].get("base"):
            names.append(base)
        return names

    def downloads(self) -> list[Download]:
        """Initial, trained and published weights that blocks name by URL, of all data sets."""
        every = [block for kind in self._blocks.values() for block in kind.values()]
        named = [getattr(block, field, None) for block in every for field in ("initial", "trained", "weights")]
        return [item for item in named if isinstance(item, Download)]

    def archive(self, name: str) -> Archive:
        if name not in self.archives:
            hint = self._nearest("archives", name, self.archives)
            raise UserError(f"config: archives has no block {name!r}, {hint}")
        return self.archives[name]

    def names(self, dataset: str, kind: str) -> list[str]:
        return list(self._blocks[dataset, kind])

    def _chain(self, dataset: str) -> Chain:
        """The blocks as the data set has them, with its overrides."""
        written, shared = dict(self._raw), Chain(self._raw, self._gone)
        for kind, changes in self._overrides[dataset].items():
            where = f"config: datasets.{dataset}.overrides"
            if kind not in sections():
                raise UserError(f"{where}: unknown key {kind!r}, {nearest(kind, sections())}")
            for name in changes or ():
                if not shared.has(kind, name):
                    raise UserError(
                        f"{where}.{kind}: no block {name!r}, {known_block(kind, name, shared.names(kind), self._gone[kind])}"
                    )
            written[kind] = merge(self._raw[kind], {name: change for name, change in (changes or {}).items() if change})
        return Chain(written, self._gone)

    def _find(self, dataset: str, kind: str, name: str) -> BaseModel | None:
        """The block, written or implied; None if there is none."""
        known, chain = self._blocks[dataset, kind], self._chains[dataset]
        if error := self._unsuited.get((dataset, kind, name)):
            raise error
        if name not in known and chain.has(kind, name) and not is_base(name):
            with _placed(chain.blocks):
                plain = chain.plain(kind, name)
            self._plain[dataset, kind][name] = plain
            same = plain == self._plain[SHARED, kind].get(name)  # most data sets leave it as it is
            with self._told(dataset, kind, name):
                block = self._blocks[SHARED, kind].get(name) if same else None
                known[name] = _read(chain, kind, name, sections()[kind], plain, block)
        return known.get(name)

    def _hint(self, dataset: str, kind: str, name: str) -> str:
        if is_base(name):
            return "as it is what blocks share; name one that is built on it"
        return self._nearest(kind, name, self._chains[dataset].names(kind))

    def _nearest(self, kind: str, name: str, known) -> str:
        return known_block(kind, name, known, self._gone[kind])

    def _check_blocks(self, dataset: str) -> None:
        """Type, references and rules of all blocks as a data set sees them.

        Its overrides are meant for what it runs. A block that does not suit them is told when the data set asks for it.
        """
        written = [(kind, name) for kind in sections() for name in self._chains[dataset].written(kind)]
        for kind, name in written:
            with self._suiting(dataset, kind, name):
                self._find(dataset, kind, name)
        for kind, name in written:
            if name in self._blocks[dataset, kind]:
                with self._suiting(dataset, kind, name):
                    self._check_block(dataset, kind, name)

    def _asked(self, dataset: str, kind: str, name: str) -> BaseModel | None:
        """The block, checked with all that it names; None if there is none."""
        known = name in self._blocks[dataset, kind]
        if (found := self._find(dataset, kind, name)) and not known:
            try:
                self._check_block(dataset, kind, name)
            except UserError as error:
                self._keep(dataset, kind, name, error)
                raise
        return found

    def _check_block(self, dataset: str, kind: str, name: str) -> None:
        """What the block names, and that it goes with it."""
        kinds = {kind: self._blocks[dataset, kind] for kind in sections()}
        block = kinds[kind][name]
        with self._told(dataset, kind, name):
            for field, target in references(type(block)).items():
                named = getattr(block, field)
                for reference in named if isinstance(named, tuple) else [named] if named else []:
                    if not self._asked(dataset, target, reference):
                        raise UserError(
                            f"config: {kind}.{name}.{field}: {target} has no block {reference!r}, "
                            f"{self._hint(dataset, target, reference)}"
                        )
            block.check(f"config: {kind}.{name}", kinds)
            source = getattr(block, "dataset", None) if kind == "masks" else None
            if source and source not in self.datasets and source not in self._gone["datasets"]:
                hint = nearest(source, self.datasets)  # one that is null is told when it is asked for
                raise UserError(f"config: masks.{name}.dataset: no data set {source!r}, {hint}")

    @contextlib.contextmanager
    def _told(self, dataset: str, kind: str, name: str) -> Iterator[None]:
        """Errors inside begin with the file and line; of a fault that the base has, too, that of the base is told."""
        chain = self._chains[dataset]
        try:
            block = Placed({name: self._plain[dataset, kind][name]}, {name: chain.place(kind, name)})
            with _placed({kind: block}):
                yield
        except UserError:
            if (base := chain.base(kind, name)) and self._find(dataset, kind, base):
                self._check_block(dataset, kind, base)
            raise

    @contextlib.contextmanager
    def _suiting(self, dataset: str, kind: str, name: str) -> Iterator[None]:
        """An error inside is raised if it is not due to an override of another block, and kept for later if it is."""
        try:
            yield
        except UserError as error:
            if dataset == SHARED or name in (self._overrides[dataset].get(kind) or {}):
                raise
            self._keep(dataset, kind, name, error)

    def _keep(self, dataset: str, kind: str, name: str, error: UserError) -> None:
        """The error of a block, for whoever asks for it again."""
        self._unsuited[dataset, kind, name] = error
        self._blocks[dataset, kind].pop(name, None)

    def _check_tables(self, dataset: str) -> None:
        for name in self.names(dataset, "tables"):
            table: Any = self.block(dataset, "tables", name)
            for key in (*table.systems, *table.splits):
                # Shipped tables may speak of a data set that an overlay takes away.
                if key not in self.datasets and key not in self._gone["datasets"]:
                    raise UserError(f"config: tables.{name}: no data set {key!r}, {nearest(key, self.datasets)}")
            for method, items in table.systems.get(dataset, {}).items():
                for system in (s for item in items for s in (item.values() if isinstance(item, dict) else [item])):
                    if not self._asked(dataset, table.kind, system):
                        raise UserError(
                            f"config: tables.{name}.systems.{dataset}.{method}: no system {system!r}, "
                            f"{self._hint(dataset, table.kind, system)}"
                        )

    def _check_dataset(self, name: str, dataset: Any) -> None:
        where = f"config: datasets.{name}"
        known = dataset.splits
        use = dataset.use
        for field, split in [
            ("train", use.train),
            ("masks", use.masks),
            ("affinity", use.affinity),
            ("thresholds", use.thresholds),
            ("instances", use.instances),
            *(("evaluation", s) for s in use.evaluation),
            *(("predict", s) for s in use.predict),
        ]:
            if split is not None and split not in known:
                raise UserError(f"{where}.use.{field}: no split {split!r}, {nearest(split, known)}")
        for key, split in known.items():
            for field in ("of", "without"):
                other = getattr(split, field)
                if other is not None and other not in known:
                    raise UserError(f"{where}.splits.{key}.{field}: no split {other!r}, {nearest(other, known)}")
        order_splits(known, where)
        for archive in dataset.archives:
            if archive not in self.archives:
                hint = self._nearest("archives", archive, self.archives)
                raise UserError(f"{where}.archives: no archive {archive!r}, {hint}")
        dataset.check(where, {kind: self._blocks[name, kind] for kind in sections()})
        for system in dataset.systems:
            if not self._asked(name, "systems", system):
                hint = self._hint(name, "systems", system)
                raise UserError(f"{where}.systems: no system {system!r}, {hint}")
            if system in {"classes", "curves", "filling_rates", "stages", "thresholds"}:
                raise UserError(
                    f"{where}.systems: {system!r} is the name of another picture, call the system otherwise"
                )
        for system in dataset.instance_systems:
            if not self._asked(name, "instance_systems", system):
                hint = self._hint(name, "instance_systems", system)
                raise UserError(f"{where}.instance_systems: no system {system!r}, {hint}")
        if not dataset.seeds:
            raise UserError(f"{where}.seeds: empty, name at least one")
        if not set(dataset.segmentation_seeds or ()) <= set(dataset.seeds):
            raise UserError(
                f"{where}.segmentation_seeds: {list(dataset.segmentation_seeds)} are not all among seeds {list(dataset.seeds)}"
            )


@contextlib.contextmanager
def _placed(settings: Mapping) -> Iterator[None]:
    """Errors inside begin with the file and line of the key that they name, where it is known."""
    try:
        yield
    except UserError as error:
        known = re.match(r"config: (?:(?!unknown key)(.+?): )?(?:unknown key '([^']+)')?", str(error))
        keys = [key for key in ((known[1] or "").split(".") + [known[2]] if known else ()) if key]
        where, block = place(settings, *keys), place(settings, *keys[:2])
        if where and block and _shipped(where) and not _shipped(block):
            where = block  # what is ours is right; what is built on it asks for something else
        raise UserError(str(error).replace("config: ", f"{where}: ", 1) if where else str(error)) from None


def _shipped(where: str) -> bool:
    path = Path(where.rpartition(":")[0]).absolute()
    return path == SHIPPED or path.is_relative_to(LIBRARY)


def _read(chain: Chain, kind: str, name: str, type_: Any, plain: dict, known: Any = None) -> Any:
    """A block as its type, which it may be known as; what is missing is told by what is null, where that is why."""
    where = f"{kind}.{name}"
    try:
        value = known or typed(type_, plain, where)
    except UserError as error:
        raise UserError(_explained(chain, kind, name, type_, plain, str(error)) or str(error)) from None
    check_nulls(chain.with_nulls(kind, name), value, where, families.keys(type_))
    return value


def _explained(chain: Chain, kind: str, name: str, type_: Any, plain: Mapping, told: str) -> str | None:
    """Why a block lacks a key, or has one that its class does not know, where that is not for want of care in the block itself."""
    where, own, base = f"{kind}.{name}", chain.blocks[kind].get(name) or {}, chain.base(kind, name)
    tag, classes = families.classes(type_)
    if key := re.match(rf"config: {where}\.([^ ]+): missing", told):
        if null := chain.null(kind, name, key[1].split(".")):
            return f"{null[1] or 'config'}: {where}.{key[1]}: missing, as {null[0]} is null; give it a value"
        if key[1] == tag and "base" not in own:
            meant = difflib.get_close_matches(name, chain.names(kind), n=2)  # the name itself is one
            hint = f" (did you mean {meant[-1]}?)" if meant[1:] else ""
            return f"config: {where}: no such block{hint}; a new one needs `{tag}` or `base`"
    unknown = re.match(rf"config: {where}: unknown key '([^']+)'", told)
    if unknown and unknown[1] not in own and base and plain.get(tag) in classes:
        others = [key for key in plain if key not in classes[plain[tag]].model_fields and key not in own]
        giving = (block for block in chain.lineage(kind, name) if others[0] in chain.blocks[kind].get(block, ()))
        first = next(giving, base)
        line = place(chain.blocks[kind].get(first), others[0])
        given = f"{kind}.{first}{f' ({line})' if line else ''}"
        return (
            f"config: {where}: {tag} {plain[tag]} has no {', '.join(others)}, which {given} gives; set to null what it does "
            "not have, or take another base"
        )
    return None


def order_splits(splits: Mapping[str, datasets.Split], where: str) -> list[str]:
    """Names of the splits, each after those it is made from, whatever the order of keys."""
    done: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise UserError(f"{where}.splits: cycle {' -> '.join([*path, name])}; name a split with ids of its own")
        if name in done:
            return
        for other in (splits[name].of, splits[name].without):
            if other is not None:
                visit(other, (*path, name))
        done.append(name)

    for name in sorted(splits):
        visit(name, ())
    return done


def _without_nulls(chain: Chain, name: str) -> dict:
    """Of a data set: what is null in an override takes a key of the block away, and so goes with it."""
    data = chain.plain("datasets", name)
    overrides = chain.with_nulls("datasets", name).get("overrides")
    return merge(data, {"overrides": without_nulls(overrides, levels=2)}) if isinstance(overrides, Mapping) else data


def _shards(value) -> int:
    """Of how many jobs a stage that goes through the images is made up; the command line gives text."""
    if isinstance(value, int | str) and str(value).isdecimal() and int(value) >= 1 and not isinstance(value, bool):
        return int(value)
    raise UserError(f"config: shards: {value!r}, expected a number of jobs, 1 or more")
