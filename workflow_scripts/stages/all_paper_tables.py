"""All tables of the papers on one page."""

from pathlib import Path

from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import replaced


def main(job: Job) -> None:
    texts = [Path(path).read_text(encoding="utf-8") for path in job.inputs.tables]
    names = [f"`{Path(path).stem}`" for path in job.inputs.tables]
    with replaced(job.outputs.text) as temporary:
        parts = (f"{text}\n{name}\n" for name, text in zip(names, texts, strict=True))
        temporary.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    run(main, lists=("tables",), outputs=("text",))
