"""Saliency by hand-made detectors alone or fused: no training, no labels.

Every detector is a function of an image, uint8 (H, W, 3) RGB, that gives a map, float (H, W), higher on what stands
out. What is in no way different from the rest is not salient: the map of an image of one colour is zero.
"""

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveInt
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import spsolve

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types.saliency_blocks import Detected
from workflow_scripts.data.otsu import otsu
from workflow_scripts.data.transforms import fitted_size, resized


class HandMadeSaliency(Detected):
    detector: Literal["hand_made"]
    methods: Annotated[
        tuple[
            Literal["border_contrast", "minimum_barrier", "robust_background", "spectral_residual", "fine_grained"], ...
        ],
        Field(min_length=1),
    ] = Field(description="one, or several whose mean is taken")
    side: PositiveInt = Field(description="long side of the image that they see, pixels")
    centred: bool = Field(description="shift Otsu's threshold of each map to half")


SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
FLAT = 1e-6  # a map of less contrast is zero

# Mahalanobis distance of border_contrast
BORDER = 0.1  # width of a border strip, share of the image's side (Zhang et al. 2015)
NOISE = 4.0  # added to the variance of Lab colours, so that a border of one colour has one

BARRIER_PASSES = 3  # over the image in all four directions (Zhang et al. 2015)

# robust_background (Zhu et al. 2014)
CELLS = 28  # along the long side; about as many cells as the paper's superpixels
COLOUR_WIDTH = 10.0  # sigma of geodesic distances, Lab units
BORDER_WIDTH = 1.0  # sigma of boundary connectivity
SPACE_WIDTH = 0.25  # sigma of distances, in lengths of the long side
LEAST_SMOOTHNESS = 0.1  # mu, of neighbours however different


