"""What the stages read that start from boxes, or from masks that were made so."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import systems
from workflow_scripts.config.planning.data_jobs import Job
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.planning.saliency_jobs import SaliencyJobs
from workflow_scripts.config.types import box_blocks
from workflow_scripts.config.types.parts import nearest


class BoxJobs(SaliencyJobs):
    """The jobs of masks from boxes; `jobs.StageJobs` adds those that follow."""

    def _box_masks(self, dataset: str, seed: str, block, job: Job) -> Job:
        """Masks from boxes, which are in the index: by a classifier's features, or by the image alone."""
        modules = [f"refine.{block.rule}_mask", "refine.background", "data.boxes"]
        job.inputs["images"] = self._images(dataset)
        if isinstance(block, box_blocks.BoxUnaryMask | box_blocks.BoxAttentionMask):
            source = getattr(block, "dataset", None) or dataset
            job.inputs["classifier"] = output_path(
                "train_classifier", dataset=source, seed=seed, classifier=block.classifier
            )
            classifier = self.config.block(source, "classifiers", block.classifier)
            job.settings["block"] = block.model_dump(exclude={"classifier", "dataset"}, exclude_none=True)
            job.settings["classifier"] = {"backbone": classifier.backbone.model_dump()}
            modules.append(f"networks.{classifier.backbone.name}")
        return Job(job.inputs, job.settings, (*modules, *(["refine.dense_crf"] if getattr(block, "crf", None) else [])))

    def _derived_masks(self, dataset: str, seed: str, mask: str, job: Job) -> Job:
        """Masks made from other masks, and from the truth of a split where the block says so."""
        data, block = self._dataset(dataset), self.config.block(dataset, "masks", mask)
        job.inputs["masks"] = output_path("masks", dataset=dataset, seed=seed, mask=block.mask)
        job.settings["block"] = block.model_dump(exclude={"mask"})
        if isinstance(block, box_blocks.PartlyTrueMask):
            if block.split not in data.splits:
                raise UserError(
                    f"config: masks.{mask}.split: data set {dataset!r} has no split {block.split!r}, "
                    f"{nearest(block.split, data.splits)}"
                )
            job.inputs["truth"] = output_path("truth", dataset=dataset)
        return job

    def filling_rates(self, dataset: str) -> Job:
        data = self.config.dataset(dataset)
        seed = str(data.seeds[0])
        masks = [
            output_path("masks", dataset=dataset, seed=seed, mask=mask) for mask in systems.boxed(self.config, dataset)
        ]
        inputs = {
            "index": self._index_path(dataset),
            "truth": output_path("truth", dataset=dataset),
            "masks": masks,
        }
        return Job(inputs, {"dataset": dataset, "split": data.use.masks}, ("evaluation.filling_rate",))
