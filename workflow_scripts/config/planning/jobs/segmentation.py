"""Jobs of segmentation networks: training, predictions, and what goes to an evaluation server."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.jobs.classifiers import modules_of, train_network
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.planning.registry import Job, job
from workflow_scripts.config.types import blocks


@job("train_segmenter")
def train_segmenter(plan: Context, dataset: str, seed: str, mask: str, segmenter: str) -> Job:
    data, block = plan.dataset(dataset), plan.block(dataset, "segmenters", segmenter)
    if not block.trained and data.use.train not in plan.mask_splits(dataset, seed, mask):
        raise UserError(
            f"config: datasets.{dataset}: no system trains a segmenter on masks {mask!r} with seed {seed}; "
            "give one of its systems a segmenter and predictions"
        )
    masks = output_path("masks", dataset=dataset, seed=seed, mask=mask)
    return train_network(plan, dataset, seed, block, {"masks": masks})


@job("predictions")
def predictions(plan: Context, dataset: str, seed: str, mask: str, segmenter: str, prediction: str) -> Job:
    block = plan.block(dataset, "predictions", prediction)
    chain = {"dataset": dataset, "seed": seed, "mask": mask, "segmenter": segmenter}
    inputs: dict = {"index": plan.index(dataset), "images": plan.images(dataset)}
    settings: dict = {"dataset": dataset, "splits": plan.prediction_splits(dataset, prediction)}
    if isinstance(block, blocks.CrfPrediction):
        inputs["soft"] = output_path("predictions", **chain, prediction=block.prediction)
        settings["block"] = block.model_dump(exclude={"prediction"})
        return Job(inputs, settings, ("data.maps", "refine.dense_crf"))
    network = plan.block(dataset, "segmenters", segmenter)
    inputs["weights"] = output_path("train_segmenter", **chain)
    settings |= {
        "block": block.model_dump(),
        "segmenter": network.model_dump(exclude={"recipe", "initial", "trained"}),
    }
    modules = ("segmentation.inference", *modules_of(network))
    return Job(inputs, settings, modules)


@job("submission")
def submission(plan: Context, dataset: str, seed: str, mask: str, segmenter: str, prediction: str) -> Job:
    data = plan.dataset(dataset)
    splits = list(data.unlabelled_evaluation())
    if not splits:
        raise UserError(
            f"config: datasets.{dataset}.use.evaluation: no split with labelled: false, so nothing is to be submitted; "
            "add one, as configs/voc_test.yaml does"
        )
    names = {"dataset": dataset, "seed": seed, "mask": mask, "segmenter": segmenter, "prediction": prediction}
    inputs = {"index": plan.index(dataset), "predictions": output_path("predictions", **names)}
    return Job(
        inputs, {"dataset": dataset, "splits": splits, "classes": list(data.classes)}, ("data.readers.voc_masks",)
    )
