"""What jobs read that no job makes: weights, saliency models and maps, packages, lists and folders of the user's.

Planning refuses a run that lacks some of it, `doctor` lists it, and the papers' tables leave cells empty for want of it.
"""

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from workflow_scripts.config.planning.members import emptied, known_members
from workflow_scripts.config.planning.outputs import BLOCKS, output_path
from workflow_scripts.config.resolve import Config
from workflow_scripts.config.types import mask_blocks, saliency_blocks
from workflow_scripts.config.types.blocks import FolderCam
from workflow_scripts.config.types.datasets import Dataset
from workflow_scripts.config.types.initial import Download, Network
from workflow_scripts.config.types.parts import Backbone, Block, File

PRESENT, BY_ITSELF = "present", "missing, comes by itself"  # the second: a job downloads it
PARTS = {
    "index": "images",
    "truth": "truth",
    "confusion_ratios": "backgrounds",
}  # of a data set, that jobs of a stage read
CRF_PACKAGE, CRF_INSTALL = "pydensecrf2", "pip install -r requirements.txt, with g++ and make"
MODULES = {CRF_PACKAGE: "pydensecrf"}
INSTALL = "pip install -r requirements.txt"
OWN_FILE = "put it there, or name another path"


@dataclass(frozen=True)
class Known:
    """A published file: its address, its size, and its checksum or the begin of it."""

    source: str
    size: str = ""
    checksum: str = ""


# Files that blocks name by their path, by their published names; docs/weights.md says more.
PUBLISHED = {
    "ilsvrc-cls_rna-a1_cls1000_ep-0001.params": Known(
        "https://github.com/itijyou/ademxapp", "", "md5:ff21f45d6bf03284100dcbec571edfad"
    ),
    "vgg16_20M.pth": Known("https://github.com/visinf/1-stage-wseg (initial weights)", "79 MB"),
    "deit_small_patch16_224-cd65a155.pth": Known(
        "https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth", "88 MB", "sha256:cd65a155"
    ),
    "PFA_00050.h5": Known(
        "https://github.com/CaitinZhao/cvpr2019_Pyramid-Feature-Attention-Network-for-Saliency-detection"
    ),
    "dss_port.pth": Known("https://github.com/AceCoooool/DSS-pytorch"),
}
# What torchvision downloads for `imagenet`, by backbone and depth.
TORCHVISION = {
    ("mobilenet_v2", None): Known("mobilenet_v2-b0353104.pth", "14 MB", "sha256:b0353104"),
    ("resnet", 50): Known("resnet50-0676ba61.pth", "98 MB", "sha256:0676ba61"),
    ("resnet", 101): Known("resnet101-63fe2227.pth", "171 MB", "sha256:63fe2227"),
    ("vgg16", None): Known("vgg16-397923af.pth", "528 MB", "sha256:397923af"),
}
TORCHVISION_URL = "https://download.pytorch.org/models/"
DUTS = "http://saliencydetection.net/duts/ (DUTS-TR)"


@dataclass(frozen=True)
class Need:
    """Something that jobs read and do not make."""

    what: str
    path: str  # or the name of a package, or a key of the configuration
    state: str = PRESENT  # or why it is not
    size: str = ""
    checksum: str = ""
    source: str = ""
    user: str = field(default="", compare=False)  # the block that names it
    way: str = field(default="", compare=False)  # what to do

    @property
    def blocks(self) -> bool:
        """Whether no run can finish that needs it."""
        return self.state not in {PRESENT, BY_ITSELF}

    def line(self) -> str:
        """What is missing, where it is to be had and what to do, for people."""
        about = [item for item in (self.size, self.checksum) if item]
        detail = f" ({', '.join(about)})" if about else ""
        of = f" of {self.user}" if self.user else ""
        way = f"get it from {self.source}" if self.source and not self.way else self.way
        return f"{self.path}: {self.state}; {self.what}{of}{detail}; {way or OWN_FILE}"


def lines(needs: Iterable[Need]) -> list[str]:
    """A line for each thing that is missing and that no job makes; it names the first block that asks for it."""
    users: dict[Need, dict[str, None]] = {}
    for need in needs:
        if need.blocks:
            users.setdefault(need, {})[need.user] = None
    told = []
    for need, names in users.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        told.append(replace(need, user=f"{need.user}{more}").line())
    return told


# Of blocks


def of_block(config: Config, dataset: str, kind: str, name: str) -> Iterator[Need]:
    """What a block itself needs, whichever of its jobs reads it; not the blocks that it is made from."""
    block, user = config.block(dataset, kind, name), f"{kind}.{name.partition('@')[0]}"
    yield from _weights(block, user)
    yield from _learnt_from(block, user)
    yield from _of_class(block, user)
    yield from _detector(config, dataset, block, user)
    yield from _made_elsewhere(block, user)
    labels = None if getattr(block, "trained", None) else getattr(block, "labels", None)
    yield from _crf(block, labels)


