"""Count how often masks take a background for the class that it comes with, for every pair of the two, of one mask."""

import json
from collections.abc import Callable

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.index import read_index
from workflow_scripts.evaluation.confusion_ratio import confusion_ratio
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, write


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    masks = Reader(job.inputs.masks, "mask", settings.dataset)
    truth = Reader(job.inputs.truth, "truth", settings.dataset)
    names = list(dict.fromkeys(pair.context for pair in settings.pairs))
    context_of = _context(settings, names, truth)
    totals = {(pair.of, pair.context): np.zeros(3, np.int64) for pair in settings.pairs}
    ids = index.split(settings.split)
    for identifier in progress(ids, len(ids), f"confusion ratios {settings.split}"):
        labels = {index.classes[number] for number in index.classes_of(identifier)}
        shown = [pair for pair in totals if pair[0] in labels]
        context = context_of(identifier) if shown else None
        if context is None:
            continue
        label, target = masks.read(identifier)["label"], truth.read(identifier)["label"]
        for of, name in shown:
            number = list(index.classes).index(of) + 1
            totals[of, name] += [1, *confusion_ratio(label, target, context, number, names.index(name) + 1)]
    result = {
        "split": settings.split,
        "pairs": [
            {"of": of, "context": name} | dict(zip(("images", "mistaken", "found"), counts.tolist(), strict=True))
            for (of, name), counts in totals.items()
        ],
    }
    write(job.outputs.scores, json.dumps(result) + "\n")


def _context(settings, names: list[str], truth: Reader) -> Callable[[str], np.ndarray | None]:
    """Maps of backgrounds by id, uint8 (H, W): k + 1 for `names[k]`, else 0; none of images that nobody labelled."""
    where, known, read = plugin("data.kinds", settings.kind).backgrounds(settings, truth)
    values = [_value(name, known, where) for name in names]

    def context(identifier: str) -> np.ndarray | None:
        found = read(identifier)
        numbered = enumerate(values, start=1)
        return None if found is None else sum((found == value) * np.uint8(number) for number, value in numbered)

    return context


def _value(name: str, known: dict[str, int], where: str) -> int:
    if name not in known:
        raise UserError(f"{where}: no background {name!r}; known: {', '.join(sorted(known))}")
    return known[name]


if __name__ == "__main__":
    run(main, inputs=("index", "masks", "truth"), outputs=("scores",))
