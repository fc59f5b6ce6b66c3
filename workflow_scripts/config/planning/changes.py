"""What changed between two settings of a job, by the keys of the settings: `masks.eps.threshold 0.2 -> 0.35`."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.families import members
from workflow_scripts.config.planning.outputs import BLOCKS, maker
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config

MOST = 8  # changes told of one job
LONGEST = 60  # characters of a value
ABSENT = object()
SHARD = re.compile(r"\.\d+-of-\d+(\.json)?$")

# Blocks that a stage is given beside its own, by the key of its settings: the section.
OTHERS = {"classifier": "classifiers", "affinity": "affinities", "segmenter": "segmenters"}
# Digests say that something changed, not what.
DIGESTS = {
    "sources": "files of datasets.{dataset}",
    "initial_digest": "the file of initial weights",
    "weights_digest": "the file of weights",
}


def changes(path: str, old: Mapping, new: Mapping, plan: Plan | None = None) -> list[str]:
    """What differs between the settings that an artifact was made under and those that it has now, for people.

    Args:
        path: of the artifact, which says the block it is of.
        plan: names the blocks and files that others are made from; without it they are named by what they are.
    """
    stage, names = maker(path) or ("", {})
    config = plan.config if plan else None
    found = []
    for keys, before, now in _differences(old, new):
        top, *below = keys
        if top in DIGESTS:
            found.append(DIGESTS[top].format(dataset=names.get("dataset", "")).strip())
        elif top == "made_from":
            found.append(_made_from(path, plan))
        elif place := _place(stage, names, top, config):
            found.append(f"{'.'.join([*place, *below])} {_shown(before)} -> {_shown(now)}")
        else:
            found.append(f"its {' '.join(keys).replace('_', ' ')}")
    found = list(dict.fromkeys(found))
    return found if len(found) <= MOST else [*found[:MOST], f"{len(found) - MOST} more"]


def _differences(old, new, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object, object]]:
    """Keys down to each value that differs, and the two values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key, ABSENT), new.get(key, ABSENT), (*keys, key))
    elif old != new:
        yield keys, old, new


def _made_from(path: str, plan: Plan | None) -> str:
    """Which files an artifact is now made from that it was not, and the reverse; those of the data set without its folder."""
    try:
        before = {*json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))["parents"]}
        stage, names = maker(path) or ("", {})
        inputs = plan.job(stage, names).inputs.values()
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        UserError,
    ):  # no plan, or no sidecar as it is written
        return "which files it is made from"
    before = {parent for parent in before if not SHARD.search(parent)}
    now = {item for value in inputs for item in ([value] if isinstance(value, str) else value)}
    come, gone = (_some(files, f"results/{names.get('dataset')}/") for files in (now - before, before - now))
    if gone:
        return f"made from {come or 'nothing'} instead of {gone}"
    return f"made from {come} too" if come else "which files it is made from"


def _some(files: set[str], folder: str) -> str:
    told = [name.removeprefix(folder) for name in sorted(files)]
    return ", ".join(told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")


def _place(stage: str, names: Mapping[str, str], key: str, config: Config | None) -> list[str]:
    """Where a key of a stage's settings stands in the configuration; nothing for what is concluded from it."""
    kind, wildcard = BLOCKS.get(stage, ("", ""))
    own = names.get(wildcard, "").partition("@")[0]  # without what makes it a variant
    if key == "block":
        return [kind, own]
    if stage == "affinity_labels" and key in {"labels", "network"}:
        return [kind, own, key]
    if key in OTHERS:
        return [OTHERS[key], names.get(key) or _named(config, names.get("dataset", ""), kind, own, key) or key]
    key = "torch_threads" if key == "threads" else key
    of_dataset = any(key in kind.model_fields for kind in members("datasets"))
    if "dataset" in names and of_dataset and (key != "splits" or stage == "index"):  # others are told which to work on
        return ["datasets", names["dataset"], key]
    return []


def _named(config: Config | None, dataset: str, kind: str, name: str, key: str) -> str | None:
    try:
        return getattr(config.block(dataset, kind, name), key, None) if config else None
    except UserError:
        return None


def _shown(value: object) -> str:
    if value is ABSENT or value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
