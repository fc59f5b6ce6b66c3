"""Types of the papers' tables: columns, rows as printed, and which systems of a data set stand beside them."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, NonNegativeFloat, Tag, model_validator

from workflow_scripts.config.types.parts import Block, Name, nearest

OWN_COLUMNS = {"method", "system", "seeds", "source", "missing"}


class MiouColumn(Block):
    """Mean IoU, percent, of one stage of a system; with `of`, the IoU of that class."""

    measure: Literal["miou"] = "miou"
    stage: Literal["cam", "mask", "mask_labelled", "segmentation", "segmentation_crf"]
    split: Name | None = Field(None, description="null: the split that masks are scored on, as `splits` has it")
    prediction: Name | None = Field(None, description="null: the system's last one of that stage")
    of: str | None = Field(None, description="class; null: mean over the classes")


class BoundaryColumn(Block):
    """Precision, recall or F1 of the boundaries of a system's masks, percent."""

    measure: Literal["boundary"]
    value: Literal["recall", "precision", "f1"]
    tolerance: NonNegativeFloat = Field(description="distance, share of the image's diagonal")


class ConfusionColumn(Block):
    """How many pixels of a background are taken for a class, for each pixel of the class that is found."""

    measure: Literal["confusion_ratio"]
    of: str = Field(description="class")
    context: dict[Name, str] = Field(description="name of the background, by data set")


class CostColumn(Block):
    """Of the classifier of a system."""

    measure: Literal["cost"]
    value: Literal["macs_g", "parameters_m", "images_per_second", "hours", "memory_mib"] = Field(
        description="memory: of the GPU where it is used"
    )


class MaskApColumn(Block):
    """Average precision of instance masks, percent; the systems of its table are instance systems."""

    measure: Literal["mask_ap"]
    stage: Literal["instances", "detections"] = Field(description="masks made of boxes, or found by a network")
    value: Literal["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"]


def _column_tag(data) -> str:
    if isinstance(data, str):
        return "text"
    return (data.get("measure") if isinstance(data, dict) else data.measure) or "miou"


Column = Annotated[
    Annotated[Literal["text"], Tag("text")]
    | Annotated[MiouColumn, Tag("miou")]
    | Annotated[BoundaryColumn, Tag("boundary")]
    | Annotated[ConfusionColumn, Tag("confusion_ratio")]
    | Annotated[CostColumn, Tag("cost")]
    | Annotated[MaskApColumn, Tag("mask_ap")],
    Discriminator(_column_tag),
]


class Table(Block):
    """A table of a paper: its rows are quoted, systems of a data set are measured and stand beside them."""

    title: str
    source: str = Field(description="paper and number of the table")
    dataset: Name = Field(description="that the quoted figures are of")
    columns: tuple[Annotated[dict[str, Column], Field(min_length=1, max_length=1)], ...] = Field(
        description="in the paper's order, each {its name: text, or what is measured}"
    )
    rows: tuple[tuple[str | float | None, ...], ...] = Field(
        description="a method and its cells, as printed; null: none given"
    )
    systems: dict[Name, dict[str, tuple[Name | dict[str, Name], ...]]] = Field(
        default_factory=dict,
        description="by data set and method: systems, each a row; or a system for each column, together a row",
    )
    splits: dict[Name, Name] = Field(
        default_factory=dict, description="by data set: split of masks, where it is another"
    )

    def named_columns(self) -> dict[str, Any]:
        """The columns by name, in order."""
        return {name: column for item in self.columns for name, column in item.items()}

    @property
    def kind(self) -> str:
        """Of which kind its systems are."""
        named = any(isinstance(column, MaskApColumn) for column in self.named_columns().values())
        return "instance_systems" if named else "systems"

    @model_validator(mode="after")
    def _fits(self) -> "Table":
        columns, methods = self.named_columns(), [row[0] for row in self.rows]
        if len(columns) < len(self.columns):
            raise ValueError("columns: a name is given twice")
        if own := OWN_COLUMNS & columns.keys():
            raise ValueError(f"columns: {', '.join(sorted(own))} is a column that every table has, name it otherwise")
        for row in self.rows:
            if len(row) != len(columns) + 1:
                raise ValueError(f"rows: {row[0]!r} has {len(row) - 1} cells, expected {', '.join(columns)}")
            for cell, (name, column) in zip(row[1:], columns.items(), strict=True):
                if cell is not None and isinstance(cell, str) != (column == "text"):
                    raise ValueError(f"rows: {row[0]!r}: {name} is {cell!r}, expected {_expected(column)}")
        if len(set(methods)) < len(methods):
            raise ValueError("rows: a method is listed twice")
        for dataset, named in self.systems.items():
            for method, systems in named.items():
                if method not in methods:
                    raise ValueError(f"systems.{dataset}: no row {method!r}, {nearest(method, methods)}")
                for column in (key for item in systems if isinstance(item, dict) for key in item):
                    if column not in columns:
                        raise ValueError(
                            f"systems.{dataset}.{method}: no column {column!r}, {nearest(column, columns)}"
                        )
        return self


def _expected(column) -> str:
    return "a text" if column == "text" else "a number"