def load(block: SimpleNamespace, weights: None = None) -> Callable[[np.ndarray], np.ndarray]:
    """The function from an image, uint8 (H, W, 3) RGB, to its map, uint8 (H, W), by the `methods` of the block."""

    def detect(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        small = resized(image, *fitted_size(height, width, block.side))
        saliency = np.rint(255 * fused(METHODS[method](small) for method in block.methods)).astype(np.uint8)
        if block.centred:
            saliency = centred(saliency)
        return resized(saliency, height, width)

    return detect


def fused(maps: Iterable[np.ndarray]) -> np.ndarray:
    """The mean of maps that are first stretched to [0, 1], stretched again: float (H, W) in [0, 1]."""
    return stretched(np.mean([stretched(saliency) for saliency in maps], axis=0))


def stretched(saliency: np.ndarray) -> np.ndarray:
    """From the least value at 0 to the greatest at 1; a flat map is 0."""
    least, span = saliency.min(), np.ptp(saliency)
    return (saliency - least) / span if span > FLAT else np.zeros_like(saliency, dtype=np.float64)


def centred(saliency: np.ndarray) -> np.ndarray:
    """A map, uint8, with the levels on either side of Otsu's threshold stretched so that it comes to lie at half."""
    levels = np.interp(np.arange(256), [0, otsu(saliency) + 0.5, 255], [0, 127.5, 255])
    return np.rint(levels).astype(np.uint8)[saliency]


def lab(image: np.ndarray) -> np.ndarray:
    """CIE Lab of sRGB, white point D65: float (H, W, 3), lightness 0 to 100."""
    rgb = image / 255
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    x, y, z = np.moveaxis(linear @ (SRGB_TO_XYZ / SRGB_TO_XYZ.sum(axis=1, keepdims=True)).T, -1, 0)
    x, y, z = (np.where(v > 216 / 24389, np.cbrt(v), v * 841 / 108 + 4 / 29) for v in (x, y, z))
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def border_contrast(image: np.ndarray) -> np.ndarray:
    """Colour distance from the four borders of the image, each a Gaussian of its own.

    The sum of the four Mahalanobis distances less the greatest, so that an object may touch one border (Zhang et al.,
    "Minimum Barrier Salient Object Detection at 80 FPS", ICCV 2015).
    """
    colours = lab(image)
    rows, columns = (max(1, round(side * BORDER)) for side in image.shape[:2])
    strips = (colours[:rows], colours[-rows:], colours[:, :columns], colours[:, -columns:])
    distances = []
    for strip in strips:
        strip = strip.reshape(-1, 3)
        precision = np.linalg.inv(np.cov(strip.T, bias=True) + NOISE * np.eye(3))
        offsets = colours - strip.mean(axis=0)
        distances.append(stretched(np.sqrt(np.einsum("hwi,ij,hwj->hw", offsets, precision, offsets))))
    return np.sum(distances, axis=0) - np.max(distances, axis=0)


def minimum_barrier(image: np.ndarray) -> np.ndarray:
    """Minimum barrier distance from the border, summed over the channels of Lab (Zhang et al., ICCV 2015).

    The barrier of a path is the difference of the greatest and the least value on it. Rows and columns are swept in
    turn, each a vector at a time.
    """
    return sum((_barrier(channel) for channel in np.moveaxis(lab(image), -1, 0)), np.zeros(()))


def _barrier(values: np.ndarray) -> np.ndarray:
    distance = np.full(values.shape, np.inf)
    distance[[0, -1]] = distance[:, [0, -1]] = 0
    highest, lowest = values.copy(), values.copy()
    for _ in range(BARRIER_PASSES):
        for turn in (lambda a: a, np.flipud, np.transpose, lambda a: np.fliplr(a).T):
            turned, far, high, low = (turn(array) for array in (values, distance, highest, lowest))
            for row in range(1, len(turned)):
                upper, lower = np.maximum(high[row - 1], turned[row]), np.minimum(low[row - 1], turned[row])
                nearer = upper - lower < far[row]
                far[row][nearer] = (upper - lower)[nearer]
                high[row][nearer], low[row][nearer] = upper[nearer], lower[nearer]
    return distance


def robust_background(image: np.ndarray) -> np.ndarray:
    """Contrast to what is connected to the border, optimised to be smooth (Zhu et al., CVPR 2014).

    On square cells of the image where the paper has superpixels. A region that touches the border along much of its
    outline is background.
    """
    height, width = image.shape[:2]
    height, width = fitted_size(height, width, CELLS)
    colours = lab(resized(image, height, width)).reshape(-1, 3)
    rows, columns = (place.ravel() for place in np.indices((height, width)))
    border = np.flatnonzero((rows == 0) | (rows == height - 1) | (columns == 0) | (columns == width - 1))
    numbers = np.arange(height * width).reshape(height, width)
    beside = [(numbers[:, :-1], numbers[:, 1:]), (numbers[:-1], numbers[1:]), (numbers[:-1, :-1], numbers[1:, 1:])]
    beside.append((numbers[1:, :-1], numbers[:-1, 1:]))
    one, other = (np.concatenate([pair[side].ravel() for pair in beside]) for side in (0, 1))
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=-1)

    first, second = (border[indices] for indices in np.triu_indices(len(border), 1))
    ends = np.concatenate([one, first]), np.concatenate([other, second])  # the border is connected in itself
    # Neighbours of one colour are at no distance, which a sparse graph would take for no neighbours.
    graph = csr_array((np.maximum(apart[ends], FLAT), ends), shape=apart.shape)
    near = np.exp(-(dijkstra(graph, directed=False) ** 2) / (2 * COLOUR_WIDTH**2))
    connectivity = near[:, border].sum(axis=1) / np.sqrt(near.sum(axis=1))
    background = 1 - np.exp(-(connectivity**2) / (2 * BORDER_WIDTH**2))

    length = max(height, width)
    space = ((rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2) / length**2
    contrast = stretched((apart * np.exp(-space / (2 * SPACE_WIDTH**2))) @ background)
    if not contrast.any():
        return np.zeros(image.shape[:2])

    smooth = np.exp(-(apart[one, other] ** 2) / (2 * COLOUR_WIDTH**2)) + LEAST_SMOOTHNESS
    joined = coo_array((np.r_[smooth, smooth], (np.r_[one, other], np.r_[other, one])), shape=apart.shape).tocsc()
    laplacian = diags_array(joined.sum(axis=1)) - joined
    saliency = spsolve((laplacian + diags_array(background + contrast)).tocsc(), contrast)
    cells = np.rint(255 * stretched(saliency)).astype(np.uint8).reshape(height, width)
    return resized(cells, *image.shape[:2]) / 255


def spectral_residual(image: np.ndarray) -> np.ndarray:
    """What of the amplitude spectrum its neighbourhood does not foretell (Hou and Zhang, CVPR 2007), by OpenCV."""
    return _by_opencv("StaticSaliencySpectralResidual", image)


def fine_grained(image: np.ndarray) -> np.ndarray:
    """Centre-surround differences of intensity at many scales (Montabone and Soto, IVC 2010), by OpenCV."""
    return _by_opencv("StaticSaliencyFineGrained", image)


def _by_opencv(name: str, image: np.ndarray) -> np.ndarray:
    try:
        from cv2 import saliency
    except ImportError:
        raise UserError(
            "the hand-made detectors spectral_residual and fine_grained need OpenCV with its contributed modules; "
            "pip install -r requirements.txt, or take them off the block's methods"
        ) from None
    if not np.ptp(image.reshape(-1, 3), axis=0).any():  # their own answer to one colour is a rim
        return np.zeros(image.shape[:2])
    found, result = getattr(saliency, f"{name}_create")().computeSaliency(np.ascontiguousarray(image[..., ::-1]))
    return np.nan_to_num(result.astype(np.float64)) if found else np.zeros(image.shape[:2])


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "border_contrast": border_contrast,
    "minimum_barrier": minimum_barrier,
    "robust_background": robust_background,
    "spectral_residual": spectral_residual,
    "fine_grained": fine_grained,
}
