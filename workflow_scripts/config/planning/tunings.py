"""Tunings: a grid over numbers of blocks becomes variants of these blocks, which go the ordinary way through the DAG.

A point of the grid is a chain of blocks: the one whose number is varied and all that is made from it, up to the mask
or prediction that is scored. A number of a rule, a CRF or a walk costs a job on the split's few images, from maps that
are there; one of a recipe or a loss trains a network. Both are found again in a second run, run side by side, and
become stale one by one, which one job for the whole grid could not offer.

A variant is named after its block, the splits that it is made for and what differs from the configuration,
`masks/eps_crf@thresholds+crf.bilateral.0=40`, so that no name of a user's block is taken and equal points of two
tunings are one artifact. What a point leaves as it is configured is not made again.
"""

import copy
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.families import references, sections
from workflow_scripts.config.typed import typed
from workflow_scripts.config.types import datasets
from workflow_scripts.config.types.initial import FromClassifier
from workflow_scripts.config.types.mask_blocks import HeldOutThreshold
from workflow_scripts.config.types.parts import NAME, nearest

# Kinds whose artifacts are made for named splits.
OF_SPLITS = ("cams", "masks", "predictions")
LONGEST = 200  # characters of a variant's name; file systems take 255 with what is appended


@dataclass(frozen=True)
class Variant:
    """A block with other numbers, and the splits that it is made for (none where its kind has none)."""

    block: BaseModel
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """One point of a grid: the values, whether they are those configured, and the score's rule and wildcards but the seed."""

    values: tuple
    configured: bool
    stage: str
    names: dict[str, str]


@dataclass(frozen=True)
class Grid:
    """What a tuning becomes for a data set."""

    split: str
    seeds: tuple[int, ...]
    points: tuple[Point, ...]
    variants: dict[tuple[str, str], Variant]


def expand(config, dataset: str, name: str) -> Grid:
    """The points of a tuning and the variants behind them.

    Args:
        config: a `resolve.Config`.
        dataset: name of a data set.
        name: name of a tuning.

    Raises:
        UserError: a key that is not behind what is scored, a value that its block refuses, a split that does not serve.
    """
    where, data = f"config: tunings.{name}", config.dataset(dataset)
    tuning = config.block(dataset, "tunings", name)
    split = _split(data, dataset, tuning, where)
    ends = [("masks", tuning.mask)]
    if tuning.prediction:
        ends += [("segmenters", tuning.segmenter), ("predictions", tuning.prediction)]
    allowed = {f"{kind}.{block}" for end in ends for kind, block in behind(config, dataset, *end)}
    targets = {key: _target(key, allowed, where) for key in tuning.vary}
    seeds = data.segmentation_seeds or data.seeds if tuning.prediction else data.seeds
    points: dict[tuple, Point] = {}
    variants: dict[tuple[str, str], Variant] = {}
    for values in itertools.product(*tuning.vary.values()):
        chain = _Chain(config, dataset, where, variants, seeds, dict(zip(targets.values(), values, strict=True)))
        if tuning.prediction:
            mask, differs = chain.name("masks", tuning.mask, {data.use.train}, supervises=True)
            segmenter, more = chain.name("segmenters", tuning.segmenter)
            prediction, last = chain.name("predictions", tuning.prediction, {split})
            stage, names = "score_predictions", {"mask": mask, "segmenter": segmenter, "prediction": prediction}
            differs = differs | more | last
        else:
            mask, differs = chain.name("masks", tuning.mask, {split})
            stage, names = "score_masks", {"mask": mask}
        point = Point(chain.values(), not differs, stage, names)
        if tuple(names.values()) in points:
            raise UserError(f"{where}.vary: {_shown(tuning.vary, values)} is listed twice")
        points[tuple(names.values())] = point
    return Grid(split, seeds, tuple(points.values()), variants)


def of_splits(config, dataset: str, kind: str, name: str) -> Variant | None:
    """The variant that is a block as configured, for the splits in its name: `bana@val`; None if it names no such splits."""
    block, _, named = name.partition("@")
    splits, data = set(named.split("+")), config.dataset(dataset)
    if kind not in OF_SPLITS or block not in config.names(dataset, kind) or not splits <= data.splits.keys():
        return None
    variants: dict[tuple[str, str], Variant] = {}
    _Chain(config, dataset, f"config: {kind}.{name}", variants, data.seeds, {}).name(kind, block, splits)
    return variants.get((kind, name))


