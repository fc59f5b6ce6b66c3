"""Train a saliency network on rendered class-less objects, on a folder such as DUTS, or on the maps of other detectors."""

from workflow_scripts.base.plugins import plugin
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.samples.salient_samples import SalientSamples, Source
from workflow_scripts.run.command import Job, run
from workflow_scripts.training.device import deterministic
from workflow_scripts.training.loop import train


def main(job: Job) -> None:
    block = job.settings.block
    deterministic(block.seed, job.settings.threads, job.workers)
    network = plugin("detectors", "network").build(block.network)
    plugin("data.checkpoints", "saliency_weights").load_initial(network, block.initial, job.inputs.initial)
    train(
        network, SalientSamples(source(job), block.input, block.recipe, block.seed), block.recipe,
        seed=block.seed, fingerprint=job.fingerprint, output=job.outputs.weights, curve=job.outputs.curve,
        save_every=job.save_every,
    )  # fmt: skip


def source(job: Job) -> Source:
    """What the network learns from."""
    settings, block = job.settings, job.settings.block
    if block.detector == "distilled":
        index = read_index(job.inputs.index, settings.dataset)
        images = Images(index, job.inputs.images)
        return plugin("data.samples", "salient_maps").Maps(index, images, settings.split, job.inputs.maps, block.binary)
    if hasattr(block.data, "rendered"):
        return plugin("data.samples", "salient_rendered").Rendered(block.data.rendered, block.seed)
    return plugin("data.samples", "salient_folder").Folder(
        block.data.images, block.data.masks, block.data.orientation == "shown", job.workers
    )


if __name__ == "__main__":
    run(main, inputs=("index", "images", "initial"), lists=("maps",), outputs=("weights", "curve"), shared=True)
