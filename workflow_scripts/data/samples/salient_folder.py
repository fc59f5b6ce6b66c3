"""A folder of photographs and a folder of their saliency masks, as DUTS has them, checked whole before training."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.progress import progress
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.readers.images import read_image, read_photograph, read_saliency

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}
FAINT = 128  # a mask has some value above this, or none at all


class Folder:
    """Photographs with a mask of the same name, sorted; `names` are those without their endings."""

    def __init__(self, images: str, masks: str, oriented: bool = True, threads: int = 1):
        """Check every pair in so many threads; `oriented` says whether EXIF orientations are applied.

        Raises:
            UserError: all faults together: no such folder, no photographs, a photograph or mask alone or twice, a file
                that cannot be read, a mask of another size, or one whose values are not 0 to 255.
        """
        faults = Faults()
        found = {what: _files(Path(path), what, faults) for what, path in (("images", images), ("masks", masks))}
        for name in sorted(found["images"].keys() - found["masks"].keys()):
            faults.add(
                f"{found['images'][name]}: has no mask {name}.png in {masks}; add it or take the photograph away"
            )
        for name in sorted(found["masks"].keys() - found["images"].keys()):
            faults.add(f"{found['masks'][name]}: has no photograph in {images}; add it or take the mask away")
        self.oriented = oriented
        self.names = sorted(found["images"].keys() & found["masks"].keys())
        self.paths = [(found["images"][name], found["masks"][name]) for name in self.names]
        with ThreadPoolExecutor(threads) as pool:
            for messages in progress(
                pool.map(lambda pair: list(_faults(pair[0], pair[1], oriented)), self.paths), len(self.paths), "checked"
            ):
                for message in messages:
                    faults.add(message)
        faults.raise_if_any(f"{images} and {masks}")

    def read(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Image, uint8 (H, W, 3) RGB, and mask, uint8 (H, W)."""
        image, mask = self.paths[position]
        return read_image(image, self.oriented), read_saliency(mask, self.oriented)


def _files(folder: Path, what: str, faults: Faults) -> dict[str, Path]:
    """Files by name without ending."""
    if not folder.is_dir():
        faults.add(f"{folder}: no such folder; put the {what} of DUTS-TR there or name another under data.{what}")
        return {}
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in (SUFFIXES if what == "images" else {".png"}):
            continue
        if path.stem in files:
            faults.add(f"{path}: {files[path.stem].name} has the same name; keep one of them")
        files[path.stem] = path
    if not files:
        faults.add(f"{folder}: holds no {'photographs' if what == 'images' else 'PNG masks'}; copy the {what} there")
    return files


def _faults(image: Path, mask: Path, oriented: bool) -> Iterator[str]:
    try:
        (pixels, orientation), saliency = read_photograph(image, oriented), read_saliency(mask, oriented)
    except UserError as error:
        yield str(error)
        return
    if pixels.shape[:2] != saliency.shape:
        (height, width), (rows, columns) = pixels.shape[:2], saliency.shape
        yield f"{mask}: the mask is {rows} x {columns}, its photograph {height} x {width} (H x W); copy both again"
        if orientation > 4 and (rows, columns) == (width, height):
            yield f"{image}: has an EXIF orientation; set data.orientation to {'stored' if oriented else 'shown'} if the mask fits then"
    if 0 < saliency.max() < FAINT:
        yield f"{mask}: greatest value {saliency.max()}, expected 255 on what is salient; multiply the mask"
