"""Draw the table of mIoU: the classes of every system's masks, and the systems from stage to stage."""

import pandas as pd

from workflow_scripts.artifacts import replaced
from workflow_scripts.chart_plots import class_bars, stage_lines
from workflow_scripts.command import Job, run


def main(job: Job) -> None:
    table = pd.read_csv(job.inputs.miou)
    table = table[table["miou"].notna()]
    names = ["background", *job.settings.classes]
    masks = table[(table["stage"] == "mask") & (table["system"] != "truth")]
    bars = {
        name: {row["system"]: row[name] for _, row in masks.iterrows() if pd.notna(row[name])}
        for name in ["miou", *names]
    }
    bars = {"mean" if name == "miou" else name: found for name, found in bars.items() if found}
    lines: dict[str, dict] = {}
    splits: dict[str, list[str]] = {}
    for _, row in table.iterrows():  # of several predictions of one stage, the last
        spread = row["miou_std"] if pd.notna(row["miou_std"]) else 0.0
        lines.setdefault(row["system"], {})[row["stage"]] = (row["miou"], spread)
        splits.setdefault(row["stage"], []).append(row["split"])
    splits = {stage: list(dict.fromkeys(found)) for stage, found in splits.items()}
    with replaced(job.outputs.classes) as temporary:
        temporary.write_bytes(class_bars(bars, "IoU of the pseudo masks, %"))
    with replaced(job.outputs.stages) as temporary:
        temporary.write_bytes(stage_lines(lines, splits))


if __name__ == "__main__":
    run(main, inputs=("miou",), outputs=("classes", "stages"))
