"""Download initial weights that a block names by URL and checksum."""

from workflow_scripts.data.readers.download import download
from workflow_scripts.run.command import Job, run


def main(job: Job) -> None:
    download(job.settings.url, job.settings.sha256, job.outputs.weights)


if __name__ == "__main__":
    run(main, outputs=("weights",))
