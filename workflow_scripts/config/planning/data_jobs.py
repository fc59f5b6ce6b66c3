"""What the stages read that make a data set: archives, rendered scenes, index, truth; and initial weights from the network."""

from dataclasses import dataclass, field

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import instance_systems, sources, systems
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.resolve import Config, order_splits
from workflow_scripts.config.types import datasets, mask_blocks
from workflow_scripts.config.types.initial import Download, FromClassifier


@dataclass(frozen=True)
class Job:
    """Inputs by name, settings (plain values) and the modules looked up by name, all of one job."""

    inputs: dict[str, str | list[str]] = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    modules: tuple[str, ...] = ()


class DataJobs:
    """The first jobs of the DAG; `saliency_jobs` and `jobs` add those that follow."""

    def __init__(self, config: Config):
        self.config = config
        self._sources: dict[tuple, str] = {}

    def weights(self, file: str) -> Job:
        for item in self.config.downloads():
            if item.file == file:
                return Job({}, {"url": item.url, "sha256": item.sha256})
        raise UserError(f"config: no block's initial is downloaded to data/weights/{file}")

    def archives(self, archive: str) -> Job:
        block = self.config.archive(archive)
        if block.url is None:
            raise UserError(f"config: archives.{archive}.url: null, as it is not fetched; set its path to a local copy")
        return Job({}, {"archive": archive, "url": block.url, "checksum": block.checksum})

    def unpack(self, archive: str) -> Job:
        block = self.config.archive(archive)
        settings = {"archive": archive} | block.model_dump(include={"path", "checksum", "members", "unpacked"})
        return Job({"archive": [] if block.path else output_path("archives", archive=archive)}, settings)

    def render(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        counts = {name: split.images for name, split in data.splits.items() if split.images}
        if data.limit:
            counts = {name: min(count, data.limit) for name, count in counts.items()}
        settings = {"dataset": dataset, "seed": data.seed, "images": counts, "classes": list(data.classes)}
        return Job({}, settings, ("data.synthetic.synthetic",))

    def index(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        names = order_splits(data.splits, f"datasets.{dataset}")
        settings = {
            "dataset": dataset,
            "kind": data.kind,
            "classes": list(data.classes),
            "splits": {name: data.splits[name].model_dump() for name in names},
            "split_order": names,
            "limit": data.limit,
        }
        modules: tuple[str, ...] = ()
        if isinstance(data, datasets.VocDataset):
            settings |= {"root": data.root, "images": data.images, "annotations": data.annotations, "sbd": data.sbd}
            modules = ("data.kinds.voc",)
        elif isinstance(data, datasets.CocoDataset):
            settings |= {"root": data.root, "unannotated": data.unannotated}
            modules = ("data.kinds.coco",)
        elif isinstance(data, datasets.CsvDataset):
            settings |= {"table": data.table}
            modules = ("data.kinds.csv_table",)
        if isinstance(data, datasets.Photographs):
            settings["orientation"] = data.orientation
        settings["sources"] = self._digest(dataset, "images")
        return Job({"images": self._images(dataset), "archives": self._manifests(dataset)}, settings, modules)

    def truth(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        settings = {"dataset": dataset, "kind": data.kind, "classes": list(data.classes)}
        settings["splits"] = self._truth_splits(dataset)
        inputs: dict = {"index": self._index_path(dataset), "rendered": [], "archives": self._manifests(dataset)}
        modules: tuple[str, ...] = ()
        if isinstance(data, datasets.SyntheticDataset):
            inputs["rendered"] = output_path("render", output="truth", dataset=dataset)
        elif isinstance(data, datasets.VocDataset):
            if data.masks is None:
                raise UserError(
                    f"config: datasets.{dataset}.masks is null: there is no truth to read; drop what is scored"
                )
            settings |= {"root": data.root, "masks": data.masks, "sbd": data.sbd}
            modules = ("data.kinds.voc", *(("data.kinds.sbd",) if data.sbd else ()))
        elif isinstance(data, datasets.CocoDataset):
            settings |= {"root": data.root} | data.model_dump(include={"maps", "unlabelled", "crowd", "overlap"})
            settings["files"] = data.instances_files()
            modules = ("data.kinds.coco_truth",)
        else:
            settings |= {"table": data.table}
            modules = ("data.kinds.csv_table",)
        if isinstance(data, datasets.Masked):
            settings["mask_ids"] = data.mask_ids
        settings["sources"] = self._digest(dataset, "truth")
        return Job(inputs, settings, modules)

    def checks(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        inputs: dict = {"index": self._index_path(dataset), "images": self._images(dataset), "truth": []}
        inputs["findings"] = [output_path("index", output="findings", dataset=dataset)]
        if sources.has_truth(data):
            inputs["truth"] = output_path("truth", dataset=dataset)
            inputs["findings"].append(output_path("truth", output="findings", dataset=dataset))
        settings = {"dataset": dataset, "train": data.use.train, "evaluation": list(data.use.evaluation)}
        return Job(inputs, settings)

    def _truth_splits(self, dataset: str) -> list[str]:
        """Splits that are scored, that thresholds are chosen on, and that something learns from their truth."""
        data = self._dataset(dataset)
        truths = [name for name in self.config.names(dataset, "masks") if self._is_truth(dataset, name)]
        learnt = {
            split for seed in data.seeds for name in truths for split in self._mask_splits(dataset, str(seed), name)
        }
        tuned = {self.config.block(dataset, "tunings", name).split for name in self.config.names(dataset, "tunings")}
        scored = {data.use.masks, *data.scored_evaluation(), data.use.thresholds, *(tuned & data.splits.keys())}
        taken = systems.true_splits(self.config, dataset) | instance_systems.true_splits(self.config, dataset)
        return sorted((scored | learnt | taken) - {None})

    def _mask_splits(self, dataset: str, seed: str, mask: str) -> list[str]:
        """Splits that masks are made for: what is scored, and the training split where a segmenter learns from it.

        Masks that no system names may be for a segmenter, but those of rule `truth`, which ask for truth only where it
        is used.
        """
        if variant := self.config.variant(dataset, "masks", mask):
            return list(variant.splits)
        data = self._dataset(dataset)
        named = [self.config.block(dataset, "systems", system) for system in data.systems]
        users = [
            system for system in named if system.mask and mask in systems.made_from(self.config, dataset, system.mask)
        ]
        segmenters = [self.config.block(dataset, "segmenters", user.segmenter) for user in users if user.segmenter]
        trains = any(not segmenter.trained for segmenter in segmenters)
        trains = trains or not (users or self._is_truth(dataset, mask))
        boxed = instance_systems.mask_splits(self.config, dataset, seed, mask)
        return sorted({data.use.masks, *({data.use.train} if trains and self._segments(dataset, seed) else ()), *boxed})

    def _is_truth(self, dataset: str, mask: str) -> bool:
        return isinstance(self.config.block(dataset, "masks", mask), mask_blocks.TruthMask)

    def _segments(self, dataset: str, seed: str) -> bool:
        """Whether segmentation networks are trained with a seed."""
        data = self._dataset(dataset)
        return int(seed) in (data.segmentation_seeds or data.seeds)

    def _dataset(self, dataset: str) -> datasets.Dataset:
        return self.config.dataset(dataset)

    def _digest(self, dataset: str, what: str, folder: str | None = None) -> str:
        key = (dataset, what, folder)
        if key not in self._sources:
            self._sources[key] = sources.digest(dataset, self._dataset(dataset), what, folder)
        return self._sources[key]

    def _index_path(self, dataset: str) -> str:
        return output_path("index", dataset=dataset)

    def _manifests(self, dataset: str) -> list[str]:
        """Lists of what was unpacked for a data set; unpacked files are watched by them, not one by one."""
        return [output_path("unpack", archive=name) for name in self._dataset(dataset).archives]

    def _images(self, dataset: str) -> str | list[str]:
        """Rendered images are an artifact; those of other kinds are watched by their digests in the index."""
        if isinstance(self._dataset(dataset), datasets.SyntheticDataset):
            return output_path("render", dataset=dataset)
        return []

    def _initial_path(self, dataset: str, seed: str, initial) -> str | list[str]:
        """Weights of the classifier that a network starts from; files of the user's are watched by their digest."""
        if isinstance(initial, Download):
            return output_path("weights", file=initial.file)
        if not isinstance(initial, FromClassifier):
            return []
        return output_path("train_classifier", dataset=dataset, seed=seed, classifier=initial.classifier)

    def _initial(self, dataset: str, initial) -> str | None:
        """Digest of the file of initial weights; those that torchvision downloads have its own checksum."""
        if not isinstance(initial, str) or initial in {"random", "imagenet"}:
            return None
        key = (dataset, "initial", initial)
        if key not in self._sources:
            self._sources[key] = sources.digest_of(dataset, [initial])
        return self._sources[key]
