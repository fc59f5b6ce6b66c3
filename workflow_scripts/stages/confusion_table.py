"""A table of confusion ratios of the systems' masks: for every class and background that comes with it."""

import json
from pathlib import Path

import numpy as np

from workflow_scripts.run.command import Job, run
from workflow_scripts.store.csv_files import mean_and_spread, write_table


def main(job: Job) -> None:
    rows = []
    for row in job.settings.rows:
        scores = [json.loads(Path(path).read_text(encoding="utf-8")) for path in row.scores]
        for pairs in zip(*(found["pairs"] for found in scores), strict=True):
            ratios = np.array([p["mistaken"] / p["found"] if p["found"] else float("nan") for p in pairs])
            entry = {"system": row.system, "mask": row.mask, "split": scores[0]["split"], "class": pairs[0]["of"]}
            entry |= {"background": pairs[0]["context"], "images": pairs[0]["images"], "seeds": len(pairs)}
            rows.append(entry | mean_and_spread("confusion_ratio", ratios, digits=4))
    write_table(job.outputs.table, rows)


if __name__ == "__main__":
    run(main, lists=("scores",), outputs=("table",))
