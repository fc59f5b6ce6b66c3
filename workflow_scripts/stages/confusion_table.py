"""A table of confusion ratios of the systems' masks: for every class and background that comes with it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.artifacts import replaced
from workflow_scripts.command import Job, run


def main(job: Job) -> None:
    rows = []
    for row in job.settings.rows:
        scores = [json.loads(Path(path).read_text(encoding="utf-8")) for path in row.scores]
        for pairs in zip(*(found["pairs"] for found in scores), strict=True):
            ratios = np.array([p["mistaken"] / p["found"] if p["found"] else float("nan") for p in pairs])
            entry = {"system": row.system, "mask": row.mask, "split": scores[0]["split"], "class": pairs[0]["of"]}
            entry |= {"background": pairs[0]["context"], "images": pairs[0]["images"], "seeds": len(pairs)}
            entry |= {"confusion_ratio": f"{ratios.mean():.4f}" if np.isfinite(ratios).all() else None}
            spread = np.isfinite(ratios).all() and len(ratios) > 1
            rows.append(entry | {"confusion_ratio_std": f"{ratios.std(ddof=1):.4f}" if spread else None})
    with replaced(job.outputs.table) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")


if __name__ == "__main__":
    run(main, lists=("scores",), outputs=("table",))
