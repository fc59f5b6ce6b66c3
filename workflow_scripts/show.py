"""Print a table for people: `python -m workflow_scripts.show results/demo/miou.csv`, or tune/eps_crf.csv, saliency.csv, cost.csv."""

import sys

import pandas as pd

from workflow_scripts.errors import UserError

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


def show(path: str) -> str:
    """The columns that hold something; of the table of mIoU, those before the classes.

    Raises:
        UserError: there is no such file, or it is no table.
    """
    try:
        table = pd.read_csv(path, dtype=str).fillna("")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `snakemake --cores 2 {path}` makes a table of the results") from None
    except (OSError, ValueError) as error:  # pandas' own are among them
        raise UserError(f"{path}: cannot be read as a table ({error})") from None
    kept = [name for name in (COLUMNS if set(COLUMNS) <= set(table) else table) if (table[name] != "").any()]
    return table[kept].to_string(index=False)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m workflow_scripts.show results/{dataset}/miou.csv")
    try:
        print(show(sys.argv[1]))
    except UserError as error:
        sys.exit(f"error: {error}")
