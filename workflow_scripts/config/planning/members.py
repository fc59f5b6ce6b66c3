"""Which images the splits of a data set have, as far as it is known before the data set is indexed."""

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.resolve import order_splits
from workflow_scripts.config.types.datasets import Dataset, Id


def known_members(data: Dataset) -> dict[str, list[Id] | None]:
    """Ids of the splits by name, those of a limit alone; None for a split that nothing is known of.

    A list that is not there yet, or takes long to read (COCO's), stands for as many images as the split must have. Of a
    part of a split the first images are taken, as many as there will be.
    """
    found: dict[str, list[Id] | None] = {}
    for name in order_splits(data.splits, "datasets"):
        split = data.splits[name]
        if split.of is None:
            found[name] = _own(data, name)
            continue
        whole, less = found[split.of], found[split.without] if split.without else []
        if whole is None or less is None:
            found[name] = None
        else:
            taken = set(less)
            found[name] = [identifier for identifier in whole if identifier not in taken][: split.first]
    return found


def emptied(data: Dataset) -> list[str]:
    """Splits that no image is left for, under the limit of the data set."""
    return [name for name, ids in known_members(data).items() if ids == []]


def _own(data: Dataset, name: str) -> list[Id] | None:
    """Ids of a split that is not a part of another, within the limit."""
    try:
        return list(dict.fromkeys(data.ids(name)))
    except (UserError, ValueError, LookupError):  # its stage tells what is wrong
        return None
