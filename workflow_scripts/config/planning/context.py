"""What jobs are planned from: the configuration, and what many of them ask for, worked out once."""

from functools import cache
from typing import Any

from pydantic import BaseModel

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import instance_systems, sources, systems
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.resolve import Config
from workflow_scripts.config.types import mask_blocks
from workflow_scripts.config.types.initial import Download, FromClassifier


class Context:
    """Blocks, paths of inputs, digests of the user's files, and the splits that artifacts are made for."""

    def __init__(self, config: Config):
        self.config = config
        self.digest, self.masks_digest = cache(self._digest), cache(self._masks_digest)
        self.maps_digest = cache(self._maps_digest)
        self.folder_digest = cache(sources.folder_digest)
        self.initial_digest = cache(self._initial_digest)
        self.mask_splits, self.truth_splits = cache(self._mask_splits), cache(self._truth_splits)

    def dataset(self, dataset: str) -> Any:
        return self.config.dataset(dataset)

    def block(self, dataset: str, kind: str, name: str) -> Any:
        return self.config.block(dataset, kind, name)

    # Inputs

    def index(self, dataset: str) -> str:
        return output_path("index", dataset=dataset)

    def truth(self, dataset: str) -> str | list[str]:
        """The truth masks, or nothing where a data set has none."""
        return output_path("truth", dataset=dataset) if self.dataset(dataset).has_truth() else []

    def images(self, dataset: str) -> str | list[str]:
        """Rendered images are an artifact; those of other kinds are watched by their digests in the index."""
        return output_path("render", dataset=dataset) if self.dataset(dataset).rendered else []

    def rendered(self, dataset: str) -> str | list[str]:
        """The truth of rendered images."""
        return output_path("render", output="truth", dataset=dataset) if self.dataset(dataset).rendered else []

    def manifests(self, dataset: str) -> list[str]:
        """Lists of what was unpacked for a data set; unpacked files are watched by them, not one by one."""
        return [output_path("unpack", archive=name) for name in self.dataset(dataset).archives]

    def saliency(self, dataset: str, block: BaseModel) -> str | list[str]:
        """The saliency maps that a block names, if it does."""
        saliency = getattr(block, "saliency", None)
        return output_path("saliency", dataset=dataset, saliency=saliency) if saliency else []

    def initial(self, dataset: str, seed: str, initial) -> str | list[str]:
        """Weights that a network starts from where a job makes them; files of the user's are watched by their digest."""
        if isinstance(initial, Download):
            return output_path("weights", file=initial.file)
        if not isinstance(initial, FromClassifier):
            return []
        return output_path("train_classifier", dataset=dataset, seed=seed, classifier=initial.classifier)

    # Digests

    def _digest(self, dataset: str, part: str) -> str:
        return sources.digest(dataset, self.dataset(dataset), part)

    def _masks_digest(self, dataset: str, path: str) -> str:
        return sources.digest_of(dataset, sources.mask_files(path))

    def _maps_digest(self, dataset: str, path: str) -> str:
        return sources.digest_of(dataset, sources.map_files(path))

    def _initial_digest(self, dataset: str, initial) -> str | None:
        """Of the file of initial weights; those that torchvision downloads have its own checksum."""
        if not isinstance(initial, str) or initial in {"random", "imagenet"}:
            return None
        return sources.digest_of(dataset, [initial])

    # Settings

    def training(self, dataset: str) -> dict:
        """What every training is told of its data set."""
        data = self.dataset(dataset)
        return {"dataset": dataset, "classes": list(data.classes), "threads": data.torch_threads}

    def reading(self, dataset: str, part: str) -> tuple[dict, tuple[str, ...]]:
        """Settings and modules of a job that reads a part of a data set.

        Raises:
            UserError: the data set has no such part.
        """
        data = self.dataset(dataset)
        if lack := data.lacks(part):
            raise UserError(f"config: datasets.{dataset}: has no {part} to read ({lack}); drop what is scored by it")
        settings = {"dataset": dataset, "kind": data.kind, "classes": list(data.classes)} | data.told(part)
        return settings | {"sources": self.digest(dataset, part)}, data.modules(part)

    # Splits

    def cam_splits(self, dataset: str, seed: str, cam: str) -> list[str]:
        """Splits that maps are made for, whatever systems there are: a new system makes no map stale.

        What is scored, where thresholds are chosen, what affinity networks learn from, and the training split with the
        seeds that segmentation is trained with. A tuning says itself where it needs its variants.
        """
        if variant := self.config.variant(dataset, "cams", cam):
            return list(variant.splits)
        use = self.dataset(dataset).use
        trains = use.train if self._segments(dataset, seed) else None
        return sorted({use.masks, use.thresholds, use.affinity or use.train, trains} - {None})

    def _mask_splits(self, dataset: str, seed: str, mask: str) -> list[str]:
        """Splits that masks are made for: what is scored, and the training split where a segmenter learns from it.

        Masks that no system names may be for a segmenter, but those of rule `truth`, which ask for truth only where it
        is used.
        """
        if variant := self.config.variant(dataset, "masks", mask):
            return list(variant.splits)
        data = self.dataset(dataset)
        named = [self.block(dataset, "systems", system) for system in data.systems]
        users = [
            system for system in named if system.mask and mask in systems.made_from(self.config, dataset, system.mask)
        ]
        segmenters = [self.block(dataset, "segmenters", user.segmenter) for user in users if user.segmenter]
        trains = any(not segmenter.trained for segmenter in segmenters)
        trains = trains or not (users or self._is_truth(dataset, mask))
        boxed = instance_systems.mask_splits(self.config, dataset, seed, mask)
        return sorted({data.use.masks, *({data.use.train} if trains and self._segments(dataset, seed) else ()), *boxed})

    def prediction_splits(self, dataset: str, prediction: str) -> list[str]:
        """Splits that predictions are made for."""
        variant = self.config.variant(dataset, "predictions", prediction)
        return list(variant.splits if variant else self.dataset(dataset).use.predicted())

    def _truth_splits(self, dataset: str) -> list[str]:
        """Splits that are scored, that thresholds are chosen on, and that something learns from their truth."""
        data = self.dataset(dataset)
        truths = [name for name in self.config.names(dataset, "masks") if self._is_truth(dataset, name)]
        learnt = {
            split for seed in data.seeds for name in truths for split in self.mask_splits(dataset, str(seed), name)
        }
        tuned = {self.block(dataset, "tunings", name).split for name in self.config.names(dataset, "tunings")}
        scored = {data.use.masks, *data.scored_evaluation(), data.use.thresholds, *(tuned & data.splits.keys())}
        named = [*systems.masks(self.config, dataset), *instance_systems.masks(self.config, dataset)]
        used = {mask for name in named for mask in systems.made_from(self.config, dataset, name)}
        blocks = [self.block(dataset, "masks", mask) for mask in used]
        taken = {block.split for block in blocks if isinstance(block, mask_blocks.PartlyTrueMask)}
        return sorted((scored | learnt | taken) - {None})

    def _segments(self, dataset: str, seed: str) -> bool:
        """Whether segmentation networks are trained with a seed."""
        data = self.dataset(dataset)
        return int(seed) in (data.segmentation_seeds or data.seeds)

    def _is_truth(self, dataset: str, mask: str) -> bool:
        return isinstance(self.block(dataset, "masks", mask), mask_blocks.TruthMask)
