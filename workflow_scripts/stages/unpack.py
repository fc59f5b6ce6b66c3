"""Unpack the named members of an archive beside a list of them, after its checksum was found right."""

import json
from pathlib import Path

from workflow_scripts.data.readers.archives import unpack
from workflow_scripts.data.readers.download import check, pinned
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import write


def main(job: Job) -> None:
    settings = job.settings
    archive = Path(job.inputs.archive or settings.path)
    check(archive, pinned(settings.checksum, archive, f"archives.{settings.archive}.checksum"))
    manifest = Path(job.outputs.manifest)
    files = unpack(archive, manifest.with_suffix(""), settings.members, settings.unpacked)
    write(manifest, json.dumps({"files": files}, indent=0) + "\n")
    print(f"{settings.archive}: {len(files)} files, {sum(size for size, *_ in files.values()) >> 20} MiB")


if __name__ == "__main__":
    run(main, inputs=("archive",), outputs=("manifest",))
