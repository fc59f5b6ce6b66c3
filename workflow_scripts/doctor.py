"""Say what the systems of a data set need, what of it is there, and what they will cost; nothing is downloaded or run.

    python -m workflow_scripts.doctor results/voc [--configfile mine.yaml]

Prints this machine, every file and package that is needed, present or missing, with size, checksum and where it is to be
had, and for every system whether all is there, the disk it takes and the hours. Exits with 1 if anything is missing.
"""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from workflow_scripts import networks
from workflow_scripts.commands import add_configfile, command_parser, load_config
from workflow_scripts.config import blocks, datasets, instance_systems, mask_blocks, saliency_blocks, systems
from workflow_scripts.config.initial import Download
from workflow_scripts.config.outputs import output_path
from workflow_scripts.config.resolve import Config
from workflow_scripts.digests import file_sha256
from workflow_scripts.errors import UserError
from workflow_scripts.estimates import Estimates
from workflow_scripts.listings import PICTURE_SUFFIXES, listed_ids

PACKAGES = ("torch", "torchvision", "snakemake", "h5py", "safetensors", "pydensecrf2")
CRF_PACKAGE = "pydensecrf2"
BY_ITSELF = "missing, comes by itself"  # what a job downloads when it is run

# Where files that the configuration names by their path are to be had; docs/weights.md says more.
SOURCES = {
    "ilsvrc-cls_rna-a1_cls1000_ep-0001.params": "https://github.com/itijyou/ademxapp",
    "vgg16_20M.pth": "https://github.com/visinf/1-stage-wseg (initial weights)",
}
VOC, SBD = "host.robots.ox.ac.uk/pascal/VOC/voc2012", "SBD, as label maps (SegmentationClassAug)"


@dataclass(frozen=True)
class Need:
    """Something that jobs read and do not make."""

    what: str
    path: str
    state: str = "present"  # or why it is not
    size: str = ""
    checksum: str = ""
    source: str = ""


def machine() -> list[tuple[str, str]]:
    """What this machine has: cores, memory, disk, GPUs, versions of the packages."""
    rows = [("cores", f"{_cores()}, {'with' if _cpu_bfloat16() else 'without'} bfloat16 in hardware")]
    rows.append(("memory", _bytes(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))))
    rows.append(("free disk", f"{_bytes(shutil.disk_usage('.').free)} here"))
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        there = "with" if about.major >= 8 else "without"  # compute capability that has it in hardware
        rows.append((f"GPU {number}", f"{about.name}, {_bytes(about.total_memory)}, {there} bfloat16 in hardware"))
    if not torch.cuda.device_count():
        rows.append(("GPU", f"none that torch can use (built for CUDA {torch.version.cuda or 'no version'})"))
    versions = [f"python {platform.python_version()}", *(f"{name} {version(name) or 'missing'}" for name in PACKAGES)]
    return [*rows, ("packages", ", ".join(versions))]


def data_needs(config: Config, dataset: str) -> Iterator[Need]:
    """Archives, or lists, tables and folders of a data set; of images it is counted how many of those listed are there."""
    data = config.dataset(dataset)
    if data.archives:
        yield from (archive_need(config, name) for name in data.archives)
    elif isinstance(data, datasets.CsvDataset):
        yield _file("table", data.table, "yours")
    elif isinstance(data, datasets.VocDataset):
        root = Path(data.root)
        for path in _lists(data):
            yield _file("list", path, SBD if path.stem == "train_aug" else VOC)
        yield _folder("images", root / data.images, _ids(data), PICTURE_SUFFIXES, VOC)
        yield _folder("annotations", root / data.annotations, _ids(data), {".xml"}, VOC)
        if data.masks:
            yield _folder("truth masks", root / data.masks, _ids(data), {".png"}, SBD)


def archive_need(config: Config, name: str) -> Need:
    """An archive, which is there once it is fetched or unpacked."""
    archive = config.archive(name)
    path = Path(archive.path or output_path("archives", archive=name))
    state = "missing" if archive.path else BY_ITSELF if archive.checksum else "missing, and so is its checksum"
    if path.exists() or Path(output_path("unpack", archive=name)).exists():
        state = "present"
    size = _size(path) or (_bytes(archive.size) if archive.size else "")
    return Need("archive", str(path), state, size, archive.checksum or "", "" if archive.path else archive.url or "")


