"""What planning leaves to `doctor`, as it takes longer: which photographs, labels and masks are there, and checksums."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import needs
from workflow_scripts.config.planning.members import known_members
from workflow_scripts.config.planning.needs import PRESENT, Need
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.resolve import Config


def data_needs(config: Config, dataset: str) -> Iterator[Need]:
    """Archives, lists, tables and folders of a data set, and how many of the files that these name are there."""
    data, user = config.dataset(dataset), f"datasets.{dataset}"
    yield from needs.of_data(config, dataset)
    if not all(Path(output_path("unpack", archive=name)).exists() for name in data.archives):
        return
    if data.archives:
        yield from needs.files_of_data(data, user)
    try:
        known = {name: ids or [] for name, ids in known_members(data).items()}
        for what, folder, there in data.present(known):
            yield needs.counted(Need(what, folder, user=user), there)
    except UserError as error:
        yield Need("images", user, "not to be counted", source=str(error).splitlines()[0])


def merged(found: Iterable[Need]) -> list[Need]:
    """Each thing once: a folder with the number of its files, where they are counted, and not without it."""
    every = list(dict.fromkeys(found))
    counts = Counter((need.what, need.path) for need in every)
    return [need for need in every if counts[need.what, need.path] == 1 or need.size or need.state != PRESENT]


def checked(need: Need) -> Need:
    """A file that is there, compared with its checksum, or with the begin of one."""
    if need.state != PRESENT or not need.checksum or not os.path.isfile(need.path):
        return need
    algorithm, _, expected = need.checksum.rpartition(":")
    with open(need.path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if digest.startswith(expected.lower()):
        return need
    return replace(need, state="of another checksum, delete it", way="delete it, and get it again")
