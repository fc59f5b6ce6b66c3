"""Class-less salient objects, to train a small saliency network on: it stands where the field uses DUTS.

Shape families, textures and palettes are all different from those of the labelled scenes, so that a network trained
here knows nothing of their classes; what carries over is that an object is closed and stands out from its surroundings.
"""

import math

import numpy as np

from workflow_scripts.data.synthetic.synthetic_drawing import (
    HEIGHT,
    WIDTH,
    Surface,
    composite,
    generator,
    jitter,
    noise,
    photograph,
    pick,
    tint,
)

MINIMUM_SALIENT = 120  # visible pixels (about 1 % of the image) of the objects together

# Red, green, blue.
PALETTES = {
    "dye": ((160, 44, 110), (36, 140, 132), (232, 122, 60), (88, 60, 150), (240, 206, 88)),
    "enamel": ((30, 52, 98), (238, 236, 228), (200, 40, 60), (20, 20, 28), (74, 160, 90)),
    "clay": ((178, 98, 70), (214, 178, 150), (120, 80, 72), (86, 70, 66), (232, 220, 204)),
    "moss": ((66, 88, 44), (112, 134, 96), (158, 170, 130), (48, 62, 50), (190, 186, 150)),
    "slate": ((70, 78, 92), (112, 122, 134), (158, 164, 168), (42, 46, 54), (196, 198, 194)),
    "dusk": ((116, 84, 108), (176, 130, 126), (84, 74, 112), (216, 176, 146), (60, 58, 84)),
}
BACKDROPS = ("clay", "moss", "slate", "dusk", "slate", "moss", "clay", "dusk", "dye", "enamel")  # mostly muted


