"""Train a classifier of method `seenet` once more to see, at some steps, what it finds, erases, and finds then."""

import numpy as np
import torch

from workflow_scripts import methods
from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.checkpoints.weights import load_initial
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.samples.classification_samples import ClassificationSamples
from workflow_scripts.data.transforms import normalise
from workflow_scripts.look import pictures
from workflow_scripts.run.command import Job, run
from workflow_scripts.stages.montage import representative
from workflow_scripts.store.artifacts import write
from workflow_scripts.training.device import deterministic, device
from workflow_scripts.training.feed import batches
from workflow_scripts.training.step import Step

COLUMNS = 5  # steps that are shown, at equal ratios
IMAGES = 4


def shown_steps(iterations: int) -> list[int]:
    """The steps after which maps are shown, from a fiftieth of the training to its end."""
    return sorted({max(1, round(step)) for step in np.geomspace(iterations / 50, iterations, COLUMNS)})


@torch.no_grad()
def branches(network: torch.nn.Module, image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Attention of both branches, (2, h, w) in [0, 1], and the zone that is erased before the second, (h, w) bool."""
    training = network.training
    network.eval()
    where = next(network.parameters()).device
    given = torch.from_numpy(labels).float()[None].to(where)
    maps, _ = network.maps(normalise(image)[None].to(where), given)
    seenet = plugin("methods", "seenet")
    attention = seenet.object_attention(maps, given.expand(2, -1))[:, 0].cpu().numpy()
    network.train(training)
    return attention, attention[0] > network.options.high


def main(job: Job) -> None:
    settings, block = job.settings, job.settings.block
    deterministic(settings.seed, settings.threads, job.workers)
    index = read_index(job.inputs.index, settings.dataset)
    images = Images(index, job.inputs.images)
    network = methods.build(block, index.classes)
    load_initial(network.backbone, block.initial, job.inputs.initial)
    samples = ClassificationSamples(index, images, settings.split, block.recipe, settings.seed)
    step = Step(network, block.recipe, device())
    chosen, steps = representative(index, settings.shown, IMAGES), shown_steps(block.recipe.iterations)
    found: dict[tuple[str, str], list[pictures.Cell]] = {}
    with batches(samples, block.recipe, settings.seed, device(), workers=job.workers) as loaded:
        for done, batch in progress(enumerate(loaded, 1), block.recipe.iterations, "erasing"):
            step(batch)
            if done not in steps:
                continue
            for identifier in chosen:
                image = images.read(identifier)
                attention, erased = branches(network, image, index.labels[index.row[identifier]])
                for branch, values in zip(("first branch", "second branch"), attention, strict=True):
                    picture = pictures.outlined(pictures.heat_map(image, values), erased)
                    found.setdefault((identifier, branch), []).append(pictures.Cell(picture))
    rows = []
    for (identifier, branch), cells in found.items():
        names = [index.classes[label] for label in index.classes_of(identifier)]
        shown = pictures.Cell(pictures.shown(images.read(identifier)))
        rows.append(pictures.Row([identifier, *names, branch], [shown, *cells]))
    heading = "outlined: what the first branch is sure of, which is erased before the second"
    columns = ["image", *(f"step {number}" for number in steps)]
    title = f"{settings.classifier} on {settings.dataset}, seed {settings.seed}"
    picture = pictures.montage(title, [pictures.Block(heading, columns, rows)], index.classes)
    write(job.outputs.picture, pictures.png(picture))


if __name__ == "__main__":
    run(main, inputs=("index", "images", "initial"), outputs=("picture",))