def system_needs(config: Config, dataset: str, system: str) -> Iterator[Need]:
    """What the stages of a system ask for."""
    return stage_needs(config, dataset, systems.chain(config, dataset, system))


def stage_needs(config: Config, dataset: str, stages: Sequence[tuple[str, Mapping[str, str]]]) -> Iterator[Need]:
    """Supplied saliency maps, weights and packages that stages ask for."""
    for stage, names in stages:
        what, block = stage.removeprefix("train_"), None
        if stage == "saliency":
            block = config.block(dataset, "saliency", names["saliency"])
            if isinstance(block, saliency_blocks.FolderSaliency):
                ids = _ids(config.dataset(dataset))
                yield _folder("saliency", Path(block.path), ids, {".png"}, "any detector's maps; EPS used PFAN's")
            elif isinstance(block, saliency_blocks.RembgSaliency):
                state = "present" if version("rembg") else "missing"
                yield Need("package", "rembg", state, source="pip install -r requirements.txt")
            elif isinstance(block, saliency_blocks.PublishedSaliency) and isinstance(block.weights, str):
                yield _file("weights", block.weights, "")
            elif isinstance(getattr(block, "data", None), saliency_blocks.FolderData):
                for folder in (block.data.images, block.data.masks):
                    yield Need("folder", folder, "present" if Path(folder).is_dir() else "missing", source="DUTS-TR")
        elif stage.startswith("train_") and what in systems.NETWORKS:
            yield from weights_needs(config.block(names["dataset"], systems.NETWORKS[what], names[what]))
        elif stage == "train_instances":
            yield from weights_needs(config.block(dataset, "instance_networks", names["network"]))
        elif stage in {"masks", "predictions"}:
            block = config.block(dataset, stage, names[stage.removesuffix("s")])
            if isinstance(block, mask_blocks.FolderMask):
                state = "present" if Path(block.path).exists() else "missing"
                yield Need("corrected masks", block.path, state, source="made by hand")
        if stage == "affinity_labels" or getattr(block, "crf", None):
            state = "present" if version(CRF_PACKAGE) else "missing"
            yield Need("package", CRF_PACKAGE, state, source="pip install -r requirements.txt, with g++ and make")


def weights_needs(block: blocks.Network) -> Iterator[Need]:
    """The file that a network starts from or is taken over from, if there is one."""
    named = block.trained or block.initial
    if isinstance(named, Download):
        path = Path(output_path("weights", file=named.file))
        state = BY_ITSELF if not path.exists() else "present"
        if path.exists() and file_sha256(path) != named.sha256:
            state = "of another checksum, delete it"
        yield Need("weights", str(path), state, _size(path), named.sha256, named.url)
    elif named == "imagenet":
        with torch.device("meta"):
            published = networks.build(**block.backbone.model_dump()).torchvision
        if published is None:
            yield Need("weights", f"imagenet of {block.backbone.name}", "missing, torchvision has none")
            return
        path = Path(torch.hub.get_dir()) / "checkpoints" / published.url.rpartition("/")[2]
        size = _size(path) or f"{published.meta['_file_size']:.0f} MB"
        state = "present" if path.exists() else BY_ITSELF
        yield Need("weights", str(path), state, size, path.stem.rpartition("-")[2], published.url)
    elif isinstance(named, str) and named != "random":
        yield _file("weights", named, SOURCES.get(Path(named).name, ""))