def cells(rng: np.random.Generator) -> np.ndarray:
    """Voronoi cells, each of its own shade."""
    count = int(rng.integers(20, 70))
    points = (rng.uniform(0, 1, (count, 2)) * (HEIGHT, WIDTH)).astype(np.float32)
    coarse = np.mgrid[:HEIGHT:2, :WIDTH:2].reshape(2, -1).T.astype(np.float32)
    distance = (points**2).sum(1) - 2 * coarse @ points.T  # squared distance up to a constant of the pixel
    shades = rng.normal(0, 1, count).astype(np.float32)[distance.argmin(1)].reshape(HEIGHT // 2, WIDTH // 2)
    return shades.repeat(2, 0).repeat(2, 1)


def weave(rng: np.random.Generator) -> np.ndarray:
    """Two crossing gratings, as of cloth."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    cosine, sine = math.cos(angle), math.sin(angle)
    along, across = columns * cosine + rows * sine, rows * cosine - columns * sine
    return np.sin(along * (2 * np.pi / rng.uniform(3, 9))) + np.sin(across * (2 * np.pi / rng.uniform(3, 9)))


def checks(rng: np.random.Generator) -> np.ndarray:
    """A turned chessboard, worn."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    angle, size = rng.uniform(0, np.pi), rng.uniform(4, 12)
    cosine, sine = math.cos(angle), math.sin(angle)
    along, across = columns * cosine + rows * sine, rows * cosine - columns * sine
    light = (along // size + across // size) % 2 == 0
    return np.where(light, np.float32(0.9), np.float32(-0.9)) + 0.5 * noise(rng, 20, 26)


def marble(rng: np.random.Generator) -> np.ndarray:
    """Veins: the level lines of a noise field."""
    return np.cos(rng.uniform(3, 7) * noise(rng, 4, 5, 3)) * 1.4


def smoke(rng: np.random.Generator) -> np.ndarray:
    """Soft clouds over five octaves."""
    return noise(rng, 3, 4, 5)


def scratches(rng: np.random.Generator) -> np.ndarray:
    """Short straight scratches on a smooth plate."""
    surface = Surface((0, 0, 0))
    for _ in range(int(rng.integers(15, 45))):
        x, y, turn, reach = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(0, np.pi), rng.uniform(3, 12)
        surface.stroke([(x, y), (x + reach * np.cos(turn), y + reach * np.sin(turn))], rng.uniform(0.7, 1.6), (0, 0, 0))
    return 2.2 * surface.layers()[1] - 0.5 + 0.3 * noise(rng, 40, 50)


TEXTURES = {"cells": cells, "weave": weave, "checks": checks, "marble": marble, "smoke": smoke, "scratches": scratches}


def _outline(radius: np.ndarray, turn: np.ndarray, squeeze: float) -> np.ndarray:
    return np.stack([radius * np.cos(turn), squeeze * radius * np.sin(turn)], 1)


def pebble(rng: np.random.Generator) -> list[np.ndarray]:
    """A smooth closed curve: a few random Fourier terms of the radius."""
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    waves = sum(rng.normal(0, 0.26 / order) * np.cos(order * turn + rng.uniform(0, 6.3)) for order in range(2, 7))
    return [_outline(np.clip(0.45 + 0.45 * waves, 0.12, 0.7), turn, rng.uniform(0.45, 1))]


def star(rng: np.random.Generator) -> list[np.ndarray]:
    """A star, or a regular polygon where the inner radius comes close to the outer."""
    points = int(rng.integers(3, 9))
    turn = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False)
    return [_outline(np.where(np.arange(2 * points) % 2, rng.uniform(0.2, 0.42), 0.5), turn, rng.uniform(0.5, 1))]


def blossom(rng: np.random.Generator) -> list[np.ndarray]:
    """Rounded petals around a middle, or a cog."""
    turn = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    petals = np.cos(int(rng.integers(3, 10)) * turn)
    if rng.random() < 0.4:
        petals = np.tanh(6 * petals)
    return [_outline(0.4 + rng.uniform(0.06, 0.14) * petals, turn, rng.uniform(0.6, 1))]


def crescent(rng: np.random.Generator) -> list[np.ndarray]:
    """A sickle between two arcs."""
    half, depth, thick = rng.uniform(0.9, 1.9), rng.uniform(0.4, 0.5), rng.uniform(0.22, 0.45)
    turn = np.linspace(-half, half, 30)
    inner = depth - thick * np.cos(turn / half * np.pi / 2)
    return [np.concatenate([_outline(np.full(30, depth), turn, 1), _outline(inner, turn, 1)[::-1]])]


def coral(rng: np.random.Generator) -> list[np.ndarray]:
    """A trunk with a few tapering arms: thin parts joined to a thick one."""
    parts = [_outline(np.full(30, rng.uniform(0.18, 0.3)), np.linspace(0, 6.28, 30), rng.uniform(0.5, 1))]
    for direction in rng.uniform(0, 2 * np.pi, int(rng.integers(2, 7))):
        bend, reach, thick = rng.uniform(-0.5, 0.5), rng.uniform(0.35, 0.6), rng.uniform(0.04, 0.1)
        way = np.linspace(0, 1, 8)
        spine = reach * way[:, None] * np.stack([np.cos(direction + bend * way), np.sin(direction + bend * way)], 1)
        side = np.array([-np.sin(direction), np.cos(direction)]) * (thick * (1.1 - 0.8 * way))[:, None]
        parts.append(np.concatenate([spine + side, (spine - side)[::-1]]))
    return parts


def shards(rng: np.random.Generator) -> list[np.ndarray]:
    """A cluster of overlapping irregular splinters."""
    parts = []
    for _ in range(int(rng.integers(2, 6))):
        turn = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(4, 7))))
        splinter = _outline(rng.uniform(0.18, 0.42, turn.size), turn, rng.uniform(0.5, 1))
        parts.append(splinter + rng.uniform(-0.15, 0.15, 2))
    return parts


SHAPES = {"pebble": pebble, "star": star, "blossom": blossom, "crescent": crescent, "coral": coral, "shards": shards}