def _weights(block: Block, user: str) -> Iterator[Need]:
    """The file that a network starts from or is taken over from, if there is one; timm itself, if it is of timm's."""
    if isinstance(block, Network):
        yield from _of_class(block.backbone, user)
        named = block.trained or getattr(block, "initial", None)
        if named == "imagenet":
            yield _of_torchvision(block.backbone, user)
            return
    elif isinstance(block, saliency_blocks.LearntSaliency):
        named = block.initial
        if named == "imagenet":
            yield _of_torchvision(getattr(block.network, "backbone", None), user)
            return
    else:
        named = getattr(block, "weights", None)
    if isinstance(named, Download):
        path = output_path("weights", file=named.file)
        yield file_need("weights", path, Known(named.url, "", f"sha256:{named.sha256}"), user, BY_ITSELF)
    elif isinstance(named, str) and named != "random":
        yield file_need("weights", named, PUBLISHED.get(Path(named).name, Known("")), user)


def _of_class(block: Block, user: str) -> Iterator[Need]:
    """What the class of a block asks for."""
    for name, install in block.packages().items():
        yield package(name, install, user)
    for file in block.needed_files():
        yield _file(file, user)


def _file(file: File, user: str) -> Need:
    if os.path.isdir(file.path):
        return Need(file.what, file.path, size=file.size, source=file.source, user=user)
    known = Known(file.source, file.size, file.checksum)
    return file_need(file.what, file.path, known, user, BY_ITSELF if file.is_fetched else "")


def _of_torchvision(backbone: Backbone | None, user: str) -> Need:
    """The file of a backbone, torchvision's unless it says another; the networks of saliency without one have the convolutions of VGG16."""
    name = backbone.name if backbone else "vgg16"
    if backbone and (file := backbone.imagenet()):
        return _file(file, user)
    known = TORCHVISION.get((name, getattr(backbone, "depth", None)))
    if known is None:
        way = "name a file of weights under initial"
        return Need("weights", f"imagenet of {name}", "missing, torchvision has none", user=user, way=way)
    known = Known(f"{TORCHVISION_URL}{known.source}", known.size, known.checksum)
    return file_need("weights", f"{hub_folder()}/{Path(known.source).name}", known, user, BY_ITSELF)


def hub_folder() -> str:
    """Where torch keeps what it downloads, as `torch.hub` says, which takes seconds to import."""
    cached = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    return os.path.join(os.path.expanduser(os.environ.get("TORCH_HOME", cached)), "hub", "checkpoints")


def _learnt_from(block: Block, user: str) -> Iterator[Need]:
    """Folders of photographs and masks that a saliency network is trained on."""
    if isinstance(data := getattr(block, "data", None), saliency_blocks.FolderData):
        for folder in (data.images, data.masks):
            yield _folder("folder", folder, DUTS, user)


def _detector(config: Config, dataset: str, block: Any, user: str) -> Iterator[Need]:
    if isinstance(block, saliency_blocks.FolderSaliency):
        yield _maps(config.dataset(dataset), block.path, user)


def _maps(data: Dataset, folder: str, user: str) -> Need:
    """A folder of saliency maps, one for each image where the images are known."""
    way = "put {id}.png of every image there, any detector's, or name another saliency block"
    found = _folder("saliency", folder, "any detector's maps; EPS used PFAN's", user, way)
    if found.state != PRESENT:
        return found
    there = {entry.name for entry in os.scandir(folder)}
    ids = {name for names in known_members(data).values() for name in names or () if isinstance(name, str)}
    return counted(found, [f"{name}.png" in there for name in ids], len(there))


def _made_elsewhere(block: Block, user: str) -> Iterator[Need]:
    """Masks that people made, and maps that other code made."""
    if isinstance(block, mask_blocks.FolderMask | FolderCam):
        masks = isinstance(block, mask_blocks.FolderMask)
        what, source = ("corrected masks", "made by hand") if masks else ("maps", "made by other code")
        state = PRESENT if Path(block.path).exists() else "missing"
        yield Need(what, block.path, state, source=source, user=user, way=OWN_FILE)


def _crf(*blocks: Block | None) -> Iterator[Need]:
    if any(getattr(block, "crf", None) for block in blocks):
        yield package(CRF_PACKAGE, CRF_INSTALL, "dense CRFs")


# Of data sets


def of_data(config: Config, dataset: str) -> Iterator[Need]:
    """Archives, or lists, tables and folders of a data set; not the files in them."""
    data = config.dataset(dataset)
    if data.archives:
        yield from (of_archive(config, name) for name in data.archives)
    else:
        yield from files_of_data(data, f"datasets.{dataset}")


def files_of_data(data: Dataset, user: str, *parts: str) -> Iterator[Need]:
    """Its table, or its lists and the folders of its images and labels."""
    way = f"put it there, or name another path in {user}"
    for place in (place for part in parts or ("images", "truth") for place in data.places(part)):
        if place.is_folder:
            yield _folder(place.what, place.path, place.source, user, way)
        else:
            yield file_need(place.what, place.path, Known(place.source), user, way=way)


