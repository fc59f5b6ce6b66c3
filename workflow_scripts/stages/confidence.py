"""Train a segmenter with the noise-aware loss once more to see, at some steps, how sure it is of each label (BANA, Fig. 5)."""

import numpy as np
import torch
from torch.nn.functional import interpolate

from workflow_scripts import segmentation
from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.checkpoints.weights import load_initial
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.samples.cosine_samples import CosineSamples
from workflow_scripts.data.samples.label_maps import read_label_maps
from workflow_scripts.data.transforms import normalise
from workflow_scripts.look import pictures
from workflow_scripts.run.command import Job, run
from workflow_scripts.stages.montage import representative
from workflow_scripts.store.artifacts import Reader, write
from workflow_scripts.training.device import deterministic, device
from workflow_scripts.training.feed import batches
from workflow_scripts.training.step import Step

IMAGES, COLUMNS = 4, 5


def shown_steps(iterations: int) -> list[int]:
    """The steps after which confidence is shown: none, all, and three between, as in the paper."""
    return sorted({round(step) for step in np.linspace(0, iterations, COLUMNS)})


@torch.no_grad()
def confidence(network: torch.nn.Module, image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """How sure the network is of a label map, uint8 (H, W): float32 (H, W) in [0, 1], 0 where the label is ignored."""
    training, options = network.training, network.options
    network.eval()
    cosines = network.cosines(normalise(image)[None].to(next(network.parameters()).device))
    network.train(training)
    cosines = interpolate(cosines, size=label.shape, mode="bilinear", align_corners=options.align_corners)
    given = torch.from_numpy(np.where(label == pictures.VOID, 0, label)).long()[None].to(cosines.device)
    sure = plugin("methods", "bana").confidence(cosines, given, options.loss.gamma)[0].cpu().numpy()
    return np.where(label == pictures.VOID, 0, sure)


def main(job: Job) -> None:
    settings, block = job.settings, job.settings.block
    deterministic(settings.seed, settings.threads, job.workers)
    index = read_index(job.inputs.index, settings.dataset)
    images, masks = Images(index, job.inputs.images), Reader(job.inputs.masks, "mask", settings.dataset)
    truth = Reader(job.inputs.truth, "truth", settings.dataset) if job.inputs.truth else None
    network = segmentation.build(block, len(index.classes) + 1)
    load_initial(network.backbone, block.initial, job.inputs.initial)
    given = (index, images, settings.split, block.recipe, settings.seed, job.inputs.masks)
    samples = CosineSamples(*given, network.label_maps)
    step = Step(network, block.recipe, device())
    chosen, steps = representative(index, settings.shown, IMAGES), shown_steps(block.recipe.iterations)
    found: dict[str, list[pictures.Cell]] = {identifier: [] for identifier in chosen}

    def show() -> None:
        for identifier, cells in found.items():
            image = images.read(identifier)
            label = read_label_maps(masks, identifier, image.shape[:2])["label"]
            sure = confidence(network, image, label)
            cells.append(pictures.Cell(pictures.heat_map(image, sure), f"{sure.min():.2f} to {sure.max():.2f}"))

    show()
    with batches(samples, block.recipe, settings.seed, device(), workers=job.workers) as loaded:
        for done, batch in progress(enumerate(loaded, 1), block.recipe.iterations, "confidence"):
            step(batch)
            if done in steps:
                show()
    rows = []
    for identifier, cells in found.items():
        image, names = images.read(identifier), [index.classes[label] for label in index.classes_of(identifier)]
        maps = read_label_maps(masks, identifier, image.shape[:2], network.label_maps)
        first, second = maps["label"], maps["label_retrieved"]
        labels = [first, np.where(first == second, first, np.uint8(pictures.VOID))]
        labels += [truth.read(identifier)["label"]] if truth else []
        shown = [pictures.label_cell(image, label, index.classes) for label in labels]
        rows.append(pictures.Row([identifier, *names], [pictures.Cell(pictures.shown(image)), *shown, *cells]))
    columns = ["image", "label by the CRF", "where both agree", *(["truth"] if truth else [])]
    columns += [f"confidence\nstep {number}" for number in steps]
    heading = (
        "confidence: of the label by the CRF, from dark (0) to light (1); it weighs the loss where the maps differ"
    )
    title = f"{settings.system} on {settings.dataset}, seed {settings.seed}"
    picture = pictures.montage(title, [pictures.Block(heading, columns, rows)], index.classes)
    write(job.outputs.picture, pictures.png(picture))


if __name__ == "__main__":
    run(main, inputs=("index", "images", "masks", "truth", "initial"), outputs=("picture",))
