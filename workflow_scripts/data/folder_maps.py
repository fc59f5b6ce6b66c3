"""Maps that other code made, brought to the form of our own: the classes of each image, at one size and in one range."""

from collections.abc import Collection, Sequence
from types import SimpleNamespace

import numpy as np
import torch

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index import Index
from workflow_scripts.data.maps import normalised, stored_size, upsampled
from workflow_scripts.data.readers.map_files import BACKGROUND, MapFiles

ROUNDING = 1e-3  # of the greatest value: as much below 0 is taken for 0
GREATEST = 65504  # of float16
FEW = 3


class FolderMaps:
    """The maps of a data set's images, and what was found on the way.

    Args:
        block: of the maps, rule `folder`.
        index: of the data set.
    """

    def __init__(self, block: SimpleNamespace, index: Index):
        self.block, self.index = block, index
        self.files = MapFiles(block.path, index.classes, block.classes or index.classes, index.row)
        self.images = self.maps = self.resized = self.empty = self.absent = self.without = 0
        self.range = (np.inf, -np.inf)
        self.left_out: dict[str, int] = {}  # maps of classes that their image does not show

    def read(self, identifier: str) -> dict[str, np.ndarray] | str:
        """`classes`, `scores` and, if it is kept, `background` of an image, as the stage `cams` stores them; or what is wrong with it."""
        try:
            return self._read(identifier)
        except UserError as error:
            return str(error)

    def told(self, ids: Collection[str]) -> str:
        """What was found, in one line."""
        low, high = self.range if self.maps else (0, 0)
        unused = len(self.files) - sum(identifier in self.files for identifier in ids) + self.files.unused
        rest = [
            (self.resized, "of another size than the image's or the stored one, resized"),
            (self.empty, "zero everywhere"),
            (self.absent, "absent, taken as zero"),
            (sum(self.left_out.values()), f"of classes that their image does not show, left out{_few(self.left_out)}"),
            (self.without, "images of no class, without a file"),
            (unused, "files or images in it not used"),
        ]
        more = "".join(f"; {count} {what}" for count, what in rest if count)
        return f"{self.block.path}: {self.maps} maps of {self.images} images, values from {low:.4g} to {high:.4g}{more}"

    def _read(self, identifier: str) -> dict[str, np.ndarray]:
        classes, size = self.index.classes_of(identifier), self.index.size_of(identifier)
        labels = [self.index.classes[number] for number in classes]
        shape = stored_size(*size, self.block.resolution)
        self.images += 1
        wanted = [*labels, *([BACKGROUND] if self.block.background else [])]
        found = self._found(identifier, labels, wanted)
        where = f"{self.block.path}: {identifier!r}"
        if lacking := [name for name in wanted if name not in found]:
            if self.block.missing == "refuse" or BACKGROUND in lacking:
                raise UserError(
                    f"{where}: no map of {', '.join(map(repr, lacking))}; add it{self._hint(labels, found)}"
                )
            self.absent += len(lacking)
        layers = [
            _fitted(self._checked(found[name], f"{where}, {name}", size), size, shape)
            if name in found
            else np.zeros(shape, np.float32)
            for name in wanted
        ]
        scores = np.stack(layers[: len(labels)]) if labels else np.zeros((0, *shape))
        arrays = {"classes": classes, "scores": scores.astype(np.float16)}
        return arrays | ({BACKGROUND: layers[-1].astype(np.float16)} if self.block.background else {})

    def _found(self, identifier: str, labels: Sequence[str], wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The maps that are wanted, by class."""
        if identifier not in self.files:
            if labels and self.block.missing == "refuse":
                raise UserError(
                    f"{self.block.path}: no maps of {identifier!r}, which shows {', '.join(labels)}; add "
                    f"{identifier}.npy, or say `missing: zero`"
                )
            self.without += not labels
            return {}
        found: dict[str, np.ndarray] = {}
        for name, values in self.files.read(identifier, labels):
            if name not in wanted:
                self.left_out[name] = self.left_out.get(name, 0) + 1
            elif name in found:
                raise UserError(f"{self.block.path}: {identifier!r}: two maps of {name!r}; keep one")
            else:
                found[name] = values
        return found

    def _hint(self, labels: Sequence[str], found: Collection[str]) -> str:
        """What may be the reason that maps lack."""
        names, others = list(self.files.names), set(found) | set(self.left_out)
        after = [names[number + 1] for number in map(names.index, labels) if number + 1 < len(names)]
        if after and set(after) <= others and BACKGROUND not in names:
            return f", or say `classes: [{BACKGROUND}, ...]` if 0 is the background there"
        return ", or say `missing: zero`, or `classes` if they are counted otherwise"

    def _checked(self, values, where: str, size: tuple[int, int]) -> np.ndarray:
        """A map as float32 (h, w), >= 0, in the range that the block asks for."""
        layer = np.asarray(values)
        layer = layer[0] if layer.ndim == 3 and len(layer) == 1 else layer
        if layer.ndim != 2 or layer.dtype.kind not in "biuf":
            raise UserError(f"{where}: not a map of numbers (height, width); save it again")
        if not layer.size:
            raise UserError(f"{where}: an empty map; save it again")
        layer = layer.astype(np.float32)
        if not np.isfinite(layer).all():
            raise UserError(f"{where}: has values that are not finite; save it again")
        if not self.block.stretched and not _alike(layer.shape, size):
            shown = " x ".join(map(str, layer.shape))
            raise UserError(
                f"{where}: is {shown}, its image {size[0]} x {size[1]} (H x W), of another shape; save the map of the whole image, "
                "or say `stretched: true` if the image was made square for it"
            )
        low, high = float(layer.min()), float(layer.max())
        self.range = min(self.range[0], low), max(self.range[1], high)
        self.maps += 1
        self.empty += low == high == 0
        stored = stored_size(*size, self.block.resolution)
        self.resized += layer.shape not in (size, stored)
        if self.block.normalise == "min_max":
            return (layer - low) / (high - low + 1e-8)  # 1e-8 as in the code of MCTformer
        if self.block.normalise is None and low < -ROUNDING * abs(high):
            raise UserError(
                f"{where}: has values from {low:.4g}; say `normalise: maximum` if these count as 0, or `normalise: min_max`"
            )
        if self.block.normalise is None and high > GREATEST:
            raise UserError(f"{where}: has values up to {high:.4g}, above {GREATEST}; say `normalise: maximum`")
        layer = layer.clip(min=0)
        return normalised(layer[None])[0] if self.block.normalise else layer


def _alike(shape: Sequence[int], size: Sequence[int]) -> bool:
    """Whether a map may be of the whole image at some scale: sides are rounded up or down."""
    (h, w), (height, width) = shape, size
    return abs(h - w * height / width) <= 1 or abs(w - h * width / height) <= 1


def _fitted(layer: np.ndarray, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """A map at the size that is stored: bilinear to the image's size, then the mean over each cell, as our own maps."""
    if layer.shape == shape:
        return layer
    if layer.shape != size:
        (layer,) = upsampled(layer[None], *size)
    return torch.nn.functional.interpolate(torch.from_numpy(layer)[None, None], shape, mode="area")[0, 0].numpy()


def _few(counts: dict[str, int]) -> str:
    most = sorted(counts, key=lambda name: -counts[name])[:FEW]
    return f" (most of {', '.join(most)})" if most else ""