def _split(data: datasets.Dataset, dataset: str, tuning, where: str) -> str:
    """The split to score on: it has truth, and no result is reported on it."""
    split = tuning.split or data.use.thresholds
    if split is None:
        raise UserError(
            f"{where}: data set {dataset!r} has no split to choose on; name one in split, or in use.thresholds"
        )
    if split not in data.splits:
        raise UserError(f"{where}.split: data set {dataset!r} has no split {split!r}, {nearest(split, data.splits)}")
    if not data.has_truth():
        raise UserError(f"{where}: data set {dataset!r} has no truth masks, so no number can be chosen on it")
    for scored in dict.fromkeys([data.use.masks, *data.use.evaluation]):
        inside = split in _within(data, scored) or scored in _within(data, split)
        if inside and not tuning.allow_scored:
            raise UserError(
                f"{where}.split: {split!r} of data set {dataset!r} shares images with {scored!r}, on which results are "
                "reported; name a held-out split, or set allow_scored: true"
            )
    return split


def _within(data: datasets.Dataset, split: str | None) -> list[str]:
    """The split and those that it is a part of; lists of ids are compared when their images are known."""
    found = []
    while split is not None:
        found.append(split)
        split = data.splits[split].of
    return found


def _references(kind: str, block: BaseModel) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Where a block names another one: the keys down to it, its kind and its name."""
    for field, target in references(type(block)).items():
        named = getattr(block, field, None)
        if isinstance(named, tuple):
            yield from (((field, str(number)), target, item) for number, item in enumerate(named))
        elif named:
            yield (field,), target, named
    if isinstance(initial := getattr(block, "initial", None), FromClassifier):
        yield ("initial", "classifier"), "classifiers", initial.classifier


def behind(config, dataset: str, kind: str, name: str) -> Iterator[tuple[str, str]]:
    """The block and all that it is made from."""
    yield kind, name
    for _, target, other in _references(kind, config.block(dataset, kind, name)):
        yield from behind(config, dataset, target, other)


def _target(key: str, allowed: set[str], where: str) -> tuple[str, str, tuple[str, ...]]:
    """Kind, block and path of a varied key."""
    kind, _, rest = key.partition(".")
    name, _, path = rest.partition(".")
    if f"{kind}.{name}" not in allowed:
        raise UserError(
            f"{where}.vary: {key!r}: what is scored is not made from it, {nearest(f'{kind}.{name}', allowed)}"
        )
    if not path:
        raise UserError(f"{where}.vary: {key!r}: names a block, add the key of a number of it")
    return kind, name, tuple(path.split("."))


class _Chain:
    """The blocks of one point, each made once; new ones join `variants`."""

    def __init__(self, config, dataset: str, where: str, variants: dict, seeds: tuple, changes: Mapping[tuple, Any]):
        self.config, self.dataset, self.where, self.variants, self.seeds = config, dataset, where, variants, seeds
        self.data = config.dataset(dataset)
        # By kind, block and path, in the order of the grid: the value as its type reads it, and whether it differs.
        self.changes = {target: self._typed_value(target, value) for target, value in changes.items()}

    def values(self) -> tuple:
        return tuple(value for value, _ in self.changes.values())

    def name(
        self, kind: str, name: str, splits: set[str] | None = None, supervises: bool = False
    ) -> tuple[str, frozenset[int]]:
        """Name of the block for these splits at this point, and which of the grid's keys differ behind it."""
        block, splits = self.config.block(self.dataset, kind, name), splits or set()
        differs: set[int] = set()
        plain = copy.deepcopy(self.config.plain(self.dataset, kind, name))
        for number, ((*target, path), (value, changed)) in enumerate(self.changes.items()):
            if target == [kind, name] and changed:
                _put(plain, path, value, "")
                differs.add(number)
        new = _checked(kind, name, plain, self.where) if differs else block
        for keys, parent, other in _references(kind, block):
            named, inherited = self.name(parent, other, self._splits_of_parent(kind, block, parent, splits))
            new = _naming(new, keys, named) if named != other else new
            differs |= inherited
        if not differs and splits <= self._ordinary(kind, supervises):
            return name, frozenset()
        changes = list(self.changes.items())
        labels = sorted(_label(changes[number][0], changes[number][1][0], kind, name) for number in differs)
        variant = f"{name}@{'+'.join([*sorted(splits), *labels])}"
        if len(variant) > LONGEST:
            raise UserError(
                f"{self.where}.vary: {variant!r} is too long for the name of a file; vary fewer numbers at once"
            )
        self.variants[kind, variant] = Variant(new, tuple(sorted(splits)))
        return variant, frozenset(differs)

    def _ordinary(self, kind: str, supervises: bool) -> set[str]:
        """Splits for which the block as configured is made anyway; a mask that is scored is not scored on others."""
        use = self.data.use
        if kind == "cams":
            trains = {use.train} if set(self.seeds) <= set(self.data.segmentation_seeds or self.data.seeds) else set()
            return {use.masks, use.affinity or use.train, use.thresholds, *trains} - {None}
        return {use.train} if kind == "masks" and supervises else set()

    def _splits_of_parent(self, kind: str, block: BaseModel, target: str, splits: set[str]) -> set[str]:
        if target not in OF_SPLITS:
            return set()
        if kind == "affinities":
            return {self.data.use.affinity or self.data.use.train}
        held_out = isinstance(getattr(block, "threshold", None), HeldOutThreshold)
        return splits | ({self.data.use.thresholds} - {None} if held_out else set())

    def _typed_value(self, target: tuple[str, str, tuple[str, ...]], value) -> tuple[Any, bool]:
        kind, name, path = target
        plain = copy.deepcopy(self.config.plain(self.dataset, kind, name))
        _put(plain, path, value, f"{self.where}.vary: {kind}.{name}")
        found = _get(_checked(kind, name, plain, self.where), path)
        return found, found != _get(self.config.block(self.dataset, kind, name), path)


