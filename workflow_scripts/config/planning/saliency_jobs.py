"""What the stages read that make saliency maps: the training of a detector, and the maps of any."""

from pathlib import Path

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import sources
from workflow_scripts.config.planning.data_jobs import DataJobs, Job
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.types import saliency_blocks

LEARNING = {"initial", "seed", "recipe", "data", "maps", "binary"}  # what a trained network's maps do not depend on


class SaliencyJobs(DataJobs):
    """The jobs of saliency; `jobs.StageJobs` adds those that follow."""

    def train_saliency(self, dataset: str, saliency: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "saliency", saliency)
        if not isinstance(block, saliency_blocks.LearntSaliency):
            raise UserError(f"config: saliency.{saliency}: detector {block.detector!r} is not trained")
        inputs: dict = {
            "index": [],
            "images": [],
            "maps": [],
            "initial": self._initial_path(dataset, "", block.initial),
        }
        settings = {"block": block.model_dump(exclude={"crf", "maps"}), "threads": data.torch_threads}
        settings["initial_digest"] = self._initial(dataset, block.initial)
        modules = [*_modules(block), "data.checkpoints.saliency_weights"]
        if isinstance(block, saliency_blocks.DistilledSaliency):
            inputs |= {"index": self._index_path(dataset), "images": self._images(dataset)}
            inputs["maps"] = [output_path("saliency", dataset=dataset, saliency=name) for name in block.maps]
            settings |= {"dataset": dataset, "split": data.use.train}
            modules.append("data.samples.salient_maps")
        elif isinstance(block.data, saliency_blocks.FolderData):
            settings["sources"] = _folders_digest(dataset, block.data.images, block.data.masks)
            modules.append("data.samples.salient_folder")
        else:
            modules.append("data.samples.salient_rendered")
        return Job(inputs, settings, tuple(modules))

    def saliency(self, dataset: str, saliency: str) -> Job:
        block = self.config.block(dataset, "saliency", saliency)
        inputs: dict = {"index": self._index_path(dataset), "images": self._images(dataset), "weights": []}
        settings: dict = {"dataset": dataset, "block": block.model_dump(exclude=LEARNING)}
        if isinstance(block, saliency_blocks.FolderSaliency):
            settings["sources"] = self._digest(dataset, "saliency", block.path)
            return Job(inputs, settings)
        modules = ["refine.dense_crf"] if block.crf else []
        if isinstance(block, saliency_blocks.LearntSaliency):
            inputs["weights"] = output_path("train_saliency", dataset=dataset, saliency=saliency)
            modules += _modules(block)
        elif isinstance(block, saliency_blocks.PublishedSaliency):
            inputs["weights"] = self._initial_path(dataset, "", block.weights)
            settings["weights_digest"] = self._initial(dataset, block.weights)
            modules += _modules(block)
        else:
            modules.append(f"detectors.{block.detector}")
        if isinstance(block, saliency_blocks.RembgSaliency) and block.models:
            settings["weights_digest"] = self._initial(dataset, f"{block.models}/{block.model}.onnx")
        return Job(inputs, settings, tuple(modules))


def _modules(block: saliency_blocks.LearntSaliency | saliency_blocks.PublishedSaliency) -> list[str]:
    """The module of a saliency network, and that of its backbone if it names one."""
    modules = ["detectors.network", f"networks.saliency_{block.network.name}"]
    if isinstance(block.network, saliency_blocks.PyramidNetwork):
        modules.append(f"networks.{block.network.backbone.name}")
    return modules


def _folders_digest(dataset: str, *folders: str) -> str:
    """Digest of all files in folders."""
    files = [str(path) for folder in folders for path in sorted(Path(folder).glob("*")) if path.is_file()]
    return sources.digest_of(dataset, files)
