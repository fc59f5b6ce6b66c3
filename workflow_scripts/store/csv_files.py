"""Tables as CSV: means over seeds with their spread, written whole or not at all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from workflow_scripts.store.artifacts import replaced


def class_column(measure: str, name: str) -> str:
    """The column of one class, such as `iou.cat`: no other column has a point, so no class takes another's place."""
    return f"{measure}.{name}"


def mean_and_spread(name: str, values: np.ndarray, digits: int = 2) -> dict[str, str | None]:
    """Two columns, `name` and `{name}_std`: the mean over seeds and its sample standard deviation.

    Both are empty where a seed has no finite value; the second also with a single seed.

    Args:
        values: [seeds].
        digits: after the point.
    """
    known = np.isfinite(values).all()
    return {
        name: f"{values.mean():.{digits}f}" if known else None,
        f"{name}_std": f"{values.std(ddof=1):.{digits}f}" if known and len(values) > 1 else None,
    }


def read_table(path: str, **options) -> pd.DataFrame:
    """A table of the results; an empty cell alone is missing, as a class or a system may be called NA or null."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""], **options)


def write_table(path: str, rows: Sequence[dict], columns: Sequence[str] | None = None) -> None:
    """Write rows that share their columns; a value that is None leaves its cell empty."""
    with replaced(path) as temporary:
        pd.DataFrame(rows, columns=columns).to_csv(temporary, index=False, lineterminator="\n")
