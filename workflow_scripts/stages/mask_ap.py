"""The table of instance segmentation: one row a system and stage, mean and spread over seeds, in percent."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.artifacts import replaced
from workflow_scripts.command import Job, run
from workflow_scripts.evaluation.mask_ap import MEASURES


def main(job: Job) -> None:
    settings, rows = job.settings, []
    for row in settings.rows:
        splits = [json.loads(Path(path).read_text())["splits"][row.split] for path in row.scores]
        entry = {name: getattr(row, name) for name in ("system", "stage", "network", "split")}
        entry |= {name: splits[0][name] for name in ("images", "instances")} | {"seeds": len(splits)}
        for measure in MEASURES:
            values = np.array([[_number(part[measure]) for part in split["classes"].values()] for split in splits])
            entry[measure] = _mean(np.nanmean(values, axis=1)) if np.isfinite(values).any() else None
            if measure == "ap" and len(splits) > 1:
                entry["ap_std"] = f"{np.nanmean(values, axis=1).std(ddof=1):.2f}"
            elif measure == "ap":
                entry["ap_std"] = None
        published = vars(row.published[0]) if row.published else {}
        entry |= {f"published_{measure}": published.get(measure) for measure in MEASURES}
        entry |= {"source": published.get("source")}
        for name in settings.classes:
            entry[name] = _mean(np.array([_number(split["classes"][name]["ap"]) for split in splits]))
        rows.append(entry)
    with replaced(job.outputs.mask_ap) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")


def _number(value: float | None) -> float:
    return np.nan if value is None else 100 * value


def _mean(values: np.ndarray) -> str | None:
    return f"{values.mean():.2f}" if np.isfinite(values).all() else None


if __name__ == "__main__":
    run(main, lists=("scores",), outputs=("mask_ap",))
