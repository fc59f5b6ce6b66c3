"""Neutral drawing helpers of the rendered data sets: seeding, noise, anti-aliased surfaces, compositing, camera.

Nothing here knows a class, a shape family, a texture or a palette: those live in `synthetic_objects` (labelled scenes)
and `synthetic_salient` (class-less set), which share nothing but this module.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

HEIGHT, WIDTH = 96, 128
OVERSAMPLING = 2  # surfaces are drawn this many times larger, then averaged: anti-aliased edges

Colour = Sequence[float] | np.ndarray  # red, green, blue in 0..255


def generator(*key: object) -> np.random.Generator:
    """Return the random generator of a key; equal keys give equal streams in every process."""
    digest = hashlib.sha256("/".join(str(part) for part in key).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def pick(rng: np.random.Generator, options: Sequence):
    """Return one of the options, each equally likely."""
    return options[int(rng.integers(len(options)))]


def noise(rng: np.random.Generator, rows: int, columns: int, octaves: int = 1) -> np.ndarray:
    """Value noise over the image: a coarse random grid, interpolated; each octave is twice as fine, half as strong.

    Returns float32 (96, 128) of mean 0 and standard deviation 1.
    """
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    for octave in range(octaves):
        grid = rng.standard_normal((rows << octave, columns << octave), dtype=np.float32)
        total += np.asarray(Image.fromarray(grid).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) * 0.5**octave
    return (total - total.mean()) / max(float(total.std()), 1e-6)


def jitter(rng: np.random.Generator, colour: Colour, amount: float) -> np.ndarray:
    """Move the brightness of a colour by up to `amount` of 255, and each channel by half as much; float32 (3,)."""
    moved = np.asarray(colour, np.float32) + rng.uniform(-amount, amount) + rng.uniform(-amount, amount, 3) / 2
    return np.clip(moved, 4, 251).astype(np.float32)


def tint(colour: Colour, field: np.ndarray, strength: float) -> np.ndarray:
    """Paint a field of about -2..2, (H, W), as brightness around a colour: float32 (H, W, 3)."""
    return np.asarray(colour, np.float32) * (1 + strength * field[..., None])


def composite(image: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> None:
    """Lay `colour` (H, W, 3) or (3,) over `image` (H, W, 3) in place, with opacity `alpha` (H, W) in 0..1."""
    image += alpha[..., None].astype(np.float32) * (np.asarray(colour, np.float32) - image)


class Surface:
    """A transparent sheet on which one object is drawn in its own units, then placed, turned and mirrored.

    Local coordinates: x to the right, y downwards, the origin put at (`x`, `y`) pixels, one unit = `scale` pixels.
    """

    def __init__(self, fill: Colour, x=0.0, y=0.0, scale=1.0, angle=0.0, mirrored=False):
        size = (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING)
        # The sheet starts in the main colour, so that averaged edges do not darken.
        self._images = [Image.new("RGB", size, _bytes(fill)), Image.new("L", size), Image.new("L", size)]
        self._colour, self._alpha, self._textured = (ImageDraw.Draw(image) for image in self._images)
        cosine, sine = math.cos(angle) * scale * OVERSAMPLING, math.sin(angle) * scale * OVERSAMPLING
        mirror = -1 if mirrored else 1
        self._matrix = np.array([[mirror * cosine, sine], [-mirror * sine, cosine]])  # for row vectors
        self._origin = np.array([x, y]) * OVERSAMPLING
        self._scale = scale * OVERSAMPLING

    def _points(self, points) -> list[tuple[float, float]]:
        return [tuple(point) for point in (np.asarray(points, float) @ self._matrix + self._origin).tolist()]

    def polygon(self, points, colour: Colour, textured: bool = False) -> None:
        """Fill a polygon (N, 2); `textured` parts receive the object's texture, the others stay flat."""
        points = self._points(points)
        self._colour.polygon(points, fill=_bytes(colour))
        self._alpha.polygon(points, fill=255)
        self._textured.polygon(points, fill=255 if textured else 0)

    def stroke(self, points, width: float, colour: Colour, textured: bool = False) -> None:
        """Draw a line through points (N, 2), `width` in local units."""
        points, width = self._points(points), max(1, round(width * self._scale))
        self._colour.line(points, fill=_bytes(colour), width=width, joint="curve")
        self._alpha.line(points, fill=255, width=width, joint="curve")
        self._textured.line(points, fill=255 if textured else 0, width=width, joint="curve")

    def ellipse(self, x, y, radius_x, radius_y, colour: Colour, textured: bool = False, angle: float = 0.0) -> None:
        """Fill an ellipse; `angle` in radians, clockwise on screen."""
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        across, down = radius_x * np.cos(turn), radius_y * np.sin(turn)
        cosine, sine = math.cos(angle), math.sin(angle)
        outline = np.stack([x + across * cosine - down * sine, y + across * sine + down * cosine], 1)
        self.polygon(outline, colour, textured)

    def box(self, x0, y0, x1, y1, colour: Colour, textured: bool = False) -> None:
        """Fill the rectangle between two corners."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, textured)

    def layers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return colour float32 (96, 128, 3) in 0..255, opacity and textured share, both float32 (96, 128) in 0..1."""
        colour, alpha, textured = (np.asarray(image.reduce(OVERSAMPLING), np.float32) for image in self._images)
        return colour, alpha / 255, textured / 255


def _bytes(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (int(min(max(value, 0), 255)) for value in colour)
    return red, green, blue


def photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Take the picture: uneven light, colour cast, exposure, slight defocus and sensor noise; uint8 (96, 128, 3)."""
    rows, columns = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j].astype(np.float32)
    direction, fall = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25)
    light = 1 + fall * (math.cos(direction) * columns + math.sin(direction) * rows)
    light -= rng.uniform(0, 0.12) * (rows**2 + columns**2)
    image = image * light[..., None] * (rng.uniform(0.72, 1.18) * rng.uniform(0.93, 1.07, 3)).astype(np.float32)
    contrast = rng.uniform(0.8, 1.12)
    image = 110 + contrast * (image - 110)
    image = gaussian_filter(image, (*[rng.uniform(0.25, 0.6)] * 2, 0), truncate=2.5)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(2, 7))
    return np.clip(image, 0, 255).astype(np.uint8)
