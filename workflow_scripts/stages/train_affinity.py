"""Train the network whose features say which neighbouring positions belong to one class, or take trained weights over."""

from workflow_scripts.base.plugins import plugin
from workflow_scripts.data.checkpoints.weights import load_initial
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.refine import affinity_networks
from workflow_scripts.run.command import Job, run
from workflow_scripts.training.device import deterministic
from workflow_scripts.training.imported import take_over
from workflow_scripts.training.loop import train_for


def main(job: Job) -> None:
    settings, block = job.settings, job.settings.block
    if hasattr(block, "trained"):
        take_over(affinity_networks.build(block), job.inputs.initial or block.trained, job.outputs)
        return
    deterministic(settings.seed, settings.threads, job.workers)
    index = read_index(job.inputs.index, settings.dataset)
    network = affinity_networks.build(block)
    load_initial(network.backbone, block.initial, job.inputs.initial)
    images = Images(index, job.inputs.images)
    samples = plugin("data.samples", f"{block.network}_samples").Samples(
        index, images, settings.split, block.recipe, settings.seed, job.inputs.labels, network.backbone.stride
    )
    train_for(job, network, samples)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "labels", "initial"), outputs=("weights", "curve"), shared=True)
