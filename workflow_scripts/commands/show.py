"""Print a table for people: the columns that hold something.

    wsss show results/demo/miou.csv

Any table of the results will do, such as tune/eps_crf.csv, saliency.csv or cost.csv.
"""

from collections.abc import Sequence

from workflow_scripts.base.errors import UserError
from workflow_scripts.commands.command_line import command_parser
from workflow_scripts.store.csv_files import read_table

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
        table = read_table(path, dtype=str).fillna("")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `snakemake --cores 2 {path}` makes a table of the results") from None
    except (OSError, ValueError) as error:  # pandas' own are among them
        raise UserError(f"{path}: cannot be read as a table ({error})") from None
    kept = [name for name in (COLUMNS if set(COLUMNS) <= set(table) else table) if (table[name] != "").any()]
    return table[kept].to_string(index=False)


def main(arguments: Sequence[str]) -> None:
    """The command line, after the name of the command."""
    parser = command_parser("show", __doc__)
    parser.add_argument("table", help="a table of the results (.csv)")
    given = parser.parse_args(arguments)
    print(show(given.table))
