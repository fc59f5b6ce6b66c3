"""Train a network of instance segmentation on the masks of boxes (or, as the reference, on the truth), or take one over."""

from workflow_scripts import instance_segmentation
from workflow_scripts.data.checkpoints.weights import load_initial
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.samples.instance_samples import InstanceSamples
from workflow_scripts.run.command import Job, run
from workflow_scripts.training.device import deterministic
from workflow_scripts.training.imported import take_over
from workflow_scripts.training.loop import train_for


def main(job: Job) -> None:
    settings, block = job.settings, job.settings.block
    if hasattr(block, "trained"):
        network = instance_segmentation.build(block, len(settings.classes) + 1)
        take_over(network, job.inputs.initial or block.trained, job.outputs)
        return
    deterministic(settings.seed, settings.threads, job.workers)
    index = read_index(job.inputs.index, settings.dataset)
    network = instance_segmentation.build(block, len(index.classes) + 1)
    load_initial(network.backbone, block.initial, job.inputs.initial)
    images = Images(index, job.inputs.images)
    samples = InstanceSamples(
        index, images, settings.split, block.recipe, settings.seed, job.inputs.instances, block.frame
    )
    train_for(job, network, samples)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "instances", "initial"), outputs=("weights", "curve"), shared=True)
