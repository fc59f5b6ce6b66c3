"""Draw the table of mIoU: the classes of every system's masks, and the systems from stage to stage."""

import pandas as pd

from workflow_scripts.look.chart_plots import class_bars, stage_lines
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import write
from workflow_scripts.store.csv_files import class_column, read_table


def main(job: Job) -> None:
    table = read_table(job.inputs.miou)
    table = table[table["miou"].notna()]
    classes = [(name, class_column("iou", name)) for name in job.settings.classes]
    masks = table[(table["stage"] == "mask") & (table["system"] != "truth")]
    panels = [
        (title, {row["system"]: row[column] for _, row in masks.iterrows() if pd.notna(row[column])})
        for title, column in [("mean", "miou"), ("background", "background"), *classes]
    ]
    lines: dict[str, dict] = {}
    splits: dict[str, list[str]] = {}
    for _, row in table.iterrows():  # of several predictions of one stage, the last
        spread = row["miou_std"] if pd.notna(row["miou_std"]) else 0.0
        lines.setdefault(row["system"], {})[row["stage"]] = (row["miou"], spread)
        splits.setdefault(row["stage"], []).append(row["split"])
    splits = {stage: list(dict.fromkeys(found)) for stage, found in splits.items()}
    write(job.outputs.classes, class_bars([panel for panel in panels if panel[1]], "IoU of the pseudo masks, %"))
    write(job.outputs.stages, stage_lines(lines, splits))


if __name__ == "__main__":
    run(main, inputs=("miou",), outputs=("classes", "stages"))
