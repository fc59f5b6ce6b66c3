"""Train a segmentation network on pseudo masks (or, as the reference, on the truth), or take trained weights over."""

from workflow_scripts import segmentation
from workflow_scripts.base.plugins import plugin
from workflow_scripts.data.checkpoints.weights import load_initial
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.samples.segmentation_samples import SegmentationSamples
from workflow_scripts.run.command import Job, run
from workflow_scripts.training.device import deterministic
from workflow_scripts.training.imported import take_over
from workflow_scripts.training.loop import train_for


def main(job: Job) -> None:
    settings, block = job.settings, job.settings.block
    if hasattr(block, "trained"):
        take_over(
            segmentation.build(block, len(settings.classes) + 1), job.inputs.initial or block.trained, job.outputs
        )
        return
    deterministic(settings.seed, settings.threads, job.workers)
    index = read_index(job.inputs.index, settings.dataset)
    network = segmentation.build(block, len(index.classes) + 1)
    load_initial(network.backbone, block.initial, job.inputs.initial)
    images = Images(index, job.inputs.images)
    given = (index, images, settings.split, block.recipe, settings.seed, job.inputs.masks)
    if hasattr(block.recipe, "scale"):
        samples = plugin("data.samples", "cosine_samples").CosineSamples(*given, network.label_maps)
    else:
        samples = SegmentationSamples(*given)
    train_for(job, network, samples)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "masks", "initial"), outputs=("weights", "curve"), shared=True)