def _checked(kind: str, name: str, plain: dict, where: str) -> BaseModel:
    return typed(sections()[kind], plain, f"{where.removeprefix('config: ')}.vary: {kind}.{name}")


def _naming(block: Any, path: Sequence[str], name: str) -> Any:
    """The block with a variant named in the place of a block, which the types allow no user."""
    first, *rest = path
    if isinstance(block, tuple):
        return tuple(name if number == int(first) else item for number, item in enumerate(block))
    return block.model_copy(update={first: _naming(getattr(block, first), rest, name) if rest else name})


def _put(plain, path: tuple[str, ...], value, where: str) -> None:
    """Set a value of nested mappings and lists."""
    *above, last = path
    for key in above:
        plain = plain[_key(plain, key, where)]
    plain[last if isinstance(plain, dict) else _key(plain, last, where)] = value


def _key(plain, key: str, where: str) -> str | int:
    """The key, if what is set exists above it; whether a block has its last key is told by the block's type."""
    if isinstance(plain, dict) and isinstance(plain.get(key), dict | list):
        return key
    if isinstance(plain, list) and key.isdigit() and int(key) < len(plain):
        return int(key)
    known = [name for name, value in plain.items() if isinstance(value, dict | list)] if isinstance(plain, dict) else []
    known = list(map(str, range(len(plain)))) if isinstance(plain, list) else known
    raise UserError(f"{where}: no part {key!r}" + (f", {nearest(key, known)}" if known else "; it has no parts"))


def _get(block, path: tuple[str, ...]):
    for key in path:
        block = block[int(key)] if isinstance(block, tuple) else getattr(block, key, None)
    return block


def _label(target: tuple, value, kind: str, name: str) -> str:
    """`key=value` as a part of a file name; the block is left out of the key where it is the one named."""
    changed_kind, changed_name, path = target
    keys = path if (changed_kind, changed_name) == (kind, name) else (changed_kind, changed_name, *path)
    return f"{'.'.join(keys)}={written(value)}"


def written(value) -> str:
    """A value as in a file name and in the table: 1 for 1.0, lists with commas, null for what is taken away."""
    if isinstance(value, tuple):
        return ",".join(map(written, value))
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value).removesuffix(".0")
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    raise UserError(f"config: tunings vary numbers and names, found {value!r}")


def _shown(vary: Mapping[str, tuple], values: tuple) -> str:
    return ", ".join(f"{key} = {value!r}" for key, value in zip(vary, values, strict=True))