def render_salient(seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Render picture `number`: a pure function of its arguments.

    Returns the image, uint8 (96, 128, 3), and the mask, uint8 (96, 128), 1 on salient objects.
    """
    rng = generator("salient", seed, number)
    while True:
        image = _backdrop(rng)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for _ in range(1 + int(rng.random() < 0.4)):
            length = rng.uniform(*((22, 36), (36, 64), (64, 110))[int(rng.choice(3, p=(0.2, 0.35, 0.45)))])
            x, y = rng.uniform(0.1, 0.9) * WIDTH, rng.uniform(0.15, 0.85) * HEIGHT
            mask |= _place(rng, image, x, y, length, opacity=1.0) > 0.5
        if mask.sum() >= MINIMUM_SALIENT:
            return photograph(rng, image), mask


def _fill(rng: np.random.Generator, palette: str, strength: float) -> np.ndarray:
    """Fill the image with a colour of a palette under a texture: float32 (96, 128, 3)."""
    colour = jitter(rng, pick(rng, PALETTES[palette]), 24)
    return tint(colour, TEXTURES[pick(rng, list(TEXTURES))](rng), strength).astype(np.float32)


def _backdrop(rng: np.random.Generator) -> np.ndarray:
    """One to three textured regions with wandering borders, open bands, and faint clutter."""
    palette = pick(rng, BACKDROPS)
    image = _fill(rng, palette, rng.uniform(0.03, 0.12))
    rows, columns = np.mgrid[-0.5 : 0.5 : HEIGHT * 1j, -0.5 : 0.5 : WIDTH * 1j].astype(np.float32)
    for _ in range(int(rng.integers(0, 3))):
        turn = rng.uniform(0, 2 * np.pi)
        level = (math.cos(turn) * columns + math.sin(turn) * rows) * 100 + rng.uniform(0, 6) * noise(rng, 3, 4)
        other = palette if rng.random() < 0.5 else pick(rng, BACKDROPS)
        start = rng.uniform(-30, 30)
        region = np.clip(level - start, 0, 1)
        if rng.random() < 0.35:  # a band from edge to edge: strong contrast, yet not closed, so not an object
            region = region * np.clip(start + rng.uniform(3, 18) - level, 0, 1)
        composite(image, _fill(rng, other, rng.uniform(0.03, 0.12)), region)
    for _ in range(int(rng.integers(0, 5))):
        x, y, length = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(10, 50)
        _place(rng, image, x, y, length, rng.uniform(0.15, 0.35), palette)
    return image


def _place(
    rng: np.random.Generator,
    image: np.ndarray,
    x: float,
    y: float,
    length: float,
    opacity: float,
    palette: str | None = None,
) -> np.ndarray:
    """Paint one object, sometimes with parts of a second colour, onto the image; return its opacity (96, 128)."""
    palette = palette or pick(rng, list(PALETTES))
    around = image[np.clip(int(y), 0, HEIGHT - 1), np.clip(int(x), 0, WIDTH - 1)]
    options = [jitter(rng, pick(rng, PALETTES[palette]), 24) for _ in range(4)]
    main = max(options, key=lambda option: float(np.abs(option - around).sum())) if opacity == 1 else options[0]
    second = jitter(rng, pick(rng, PALETTES[palette]), 24)
    surface = Surface(main, x, y, length, rng.uniform(0, 2 * np.pi), mirrored=rng.random() < 0.5)
    parts = SHAPES[pick(rng, list(SHAPES))](rng)
    for index, part in enumerate(parts):
        surface.polygon(part, second if index and rng.random() < 0.4 else main, True)
    if rng.random() < 0.5:  # markings inside the outline
        for _ in range(int(rng.integers(1, 4))):
            inset = parts[0] * rng.uniform(0.15, 0.6) + (parts[0].mean(0) * rng.uniform(0.2, 0.6))
            surface.polygon(inset, second, rng.random() < 0.5)
    colour, alpha, textured = surface.layers()
    field = TEXTURES[pick(rng, list(TEXTURES))](rng)
    composite(image, colour * (1 + rng.uniform(0.04, 0.2) * (textured * field)[..., None]), alpha * opacity)
    return alpha
