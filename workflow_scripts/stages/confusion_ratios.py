"""Count how often masks take a background for the class that it comes with, for every pair of the two, of one mask."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.index import read_index
from workflow_scripts.evaluation.confusion_ratio import confusion_ratio
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, replaced


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
    with replaced(job.outputs.scores) as temporary:
        temporary.write_text(json.dumps(result) + "\n")


def _context(settings, names: list[str], truth: Reader) -> Callable[[str], np.ndarray | None]:
    """Maps of backgrounds by id, k + 1 for `names[k]`; none of images that nobody labelled."""
    if settings.kind == "synthetic":
        known = {
            context.name: number
            for number, context in enumerate(plugin("data.synthetic", "synthetic").CONTEXTS, start=1)
        }
        values = [_value(name, known, "the rendered scenes") for name in names]

        def rendered(identifier: str) -> np.ndarray:
            stored = truth.read(identifier)["context"]
            return sum((stored == value) * np.uint8(number) for number, value in enumerate(values, start=1))

        return rendered
    pascal, folder = plugin("data.kinds", "pascal_context"), Path(settings.context)
    known = pascal.read_names(folder)
    values = [_value(name, known, str(folder / pascal.NAMES)) for name in names]

    def labelled(identifier: str) -> np.ndarray | None:
        path = folder / f"{identifier}.mat"
        return pascal.read_context(path, values) if path.exists() else None

    return labelled


def _value(name: str, known: dict[str, int], where: str) -> int:
    if name not in known:
        raise UserError(f"{where}: no background {name!r}; known: {', '.join(sorted(known))}")
    return known[name]


if __name__ == "__main__":
    run(main, inputs=("index", "masks", "truth"), outputs=("scores",))
