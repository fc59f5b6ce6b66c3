"""Train the small saliency network on rendered class-less objects, as PFAN was trained on DUTS."""

from workflow_scripts.command import Job, run
from workflow_scripts.data.salient_samples import SalientSamples
from workflow_scripts.plugins import plugin
from workflow_scripts.training.device import deterministic
from workflow_scripts.training.loop import train


def main(job: Job) -> None:
    block = job.settings.block
    deterministic(block.seed, job.settings.threads)
    network = plugin("networks", "saliency").SaliencyNetwork()
    train(
        network, SalientSamples(block.images, block.seed), block.recipe,
        seed=block.seed, fingerprint=job.fingerprint, output=job.outputs.weights, curve=job.outputs.curve,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, outputs=("weights", "curve"))
