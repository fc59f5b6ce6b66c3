"""The table: one row per system and stage, mean and spread over seeds; and what the systems were given."""

import json
from pathlib import Path

import numpy as np

from workflow_scripts.evaluation.groups import mean_iou_of_counts
from workflow_scripts.evaluation.miou import intersection_over_union, mean_intersection_over_union
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.csv_files import class_column, mean_and_spread, write_table


def main(job: Job) -> None:
    settings = job.settings
    read = {path: json.loads(Path(path).read_text()) for path in job.inputs.scores}
    columns = ["background", *(class_column("iou", name) for name in settings.classes)]
    rows, groups = [], []
    for row in settings.rows:
        if not row.scores:  # a split that an evaluation server scores
            rows.append(_unscored(row))
            continue
        scores = [read[path] for path in row.scores]
        splits = [score["splits"][row.split] for score in scores]
        confusions = [np.array(split["confusion"]) for split in splits]
        if row.stage == "mask_labelled":
            confusions = [confusion[:, :-1] for confusion in confusions]  # the last column counts what was ignored
        per_seed = 100 * np.array([mean_intersection_over_union(confusion) for confusion in confusions])
        classes = 100 * np.array([intersection_over_union(confusion) for confusion in confusions])
        occurs = confusions[0].sum(axis=1) > 0
        published = row.published[0] if row.published else None
        entry = {
            "system": row.system,
            "stage": row.stage,
            "prediction": getattr(row, "prediction", None),
            "split": row.split,
            "images": splits[0]["images"],
            "seeds": len(scores),
            "threshold": _threshold(row, [*scores, *(read[path] for path in getattr(row, "threshold_in", []))]),
            "threshold_from": getattr(row, "threshold_from", None),
            **mean_and_spread("miou", per_seed),
            "published": published.miou if published else None,
            "source": published.source if published else None,
        }
        rows.append(
            entry | {name: f"{classes[:, k].mean():.2f}" if occurs[k] else None for k, name in enumerate(columns)}
        )
        if row.stage == "mask_labelled":
            continue
        where = {name: entry[name] for name in ("system", "stage", "prediction", "split")}
        groups += [where | group for group in _groups(splits)]
    write_table(job.outputs.miou, rows)
    write_table(job.outputs.groups, groups)
    write_table(job.outputs.inputs, [_given(item, [read[path] for path in item.scores]) for item in settings.inputs])


def _unscored(row) -> dict:
    names = ("system", "stage", "prediction", "split")
    published = row.published[0] if row.published else None
    about = {"published": published.miou if published else None, "source": published.source if published else None}
    return {name: getattr(row, name, None) for name in names} | about


def _threshold(row, scores: list[dict]) -> str | None:
    values = [score["threshold"] for score in scores if "threshold" in score]
    if not values and getattr(row, "threshold", None) is not None:
        values = [row.threshold]
    return ";".join(f"{value:g}" for value in dict.fromkeys(values)) or None


def _groups(splits: list[dict]) -> list[dict]:
    """Mean IoU by number of labels (background included) and by size of the object (object classes alone)."""
    rows = []
    for kind, measure in (("by_labels", mean_intersection_over_union), ("by_size", mean_iou_of_counts)):
        for name in splits[0][kind]:
            values = 100 * np.array([measure(np.array(split[kind][name])) for split in splits])
            if np.isfinite(values).all():
                group = {"group_by": kind.removeprefix("by_"), "group": name}
                rows.append(group | mean_and_spread("miou", values))
    return rows


def _given(item, scores: list[dict]) -> dict:
    """One row of what the systems were given: saliency maps and classifiers."""
    row: dict = {"kind": item.kind, "name": item.name, "seeds": len(scores)}
    if item.kind == "saliency":
        split, values = next(iter(scores[0]["splits"].items()))
        row |= {"split": split, "images": values["images"]}
        measures = ("foreground_iou", "mean_absolute_error", "max_f_measure", "adaptive_f_measure")
        row |= {name: f"{values[name]:.4f}" for name in measures}
        return row
    precision = np.array([score["mean_average_precision"] for score in scores], float)
    row |= {"split": scores[0]["split"], "images": scores[0]["images"]}
    return row | mean_and_spread("mean_average_precision", precision, digits=4)


if __name__ == "__main__":
    run(main, lists=("scores",), outputs=("miou", "groups", "inputs"))
