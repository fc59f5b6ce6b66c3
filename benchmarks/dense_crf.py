"""Dense CRF on photographs: present classes and two workers, as the workflow does it, against 21 labels and one worker.

    python benchmarks/dense_crf.py --index results/voc_animals/index.h5 --cams results/voc_animals/seed-0/cams/cam.h5

Both get the same maps of a cam, a constant background and the constants of AffinityNet (80/13/10, 3/3, 10 steps). The
peer has VOC's 21 labels, those of absent classes with probability 0. Runs alternate after a warm-up of both; seconds are
medians and hold the start of the workers. Exits with 1 where the ratio is below 3 or less than 99.9 % of labels are equal.
"""

import argparse
import statistics
import time
from dataclasses import dataclass
from functools import partial

import numpy as np

from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.maps import constant_background, upsampled
from workflow_scripts.refine.dense_crf import dense_crf
from workflow_scripts.run.parallel import ordered_map
from workflow_scripts.store.artifacts import Reader

ALL_LABELS = 21  # of VOC, background included
THRESHOLD = 0.2
FASTER, EQUAL = 3, 0.999  # what is asked of the ratio and of the labels


@dataclass
class State:
    images: Images
    cams: Reader
    every_label: bool


def make_state(index: str, cams: str, dataset: str, every_label: bool) -> State:
    return State(Images(read_index(index, dataset), None), Reader(cams, "cam", dataset), every_label)


def label_of(state: State, identifier: str) -> np.ndarray:
    """uint8 label map, 0 background, class + 1 objects."""
    maps = state.cams.read(identifier)
    scores = upsampled(maps["scores"], *state.images.index.size_of(identifier))
    probabilities, values = constant_background(scores, THRESHOLD), np.concatenate([[0], maps["classes"] + 1])
    if state.every_label:
        everything = np.zeros((ALL_LABELS, *probabilities.shape[1:]), np.float32)
        everything[values] = probabilities
        probabilities, values = everything, np.arange(ALL_LABELS)
    posterior = dense_crf(state.images.read(identifier), probabilities)
    return values[posterior.argmax(axis=0)].astype(np.uint8)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", required=True)
    parser.add_argument("--cams", required=True)
    parser.add_argument("--dataset", default="voc_animals")
    parser.add_argument("--images", type=int, default=16, help="photographs (at least 10)")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    ids = Reader(options.cams, "cam", options.dataset).ids[: options.images]

    def labels(every_label: bool, items: list[str]) -> tuple[float, list[np.ndarray]]:
        state = partial(make_state, options.index, options.cams, options.dataset, every_label)
        begin = time.perf_counter()
        found = list(ordered_map(state, label_of, items, 1 if every_label else 2))
        return time.perf_counter() - begin, found

    seconds: dict[bool, list[float]] = {True: [], False: []}
    for every_label in seconds:
        labels(every_label, ids[:2])
    for _ in range(options.repeats):
        results = {}
        for every_label, times in seconds.items():
            spent, results[every_label] = labels(every_label, ids)
            times.append(spent)
    slow, fast = (statistics.median(seconds[every_label]) for every_label in (True, False))
    pixels = sum(label.size for label in results[True])
    equal = sum(int((a == b).sum()) for a, b in zip(*results.values(), strict=True)) / pixels
    print(
        f"{len(ids)} photographs: {ALL_LABELS} labels, one worker {slow:.2f} s; present classes, two workers {fast:.2f} s"
    )
    print(f"{slow / fast:.1f} times faster, {100 * equal:.3f} % equal labels")
    return int(slow / fast < FASTER or equal < EQUAL)


if __name__ == "__main__":
    raise SystemExit(main())
