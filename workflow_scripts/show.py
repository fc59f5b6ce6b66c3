"""Print a table for people: `python -m workflow_scripts.show results/demo/miou.csv`, or tune/eps_crf.csv, saliency.csv, cost.csv."""

import sys

import pandas as pd

COLUMNS = (
    "system",
    "stage",
    "prediction",
    "split",
    "seeds",
    "threshold",
    "threshold_from",
    "miou",
    "miou_std",
    "published",
)


def main(path: str) -> None:
    """Print the columns that hold something; of the table of mIoU, those before the classes."""
    table = pd.read_csv(path, dtype=str).fillna("")
    kept = [name for name in (COLUMNS if set(COLUMNS) <= set(table) else table) if (table[name] != "").any()]
    print(table[kept].to_string(index=False))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m workflow_scripts.show results/{dataset}/miou.csv")
    main(sys.argv[1])
