"""One table of a paper: its rows as printed, what was measured here beside them, and what is missing."""

import itertools
import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from workflow_scripts.evaluation.boundary import precision_recall_f1
from workflow_scripts.evaluation.miou import intersection_over_union, mean_intersection_over_union
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import write
from workflow_scripts.store.csv_files import read_table, write_table

FORMATS = {"miou": "{:.2f}", "boundary": "{:.2f}", "confusion_ratio": "{:.3f}", "cost": "{:.4g}", "mask_ap": "{:.2f}"}


def main(job: Job) -> None:
    settings, rows = job.settings, []
    for row in settings.rows:
        cells = zip(settings.columns, row.cells, strict=True)
        rows.append((row, {name: _values(measure, cell) for (name, measure), cell in cells if cell is not None}))
    table = [_entry(settings, *row) for row in rows]
    write_table(job.outputs.table, table)
    write(job.outputs.text, _text(settings, rows, table))


@cache
def _scores(path: str) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@cache
def _file(path: str) -> pd.DataFrame:
    return read_table(path)


def _values(measure: str, cell: SimpleNamespace) -> np.ndarray:
    """What a cell holds, one value a seed; one alone of what is not measured for every seed."""
    if measure == "cost":
        return np.array([_cost(cell)])
    found = [_scores(path) for path in cell.scores]
    if measure == "mask_ap":
        return 100 * np.array(
            [_average_precision(scores["splits"][cell.split]["classes"], cell.value) for scores in found]
        )
    if measure == "miou":
        return 100 * np.array([_iou(scores["splits"][cell.split], cell) for scores in found])
    if measure == "boundary":
        place = ("precision", "recall", "f1").index(cell.value)
        counts = [list(scores["tolerances"][cell.tolerance].values()) for scores in found]
        return 100 * np.array([precision_recall_f1(np.array(item))[place] for item in counts])
    pairs = [p for scores in found for p in scores["pairs"] if (p["of"], p["context"]) == (cell.of, cell.context)]
    return np.array([pair["mistaken"] / pair["found"] if pair["found"] else float("nan") for pair in pairs])


def _iou(scores: dict, cell: SimpleNamespace) -> float:
    confusion = np.array(scores["confusion"])
    if cell.labelled:
        confusion = confusion[:, :-1]  # the last column counts what was ignored
    return mean_intersection_over_union(confusion) if cell.of is None else intersection_over_union(confusion)[cell.of]


def _cost(cell: SimpleNamespace) -> float:
    table = _file(cell.file)
    row = table[table["network"] == "classifier"].iloc[0]
    on_gpu = cell.value == "memory_mib" and pd.notna(row["gpu_memory_mib"])
    return float(row["gpu_memory_mib" if on_gpu else cell.value])


def _average_precision(classes: dict[str, dict], value: str) -> float:
    """Mean over the classes that have such instances."""
    found = [scores[value] for scores in classes.values() if scores[value] is not None]
    return float(np.mean(found)) if found else float("nan")


def _entry(settings, row, found: dict[str, np.ndarray]) -> dict:
    """A row of the CSV table: for every measure what was found, its spread, what is printed, and the difference."""
    entry: dict = {"method": row.method, "system": "; ".join(row.systems) or None}
    seeds = 0
    for (name, measure), printed in zip(settings.columns, row.printed, strict=True):
        if measure == "text":
            entry[name] = printed
            continue
        form, values = FORMATS[measure].format, found.get(name)
        if values is not None and not np.isfinite(values).all():  # a class or a background that nobody found
            values = None
        mean = float(values.mean()) if values is not None else None
        entry[name] = form(mean) if values is not None else None
        entry[f"{name} std"] = form(values.std(ddof=1)) if values is not None and len(values) > 1 else None
        entry[f"{name} published"] = printed
        comparable = values is not None and printed is not None and settings.dataset == settings.of
        entry[f"{name} difference"] = form(mean - printed) if comparable else None
        seeds = max(seeds, len(values) if values is not None else 0)
    return entry | {
        "seeds": str(seeds) if seeds else None,
        "source": settings.source,
        "missing": "; ".join(row.missing) or None,
    }


def _text(settings, rows: list, table: list[dict]) -> str:
    """The table for people, as Markdown."""
    here, of = settings.dataset, settings.of
    lines = [f"### {settings.title}", "", f"Published: {settings.source}, on {of}. Measured: {here}."]
    if here != of:
        lines[-1] += " Other images, so the order of the methods can be compared, not the figures."
    header, rule = ["method", "system"], ["---", "---"]
    for name, measure in settings.columns:
        header += [name] if measure == "text" else [name, f"{name}, published"] + ["difference"] * (here == of)
        rule += ["---"] if measure == "text" else ["--:"] * (2 + (here == of))
    lines += ["", _line(header), _line(rule)]
    for entry in table:
        cells = [entry["method"], entry["system"]]
        for name, measure in settings.columns:
            value, spread = entry[name], entry.get(f"{name} std")
            cells.append(f"{value} ± {spread}" if spread else value)
            if measure != "text":
                cells.append(entry[f"{name} published"])
                cells += [entry[f"{name} difference"]] * (here == of)
        lines.append(_line(["" if cell is None else str(cell) for cell in cells]))
    places = [place for place, (_, measure) in enumerate(settings.columns) if measure != "text"]
    notes = [note for place in places if (note := _order(settings.columns[place][0], place, rows))]
    absent = {what: None for row, _ in rows for what in row.missing}
    notes += [f"Missing: {'; '.join(absent)}."] if absent else []
    return "\n".join([*lines, *(["", *(f"* {note}" for note in notes)] if notes else [])]) + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _order(name: str, place: int, rows: list) -> str | None:
    """In how many pairs of methods the one that is better in the paper is better here."""
    held, broken = 0, []
    for (first, found), (second, other) in itertools.combinations(rows, 2):
        printed = [row.printed[place] for row in (first, second)]
        if first.place != second.place or None in printed or name not in found or name not in other:
            continue
        published, here = printed[1] - printed[0], float(other[name].mean() - found[name].mean())
        if published and np.isfinite(here):
            if published * here > 0:
                held += 1
            else:
                broken.append(f"{first.method} {'below' if published > 0 else 'above'} {second.method}")
    if not held + len(broken):
        return None
    tail = f", not for {', '.join(broken)}" if broken else ""
    return f"{name}: the published order holds in {held} of {held + len(broken)} pairs{tail}."


if __name__ == "__main__":
    run(main, lists=("scores", "tables"), outputs=("table", "text"))
