"""Train the image classifier whose features give the class activation maps, or take trained weights over."""

from workflow_scripts import methods
from workflow_scripts.base.plugins import plugin
from workflow_scripts.data.checkpoints.weights import load_initial
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.samples.classification_samples import ClassificationSamples
from workflow_scripts.run.command import Job, run
from workflow_scripts.training.device import deterministic
from workflow_scripts.training.imported import take_over
from workflow_scripts.training.loop import train_for


def main(job: Job) -> None:
    settings, block = job.settings, job.settings.block
    if hasattr(block, "trained"):
        take_over(methods.build(block, settings.classes), job.inputs.initial or block.trained, job.outputs)
        return
    deterministic(settings.seed, settings.threads, job.workers)
    index = read_index(job.inputs.index, settings.dataset)
    network = methods.build(block, index.classes)
    load_initial(network.backbone, block.initial, job.inputs.initial)
    images = Images(index, job.inputs.images)
    drawn_from = index, images, settings.split, block.recipe, settings.seed
    if settings.boxes:
        samples = plugin("data.samples", "box_samples").BoxSamples(*drawn_from)
    elif hasattr(block.recipe, "area"):
        samples = plugin("data.samples", "area_samples").Samples(*drawn_from)
    else:
        samples = ClassificationSamples(*drawn_from, job.inputs.saliency)
    train_for(job, network, samples)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "saliency", "initial"), outputs=("weights", "curve"), shared=True)
