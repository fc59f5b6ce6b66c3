"""Files that a data set's jobs take from the network, or from local copies: what, where from, how large, and whereto."""

from dataclasses import dataclass

from workflow_scripts.config import blocks, systems
from workflow_scripts.config.outputs import output_path
from workflow_scripts.config.resolve import Config


@dataclass(frozen=True)
class Fetched:
    """One file; `url` is None where a local copy is used, `size` in bytes and `unpacked` where they are known."""

    name: str
    url: str | None
    checksum: str | None
    size: int | None
    unpacked: int | None
    path: str


def fetched(config: Config, dataset: str) -> list[Fetched]:
    """The archives of a data set, and the initial weights by URL of what its systems are made from."""
    files = []
    for name in config.dataset(dataset).archives:
        archive = config.archive(name)
        path = archive.path or output_path("archives", archive=name)
        url = None if archive.path else archive.url
        files.append(Fetched(name, url, archive.checksum, archive.size, archive.unpacked, path))
    trained = {"classifier": "classifiers", "affinity": "affinities", "segmenter": "segmenters"}
    for system in config.dataset(dataset).systems:
        for stage, names in systems.chain(config, dataset, system):
            wildcard = stage.removeprefix("train_")
            if wildcard not in trained:
                continue
            initial = config.block(dataset, trained[wildcard], names[wildcard]).initial
            if isinstance(initial, blocks.Download):
                path = output_path("weights", file=initial.file)
                files.append(Fetched(initial.file, initial.url, f"sha256:{initial.sha256}", None, None, path))
    return list(dict.fromkeys(files))
