"""The table of instance segmentation: one row a system and stage, mean and spread over seeds, in percent."""

import json
from pathlib import Path

import numpy as np

from workflow_scripts.evaluation.mask_ap import MEASURES
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.csv_files import class_column, mean_and_spread, write_table


def main(job: Job) -> None:
    settings, rows = job.settings, []
    for row in settings.rows:
        splits = [json.loads(Path(path).read_text())["splits"][row.split] for path in row.scores]
        entry = {name: getattr(row, name) for name in ("system", "stage", "network", "split")}
        entry |= {name: splits[0][name] for name in ("images", "instances")} | {"seeds": len(splits)}
        for measure in MEASURES:
            values = np.array([[_number(part[measure]) for part in split["classes"].values()] for split in splits])
            entry |= mean_and_spread(measure, _over_classes(values))
        published = vars(row.published[0]) if row.published else {}
        entry |= {f"published_{measure}": published.get(measure) for measure in MEASURES}
        entry |= {"source": published.get("source")}
        for name in settings.classes:
            values = np.array([_number(split["classes"][name]["ap"]) for split in splits])
            entry[class_column("ap", name)] = mean_and_spread("ap", values)["ap"]
        rows.append(entry)
    write_table(job.outputs.mask_ap, rows)


def _number(value: float | None) -> float:
    return np.nan if value is None else 100 * value


def _over_classes(values: np.ndarray) -> np.ndarray:
    """Means over the classes that have such instances; NaN where none has."""
    counted = np.isfinite(values).any(axis=0)
    return values[:, counted].mean(axis=1) if counted.any() else np.full(len(values), np.nan)


if __name__ == "__main__":
    run(main, lists=("scores",), outputs=("mask_ap",))
