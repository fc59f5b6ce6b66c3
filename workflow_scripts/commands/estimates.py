"""What a data set's jobs will take: bytes on disk, arithmetic of networks, seconds of a CPU core. Nothing is run.

Estimates of the order: arithmetic is counted on the networks themselves, without memory; how fast a machine does it, and
how long a dense CRF takes, are the measured figures below.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from workflow_scripts import instance_segmentation, methods, segmentation
from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import instance_systems, systems
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config, order_splits
from workflow_scripts.config.types import blocks
from workflow_scripts.config.types.datasets import Dataset
from workflow_scripts.instance_segmentation.mask_rcnn import BOX_CELLS, MASK_CELLS
from workflow_scripts.refine import affinity_networks

# Floating-point operations a second of one core (Zen 4, AVX-512; one step of training, batch 1 to 8, one thread): networks
# of ordinary and of depthwise convolutions.
CORE = {"float32": {"ordinary": 8e10, "depthwise": 4.5e10}, "bfloat16": {"ordinary": 1.3e11, "depthwise": 7.5e10}}
# Of one GPU: EPS on VOC, 3.8e17 operations, took its authors 3.6 hours on two (training log of the published code).
GPU = 1.5e13
# Seconds of one core for ten steps of a dense CRF on photographs of 375 x 500 pixels: for the image, and for each label; at a
# colour deviation of 13, and at 3.
CRF_COARSE, CRF_FINE = (0.15, 0.01), (0.24, 0.026)
# Seconds of one core for five steps of GrabCut in the boxes of such a photograph.
GRABCUT = 0.5
# Seconds of one core for 256 steps of a random walk on the same image, cells of 8 pixels (benchmarks/random_walk.py).
WALK = 0.14
# Bytes a pixel of compressed label and saliency maps, measured on photographs; soft maps count as if uncompressed.
LABEL_BYTES, SALIENCY_BYTES = 0.06, 0.15
# Bytes that the store takes beside: for an image, and for each of its compressed arrays (benchmarks/scale.py artifact, bytes).
ENTRY_BYTES, ARRAY_BYTES = 1_400, 2_700
LABELS = 1.55  # classes of an image; VOC
MEASURED = 375 * 500  # pixels of the images that seconds were measured on


@dataclass(frozen=True)
class Cost:
    """Of one job: bytes that stay, operations of networks (with their kind and precision), seconds of one core beside."""

    bytes: float = 0
    operations: float = 0
    kind: str = "ordinary"
    precision: str = "float32"
    seconds: float = 0

    def hours(self, cores: int, gpus: int) -> float:
        """On so many cores, and so many GPUs for the networks."""
        speed = gpus * GPU if gpus else cores * CORE[self.precision][self.kind]
        return (self.operations / speed + self.seconds / cores) / 3600


def members(data: Dataset) -> dict[str, set] | None:
    """Ids of every split, read from its lists or table; as many as it must have where they are not there yet."""
    found: dict[str, set] = {}
    for name in order_splits(data.splits, "datasets"):
        split = data.splits[name]
        try:
            ids = found[split.of] if split.of else _listed(data, name)
            ids = ids - found[split.without] if split.without else ids
        except (UserError, LookupError, ValueError):
            if split.count is None:
                continue
            apart = name in data.use.evaluation  # no image of theirs is one of the training split's
            ids = set(range(-split.count, 0) if apart else range(split.count))
        found[name] = set(sorted(ids, key=str)[: split.first or data.limit])
    return found if {data.use.train, data.use.masks, *data.use.predicted()} <= found.keys() else None


def _listed(data: Dataset, name: str) -> set:
    ids = set(data.ids(name))
    if not data.rendered and not all(isinstance(identifier, str) for identifier in ids):
        raise LookupError(name)
    return ids


class Estimates:
    """Costs of the jobs of a data set, by stage and wildcards."""

    def __init__(self, config: Config, dataset: str):
        self.config, self.dataset, self.plan = config, dataset, Plan(config)
        self.data = config.dataset(dataset)
        self.members = members(self.data)
        self.height, self.width = self.data.size
        self._counted: dict[str, tuple[float, float, str]] = {}
        self._parts: dict[str, SimpleNamespace] = {}

    def jobs(self, system: str) -> list[tuple[str, dict[str, str]]]:
        """Those of a system that cost anything, of all its seeds; what systems share is in each of them."""
        return self._of_seeds(systems.chain, system)

    def instance_jobs(self, system: str) -> list[tuple[str, dict[str, str]]]:
        """Likewise of an instance system."""
        return self._of_seeds(instance_systems.chain, system)

    def _of_seeds(self, chain, system: str) -> list[tuple[str, dict[str, str]]]:
        data = self.data
        found: dict[tuple, None] = {}
        for seed in data.seeds:
            segments = seed in (data.segmentation_seeds or data.seeds)
            for stage, names in chain(self.config, self.dataset, system, seed):
                if segments or not {"segmenter", "network"} & names.keys():
                    found[stage, tuple(sorted(names.items()))] = None
        return [(stage, dict(names)) for stage, names in found]

    def cost(self, stage: str, names: Mapping[str, str]) -> Cost:
        """Of one job; nothing for stages that cost next to nothing."""
        return getattr(self, f"_{stage}", lambda _: Cost())(names)

    # Stages

    def _train_saliency(self, names: Mapping[str, str]) -> Cost:
        from workflow_scripts.detectors.network import build

        block = self._block("saliency", names)
        options = json.loads(block.network.model_dump_json(), object_hook=lambda item: SimpleNamespace(**item))
        size, operations, kind = self._count(f"saliency.{names['saliency']}", lambda: build(options))
        pixels = block.input.side**2 if block.input.side else 128 * 96
        return Cost(size, self._training(operations, block.recipe, pixels), kind, block.recipe.precision)

    def _saliency(self, names: Mapping[str, str]) -> Cost:
        return Cost(self._stored(SALIENCY_BYTES * self.pixels, self._images(None)), seconds=0.02 * self._images(None))

    def _train_classifier(self, names: Mapping[str, str]) -> Cost:
        return self._network_training("classifiers", names)

    def _train_affinity(self, names: Mapping[str, str]) -> Cost:
        return self._network_training("affinities", names)

    def _train_segmenter(self, names: Mapping[str, str]) -> Cost:
        return self._network_training("segmenters", names)

    def _cams(self, names: Mapping[str, str]) -> Cost:
        block = self._block("cams", names)
        if isinstance(block, blocks.FolderCam):
            return self._folder_cams(block, self._images(self.plan.job("cams", names).settings["splits"]))
        classifier = self.config.block(self.dataset, "classifiers", block.classifier)
        images = self._images(self.plan.job("cams", names).settings["splits"])
        maps = LABELS + classifier.learns_background
        _, operations, kind = self._network("classifiers", block.classifier)
        work = operations * self.pixels * _passes(block) * images
        size = self._stored(2 * maps * self.pixels / block.resolution**2, images, 1 + classifier.learns_background)
        return Cost(size, work, kind, block.precision)

    def _folder_cams(self, block: blocks.FolderCam, images: int) -> Cost:
        maps = LABELS + block.background
        size = self._stored(2 * maps * self.pixels / block.resolution**2, images, 1 + block.background)
        return Cost(size, seconds=0.01 * images)

    def _affinity_labels(self, names: Mapping[str, str]) -> Cost:
        images = self._images([self.data.use.affinity or self.data.use.train])
        labels = self.config.block(self.dataset, "affinities", names["affinity"]).labels
        crf = self._crf(getattr(labels, "crf", None), LABELS + 1)
        return Cost(self._stored(LABEL_BYTES * self.pixels, images), seconds=2 * crf * images)

    def _masks(self, names: Mapping[str, str]) -> Cost:
        block = self._block("masks", names)
        images = self._images(self.plan.job("masks", names).settings["splits"])
        seconds = 0.005 + self._crf(getattr(block, "crf", None), LABELS + 1)
        if block.rule == "grabcut":
            seconds += GRABCUT * self.relative * block.iterations / 5
        if name := getattr(block, "affinity", None):
            _, operations, kind = self._network("affinities", name)
            fine = 1 if block.rule == "random_walk" else 4  # cells of 4 pixels instead of 8
            seconds += WALK * self.relative * fine * 2 ** (getattr(block, "log_steps", 8) - 8)
            framed = 2 * max(self.pixels, block.frame**2) if block.rule == "edge_walk" else self.pixels  # mirrored, too
            work = operations * framed * images
            return Cost(self._stored(LABEL_BYTES * self.pixels, images), work, kind, seconds=seconds * images)
        if name := getattr(block, "classifier", None):  # two label maps
            _, operations, kind = self._network("classifiers", name)
            work = operations * self.pixels * images
            size = self._stored(2 * LABEL_BYTES * self.pixels, images, 2)
            return Cost(size, work, kind, block.precision, seconds * images)
        return Cost(self._stored(LABEL_BYTES * self.pixels, images), seconds=seconds * images)

    def _predictions(self, names: Mapping[str, str]) -> Cost:
        block, images = self._block("predictions", names), self._images(self.data.use.predicted())
        if isinstance(block, blocks.CrfPrediction):
            return Cost(
                self._stored(LABEL_BYTES * self.pixels, images),
                seconds=self._crf(block.crf, len(self.data.classes) + 1) * images,
            )
        _, operations, kind = self._network("segmenters", names["segmenter"])
        labels = len(self.data.classes) + 1
        work = operations * self.pixels * _passes(block) * images
        size = self._stored(2 * labels * self.pixels / block.resolution**2, images)
        return Cost(size, work, kind, block.precision)

    def _instances(self, names: Mapping[str, str]) -> Cost:
        images = self._images(self.plan.job("instances", names).settings["splits"])
        return Cost(self._stored(LABEL_BYTES * self.pixels, images, 3), seconds=0.01 * images)

    def _train_instances(self, names: Mapping[str, str]) -> Cost:
        block, parts = self._instance_network(names["network"])
        if block.trained:
            return Cost(parts.size)
        recipe, sampling = block.recipe, block.box_sampling
        image = parts.pixel * recipe.crop**2 + sampling.count * (parts.box + sampling.positive * parts.mask)
        return Cost(parts.size, 3 * image * recipe.batch * recipe.iterations, parts.kind, recipe.precision)

    def _detections(self, names: Mapping[str, str]) -> Cost:
        block, parts = self._instance_network(names["network"])
        finding, images = block.finding, self._images(self.data.use.predicted())
        short, long = sorted((self.height, self.width))
        pixels = self.pixels * min(finding.short_side / short, finding.long_side / long) ** 2
        image = parts.pixel * pixels + finding.proposals.after * parts.box + finding.count * parts.mask
        size = self._stored(LABEL_BYTES * self.pixels, images, 4)
        return Cost(size, image * images, parts.kind, finding.precision)

    # Shared parts

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def relative(self) -> float:
        """Size of an image, that of VOC's being 1."""
        return self.pixels / MEASURED

    def _stored(self, content: float, images: int, arrays: int = 1) -> float:
        """Bytes of an artifact whose images hold so many, in so many arrays."""
        return (content + ENTRY_BYTES + ARRAY_BYTES * arrays) * images

    def _images(self, splits) -> int:
        """In these splits together; None for all."""
        known = self.members or {}
        return len(set().union(*(known.get(name, ()) for name in (known if splits is None else splits))))

    def _crf(self, crf, labels: float) -> float:
        """Seconds of one core for one image."""
        if crf is None:
            return 0
        image, label = CRF_FINE if crf.bilateral[1] <= 5 else CRF_COARSE
        return (image + label * labels) * self.relative * crf.iterations / 10

    def _block(self, kind: str, names: Mapping[str, str]):
        return self.config.block(self.dataset, kind, names[kind.removesuffix("s")])

    def _network_training(self, kind: str, names: Mapping[str, str]) -> Cost:
        name = names[{"classifiers": "classifier", "affinities": "affinity", "segmenters": "segmenter"}[kind]]
        block = self.config.block(
            names.get("dataset", self.dataset), kind, name
        )  # a classifier may be another data set's
        size, operations, sort = self._network(kind, name)
        if block.trained:
            return Cost(size)
        scales = sum(scale**2 for scale in getattr(block, "image_scales", ()))
        work = (1 + scales) * self._training(operations, block.recipe, block.recipe.crop**2)
        return Cost(size, work, sort, block.recipe.precision)

    def _training(self, operations: float, recipe, pixels: float) -> float:
        """Forward, and twice as much backward."""
        return 3 * operations * pixels * recipe.batch * recipe.iterations

    def _network(self, kind: str, name: str) -> tuple[float, float, str]:
        block = self.config.block(self.dataset, kind, name)
        settings = json.loads(block.model_dump_json(), object_hook=lambda item: SimpleNamespace(**item))
        if kind == "classifiers":
            return self._count(f"{kind}.{name}", lambda: methods.build(settings, self.data.classes))
        if kind == "affinities":
            return self._count(f"{kind}.{name}", lambda: affinity_networks.build(settings))
        return self._count(f"{kind}.{name}", lambda: segmentation.build(settings, len(self.data.classes) + 1))

    def _count(self, key: str, build) -> tuple[float, float, str]:
        """Bytes of the weights, operations a pixel of one forward pass, kind of the convolutions."""
        if key not in self._counted:
            with torch.device("meta"):
                network = build().eval()
                images = torch.zeros(1, 3, 224, 224)
            forward = getattr(network, "class_logits", network)
            self._counted[key] = _bytes(network), _operations(lambda: forward(images)) / 224**2, _kind(network)
        return self._counted[key]

    def _instance_network(self, name: str) -> tuple[Any, SimpleNamespace]:
        """Its block; bytes of the weights, operations a pixel, those a box and a mask beside, kind of the convolutions."""
        block = self.config.block(self.dataset, "instance_networks", name)
        if name not in self._parts:
            settings = json.loads(block.model_dump_json(), object_hook=lambda item: SimpleNamespace(**item))
            with torch.device("meta"):
                network = instance_segmentation.build(settings, len(self.data.classes) + 1).eval()
                images, heads = torch.zeros(1, 3, 224, 224), network.heads
                box, mask = (torch.zeros(1, block.channels, cells, cells) for cells in (BOX_CELLS, MASK_CELLS))
            self._parts[name] = SimpleNamespace(
                size=_bytes(network),
                pixel=_operations(lambda: network.rpn.head(list(network.maps(images).values()))) / 224**2,
                box=_operations(lambda: heads.box_predictor(heads.box_head(box))),
                mask=_operations(lambda: heads.mask_predictor(heads.mask_head(mask))),
                kind=_kind(network),
            )
        return block, self._parts[name]


def _bytes(network: nn.Module) -> int:
    """Of the weights."""
    return sum(value.numel() * value.element_size() for value in network.state_dict().values())


def _operations(forward) -> int:
    """Floating-point operations of a call."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        forward()
    return counter.get_total_flops()


def _kind(network: nn.Module) -> str:
    """Which convolutions a network is made of, as in `CORE`."""
    depthwise = any(isinstance(part, nn.Conv2d) and part.groups > 1 for part in network.modules())
    return "depthwise" if depthwise else "ordinary"


def _passes(block) -> float:
    """Forward passes at the image's size that a multi-scale prediction amounts to."""
    return sum(scale**2 for scale in block.scales) * (2 if block.flip else 1)