def of_archive(config: Config, name: str) -> Need:
    """An archive, which is there once it is fetched or unpacked."""
    archive, user = config.archive(name), f"archives.{name}"
    path = archive.path or output_path("archives", archive=name)
    source = "" if archive.path else archive.url or ""
    known = Known(source, size(archive.size) if archive.size else "", archive.checksum or "")
    way = f"set {user}.path to a local copy, or copy it there" if archive.path else ""
    found = file_need("archive", path, known, user, "" if archive.path else BY_ITSELF, way=way)
    if Path(output_path("unpack", archive=name)).exists():
        return replace(found, state=PRESENT)
    if archive.checksum is None:
        way = f"run `snakemake {path}` alone, which tells the checksum of what it fetches" if archive.url else ""
        way = f"set {user}.checksum{f'; {way}' if way else ''}"
        state = "without a checksum" if os.path.exists(path) else "missing, and so is its checksum"
        return replace(found, state=state, way=way)
    return found


def of_limit(config: Config, dataset: str) -> Iterator[Need]:
    """Splits that the limit of a data set leaves no image in."""
    data = config.dataset(dataset)
    for name in emptied(data):
        state = f"empty under datasets.{dataset}.limit {data.limit}" if data.limit else "empty"
        way = f"raise datasets.{dataset}.limit, or take it away" if data.limit else "choose other images for it"
        yield Need("images", f"datasets.{dataset}.splits.{name}", state, way=way)


# Of jobs


def of_job(config: Config, stage: str, names: Mapping[str, str]) -> Iterator[Need]:
    """What a job reads itself that no other job makes."""
    dataset = names.get("dataset", "")
    if stage == "unpack":
        yield of_archive(config, names["archive"])
    elif part := PARTS.get(stage):
        data = config.dataset(dataset)
        needed = any(place.needed for place in data.places(part))
        if needed and not (data.archives and part in {"images", "truth"}):
            yield from files_of_data(data, f"datasets.{dataset}", part)
        if stage == "index":
            yield from of_limit(config, dataset)
    elif stage == "erasing":
        yield from of_job(config, "train_classifier", names)
    elif stage == "confidence":
        yield from _weights_of(
            config, dataset, "segmenters", config.block(dataset, "systems", names["system"]).segmenter
        )
    elif stage in BLOCKS:
        kind, wildcard = BLOCKS[stage]
        name = names[wildcard]
        block, user = config.block(dataset, kind, name), f"{kind}.{name.partition('@')[0]}"
        yield from _of_class(block, user)
        if stage.startswith("train_"):
            yield from _weights(block, user)
            yield from _learnt_from(block, user)
        elif stage == "saliency":
            if block.detector == "published":
                yield from _weights(block, user)
            yield from _detector(config, dataset, block, user)
            yield from _crf(block)
        elif stage == "affinity_labels":
            yield from _crf(block.labels)
        elif stage in {"cams", "masks", "predictions"}:
            yield from _made_elsewhere(block, user)
            yield from _crf(block)


def _weights_of(config: Config, dataset: str, kind: str, name: str) -> Iterator[Need]:
    yield from _weights(config.block(dataset, kind, name), f"{kind}.{name}")


# Of files and packages


def file_need(what: str, path: str, known: Known, user: str, absent: str = "", way: str = "") -> Need:
    """A file: whether it is there, and holds anything.

    Args:
        absent: its state where it is not there.
    """
    try:
        found = os.stat(path).st_size if os.path.isfile(path) else None
    except OSError:
        found = None
    state = (absent or "missing") if found is None else PRESENT if found else "of 0 bytes"
    if state == "of 0 bytes":
        way = "delete it, so that it is fetched again" if absent else way or "copy it again"
    shown = known.size if not found else size(found)
    return Need(what, str(path), state, shown, known.checksum, known.source, user, way)


def _folder(what: str, folder: str, source: str, user: str, way: str = "") -> Need:
    state = PRESENT if os.path.isdir(folder) else "missing"
    return Need(what, folder, state, source=source, user=user, way=way)


def counted(need: Need, there: list[bool], files: int | None = None) -> Need:
    """A folder of which so many files are asked for."""
    absent = there.count(False)
    state = f"missing {absent:,} of {len(there):,}" if absent else need.state
    return replace(need, state=state, size=f"{len(there) if files is None else files:,} files")


def package(name: str, install: str, user: str) -> Need:
    """A package of Python's, and how it is installed."""
    state = PRESENT if installed(name) else "missing"
    return Need("package", name, state, source=install, user=user, way=f"run {install}")


def installed(name: str) -> bool:
    """Whether a package can be imported, whoever has built it."""
    return importlib.util.find_spec(MODULES.get(name, name)) is not None


@cache
def version(name: str) -> str | None:
    """Of an installed package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def size(number: float) -> str:
    """Bytes as people write them."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while number >= 1000 and len(units) > 1:
        number, units = number / 1000, units[1:]
    return f"{number:.0f} {units[0]}" if number >= 10 or units[0] == "B" else f"{number:.1f} {units[0]}"
