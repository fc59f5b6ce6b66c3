"""Which images the splits of a data set have, as far as it is known before the data set is indexed."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.listings import listed_ids, table_rows
from workflow_scripts.config.resolve import order_splits
from workflow_scripts.config.types import datasets

Ids = list[str | tuple[str, int]]  # names, or the number of an image in a list that is not there yet


def known_members(data: datasets.Dataset) -> dict[str, Ids | None]:
    """Ids of the splits by name, those of a limit alone; None for a split that nothing is known of.

    A list that is not there yet, or takes long to read (COCO's), stands for as many images as the split must have. Of a
    part of a split the first images are taken, as many as there will be.
    """
    found: dict[str, Ids | None] = {}
    lengths = {split.ids: split.count for split in data.splits.values() if split.ids and split.count and not split.sbd}
    for name in order_splits(data.splits, "datasets"):
        split = data.splits[name]
        if split.of is None:
            found[name] = _own(data, name, lengths)
            continue
        whole, less = found[split.of], found[split.without] if split.without else []
        if whole is None or less is None:
            found[name] = None
        else:
            taken = set(less)
            found[name] = [identifier for identifier in whole if identifier not in taken][: split.first]
    return found


def emptied(data: datasets.Dataset) -> list[str]:
    """Splits that no image is left for, under the limit of the data set."""
    return [name for name, ids in known_members(data).items() if ids == []]


def _own(data: datasets.Dataset, name: str, lengths: dict[str, int]) -> Ids | None:
    """Ids of a split that is not a part of another, within the limit."""
    split = data.splits[name]
    if isinstance(data, datasets.SyntheticDataset):
        return [(name, number) for number in range(min(split.images, data.limit or split.images))]
    try:
        if isinstance(data, datasets.CsvDataset):
            (_, header), *rows = table_rows(Path(data.table))
            if split.ids:
                place = header.index("split")
                rows = [row for row in rows if row[1][place] == split.ids]
            place = header.index("id")
            return [cells[place] for _, cells in rows[: data.limit]]
        return list(dict.fromkeys(_listed(data, split, lengths)))
    except (UserError, ValueError, IndexError, KeyError):  # its stage tells what is wrong
        return None


def _listed(data: datasets.Dataset, split: datasets.Split, lengths: dict[str, int]) -> Iterator[str | tuple[str, int]]:
    """Ids of the lists of a split, of each the first `limit`; a KeyError where one is not there and its length is not known."""
    if isinstance(data, datasets.CocoDataset):
        yield from islice(((split.ids, number) for number in range(lengths[split.ids])), data.limit)
        return
    root = Path(split.root or data.root)
    for path, length in [(root / split.ids, lengths.get(split.ids)), *((Path(data.sbd) / s, None) for s in split.sbd)]:
        if path.is_file():
            yield from (identifier for _, identifier in listed_ids(path)[: data.limit])
        elif length is not None:
            yield from islice(((split.ids, number) for number in range(length)), data.limit)
        else:
            raise KeyError(str(path))
