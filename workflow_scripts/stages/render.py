"""Render the synthetic data set: images with labels and boxes, and, in a file of its own, the truth."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.run.command import Job, plain, run
from workflow_scripts.run.parallel import ordered_map
from workflow_scripts.store.artifacts import create


def _synthetic():
    return plugin("data.synthetic", "synthetic")


def _render(synthetic, item):
    return synthetic.render_scene(*item)


def main(job: Job) -> None:
    settings = job.settings
    known = _synthetic().CLASSES
    if tuple(settings.classes) != tuple(known):
        raise UserError(
            f"config: datasets.{settings.dataset}.classes: the renderer draws {', '.join(known)}; list these, in order"
        )
    items = [
        (settings.seed, split, number) for split, count in plain(settings.images).items() for number in range(count)
    ]
    about = {"dataset": settings.dataset, "split": "all", "classes": known}
    with create(job.outputs.images, "images", **about) as images, create(job.outputs.truth, "truth", **about) as truth:
        scenes = ordered_map(_synthetic, _render, items, job.workers)
        for (_, split, number), scene in progress(zip(items, scenes, strict=True), len(items), "render"):
            identifier = f"{split}_{number:06d}"
            images.put(identifier, image=scene.image, boxes=scene.boxes, labels=list(scene.labels))
            truth.put(identifier, label=scene.mask, instance=scene.instances, context=scene.context)


if __name__ == "__main__":
    run(main, outputs=("images", "truth"))
