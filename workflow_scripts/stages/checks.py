"""List what is suspicious in a data set, a line a check, and show pictures of it."""

from workflow_scripts.data.checks import by_check, first_ids, read_findings, summary
from workflow_scripts.data.index import Images, Index, read_index
from workflow_scripts.data.index_entries import Finding
from workflow_scripts.look import pictures
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, write
from workflow_scripts.store.csv_files import write_table

MOST_PICTURES = 4  # of a check


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    findings = [finding for path in job.inputs.findings for finding in read_findings(path)]
    findings += trained_and_scored(index, settings.train, settings.evaluation)
    found = by_check(findings)
    rows = [{"check": name, "count": len(ids), "first": first_ids(ids)} for name, ids in found.items()]
    write_table(job.outputs.checks, rows, ["check", "count", "first"])
    for line in summary(findings):
        print(line)
    images = Images(index, job.inputs.images)
    truth = Reader(job.inputs.truth, "truth", settings.dataset) if job.inputs.truth else None
    blocks = [_block(name, ids, images, truth) for name, ids in found.items()]
    title = f"{settings.dataset}: {len(found) or 'no'} check{'s' * (len(found) != 1)} found something"
    write(job.outputs.picture, pictures.png(pictures.montage(title, blocks, index.classes)))


def trained_and_scored(index: Index, train: str, evaluation: list[str]) -> list[Finding]:
    """Images of the training split that predictions are scored on, too."""
    scored = {identifier for split in evaluation for identifier in index.split(split)}
    return [Finding("trained_and_scored", identifier) for identifier in index.split(train) if identifier in scored]


def _block(name: str, found: dict[str, list[str]], images: Images, truth: Reader | None) -> pictures.Block:
    """A row for each of the first images: the image with its boxes, and its mask; none for classes and columns."""
    index, rows = images.index, []
    for identifier in [identifier for identifier in found if identifier in index.row][:MOST_PICTURES]:
        image, labels = images.read(identifier), index.classes_of(identifier)
        cells = [pictures.image_cell(image, labels, index.boxes_of(identifier), index.classes)]
        if truth and identifier in truth:
            cells.append(pictures.label_cell(image, truth.read(identifier)["label"], index.classes))
        rows.append(pictures.Row([identifier, *found[identifier]], cells))
    columns = ["image and boxes", "truth"][: max((len(row.cells) for row in rows), default=0)]
    return pictures.Block(f"{name} ({len(found)}): {first_ids(found)}", columns, rows)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "truth"), lists=("findings",), outputs=("checks", "picture"))