def report(config: Config, dataset: str) -> tuple[str, bool]:
    """Text for people about one data set, and whether all is there."""
    data = config.dataset(dataset)
    common = list(data_needs(config, dataset))
    estimates = Estimates(config, dataset)
    of_system = {name: list(dict.fromkeys(system_needs(config, dataset, name))) for name in data.systems}
    own_jobs = {name: estimates.jobs(name) for name in data.systems}
    for name in data.instance_systems:
        found = stage_needs(config, dataset, instance_systems.chain(config, dataset, name))
        of_system[f"{name} (instances)"] = list(dict.fromkeys(found))
        own_jobs[f"{name} (instances)"] = estimates.instance_jobs(name)
    every = list(dict.fromkeys([*common, *(need for needs in of_system.values() for need in needs)]))
    rows = [[need.what, need.path, need.state, need.size, need.checksum, need.source] for need in every]
    text = [_table(["needs", "where", "state", "size", "checksum", "source"], rows)] if rows else ["needs nothing"]

    gpus = min(data.gpus, torch.cuda.device_count())
    jobs: dict[tuple, None] = {}
    rows = []
    for name, needs in of_system.items():
        absent = ["data set"] * any(need.state != "present" for need in common)
        absent += [Path(need.path).name for need in needs if need.state != "present"]
        jobs |= {(stage, tuple(sorted(names.items()))): None for stage, names in own_jobs[name]}
        rows.append([name, *_cost(estimates, own_jobs[name], gpus), ", ".join(absent) or "nothing"])
    together = [(stage, dict(names)) for stage, names in jobs]
    rows.append(["together", *_cost(estimates, together, gpus), ""])
    where = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else f"{_cores()} cores"
    text.append(_table(["system", "disk", f"hours on {where}", "hours on one GPU", "missing"], rows))
    if estimates.members is None:
        text.append("The lists of images cannot be read yet, so there is no estimate.")
    else:
        images = ", ".join(f"{name} {len(ids):,}" for name, ids in estimates.members.items())
        text.append(
            f"Estimated, to a factor of about two, for images: {images}; `together` counts what systems share once. "
            "The one GPU is as fast as each of EPS's authors' two."
        )
    return "\n\n".join(text), all(need.state == "present" for need in every)


def _cost(estimates: Estimates, jobs: Sequence[tuple[str, Mapping[str, str]]], gpus: int) -> list[str]:
    if estimates.members is None:
        return ["?", "?", "?"]
    costs = [estimates.cost(stage, names) for stage, names in jobs]
    hours = [sum(cost.hours(_cores(), number) for cost in costs) for number in (gpus, 1)]
    return [
        _bytes(sum(cost.bytes for cost in costs)),
        *(f"{value:.2g}" if value < 10 else f"{value:.0f}" for value in hours),
    ]


@cache
def version(package: str) -> str | None:
    """Of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _lists(data) -> list[Path]:
    return [Path(data.root) / split.ids for split in data.splits.values() if split.ids]


def _ids(data) -> list[str]:
    """Ids of the lists that are there."""
    if not isinstance(data, datasets.VocDataset):
        return []
    return list(dict.fromkeys(name for path in _lists(data) if path.exists() for _, name in listed_ids(path)))


def _file(what: str, path: str | Path, source: str) -> Need:
    state = "present" if Path(path).is_file() else "missing"
    return Need(what, str(path), state, _size(Path(path)), source=source)


def _folder(what: str, folder: Path, ids: Sequence[str], suffixes: Collection[str], source: str) -> Need:
    if not folder.is_dir():
        return Need(what, str(folder), "missing", source=source)
    there = {path.stem for path in folder.iterdir() if path.suffix.lower() in suffixes}
    absent = sum(name not in there for name in ids)
    state = f"missing {absent:,} of {len(ids):,}" if absent else "present"
    return Need(what, str(folder), state, f"{len(there):,} files", source=source)


def _size(path: Path) -> str:
    return _bytes(path.stat().st_size) if path.is_file() else ""


def _bytes(number: float) -> str:
    units = ["B", "kB", "MB", "GB", "TB"]
    while number >= 1000 and len(units) > 1:
        number, units = number / 1000, units[1:]
    return f"{number:.0f} {units[0]}" if number >= 10 or units[0] == "B" else f"{number:.1f} {units[0]}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_bfloat16() -> bool:
    """As far as Linux says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    lines = [headers, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exit status 1 if anything is missing."""
    parser = command_parser("doctor", __doc__)
    parser.add_argument("datasets", nargs="*", help="results/{dataset} or {dataset}; all, if none is named")
    add_configfile(parser)
    given = parser.parse_args(arguments)
    try:
        config = load_config(given.configfile)
        names = [Path(name).name for name in given.datasets] or list(config.datasets)
        print("\n".join(f"{title:<10} {value}" for title, value in machine()))
        complete = True
        for name in names:
            text, whole = report(config, name)
            print(f"\nData set {name}: {'all is there' if whole else 'something is missing'}\n\n{text}")
            complete &= whole
    except UserError as error:
        sys.exit(f"error: {error}")
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
