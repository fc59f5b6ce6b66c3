"""Fetch an archive that the configuration names by URL and checksum."""

import os
from pathlib import Path

from workflow_scripts.data.readers.download import check, download, pinned
from workflow_scripts.run.command import Job, run


def main(job: Job) -> None:
    settings, path = job.settings, Path(job.outputs.archive)
    kept = path.with_name(f".{path.name}.unpinned")  # what was fetched before its checksum was known
    if settings.checksum is None and not kept.exists():
        download(settings.url, None, kept)
    if kept.exists():
        check(kept, pinned(settings.checksum, kept, f"archives.{settings.archive}.checksum"))
        os.replace(kept, path)
    else:
        download(settings.url, settings.checksum, path)


if __name__ == "__main__":
    run(main, outputs=("archive",))
