"""The built-in data set: small labelled scenes rendered from a seed, with every kind of truth a study needs.

The scenes stage what weakly supervised segmentation struggles with:
  * the classes of a family share body, coat and texture; only a small part tells them apart (see `synthetic_objects`);
  * some backgrounds occur only with one class (`CONTEXTS`), with truth, so that confusion ratios can be measured
    (EPS, Lee et al., CVPR 2021);
  * small objects, several objects and classes in one image, overlaps, occluders, unlabelled look-alikes of the bodies,
    colours shared by objects and grounds, uneven light and sensor noise.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter

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
from workflow_scripts.data.synthetic.synthetic_objects import (
    CLASSES,
    COATS,
    GROUNDS,
    PALETTES,
    SHAPES,
    TEXTURES,
    VEHICLES,
)

MINIMUM_VISIBLE = 30  # pixels; an object of which less is seen is neither painted nor labelled
LABEL_SHARES = (0.56, 0.36, 0.08)  # of images with 1, 2, 3 classes
COUNT_SHARES = (0.72, 0.22, 0.06)  # of classes with 1, 2, 3 objects in an image
CONTEXT_SHARE = 0.85  # of images of a class that show its context


@dataclass(frozen=True)
class Context:
    """A background that occurs only with one class; its value in `Scene.context` is its place in `CONTEXTS` plus 1."""

    name: str
    class_name: str


CONTEXTS = (Context("rails", "train"), Context("water", "boat"), Context("branch", "bird"))


@dataclass(frozen=True)
class Scene:
    """One image with its truth. All maps are uint8 (96, 128).

    Attributes:
        image: uint8 (96, 128, 3), red, green, blue.
        mask: 0 background, class index + 1, 255 on the one-pixel void border around objects.
        instances: 0 background, 1..M from back to front; void pixels are 0.
        context: 0 none, k for `CONTEXTS[k - 1]`; 0 where an object or an occluder covers it.
        boxes: float32 (M, 5), row i for instance i + 1: x0, y0 inclusive, x1, y1 exclusive, in pixels, tight around
            the visible pixels; then the class index.
        labels: class indices present, ascending.
    """

    image: np.ndarray
    mask: np.ndarray
    instances: np.ndarray
    context: np.ndarray
    boxes: np.ndarray
    labels: tuple[int, ...]


@dataclass(frozen=True)
class _Object:
    """A placed object: x of its middle, row of its feet, length in pixels, and its drawn layers."""

    name: str
    x: float
    base: float
    length: float
    colour: np.ndarray  # (H, W, 3)
    alpha: np.ndarray  # (H, W)


def render_scene(seed: int, split: str, number: int) -> Scene:
    """Render scene `number` of a split: a pure function of its arguments, in any order and in any process."""
    rng = generator("scene", seed, split, number)
    while True:
        image, horizon = _backdrop(rng)
        objects, contexts = _arrange(rng, image, horizon)
        occluder = _occluder(rng)
        hidden = occluder[1] > 0.5 if occluder else np.zeros((HEIGHT, WIDTH), bool)
        visible = np.bincount(_stack(objects, hidden).ravel(), minlength=len(objects) + 1)[1:]
        objects = [item for item, pixels in zip(objects, visible, strict=True) if pixels >= MINIMUM_VISIBLE]
        if objects:
            break

    instances = _stack(objects, hidden)
    classes = np.array([CLASSES.index(item.name) for item in objects])
    context = np.zeros((HEIGHT, WIDTH), np.uint8)
    for value, kind in enumerate(CONTEXTS, start=1):
        shown = [item for item in objects if item.name == kind.class_name]
        if kind.name in contexts and shown:
            context[_PAINT_CONTEXT[kind.name](rng, image, horizon, shown) > 0.5] = value
    for item in objects:
        if item.name != "boat" and not (item.name == "bird" and "branch" in contexts):
            _shadow(image, item)
        composite(image, item.colour, item.alpha)
    if occluder:
        composite(image, *occluder)
    context[(instances > 0) | hidden] = 0

    mask = np.concatenate([[0], classes + 1]).astype(np.uint8)[instances]
    # VOC marks a border that the annotators were not asked to place; here it lies outside the object, so that thin
    # parts keep their class.
    mask[(instances == 0) & (maximum_filter(instances, size=3) > 0)] = 255
    return Scene(
        photograph(rng, image),
        mask,
        instances,
        context,
        _boxes(instances, classes),
        tuple(int(index) for index in np.unique(classes)),
    )


def _stack(objects: list[_Object], hidden: np.ndarray) -> np.ndarray:
    """Return the instance map (96, 128) of objects laid over each other in order, 0 where the occluder hides them."""
    instances = np.zeros((HEIGHT, WIDTH), np.uint8)
    for index, item in enumerate(objects, start=1):
        instances[item.alpha > 0.5] = index
    instances[hidden] = 0
    return instances


def _boxes(instances: np.ndarray, classes: np.ndarray) -> np.ndarray:
    boxes = np.zeros((len(classes), 5), np.float32)
    for index, class_index in enumerate(classes):
        rows, columns = np.nonzero(instances == index + 1)
        boxes[index] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, class_index
    return boxes


# ---- backdrop ----------------------------------------------------------------------------------------------------


def _backdrop(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return a background without objects (96, 128, 3) and the row of its horizon."""
    ground = pick(rng, GROUNDS)
    image = _surface_of(rng, ground, pick(rng, list(TEXTURES)))
    rows = np.arange(HEIGHT, dtype=np.float32)[:, None]
    horizon = rng.uniform(16, 52) if rng.random() < 0.7 else 0.0
    if horizon:
        outdoors = rng.random() < 0.6
        texture = pick(rng, ["ripples", "patches", "grain"] if outdoors else ["masonry", "bands", "patches", "strands"])
        above = _surface_of(rng, "sky" if outdoors else pick(rng, GROUNDS), texture)
        edge = horizon + (2.5 if outdoors else 0.0) * noise(rng, 2, 5)
        composite(image, above, np.clip(edge - rows + 0.5, 0, 1))
    for _ in range(int(rng.integers(0, 4))):  # look-alikes of the bodies, in the colours of the place
        _clutter(rng, image, horizon, ground)
    for _ in range(int(rng.integers(6, 22))):  # tufts, stones, leaves
        _speck(rng, image, horizon, ground)
    return image, horizon


def _surface_of(rng: np.random.Generator, palette: str, texture: str) -> np.ndarray:
    """Fill the image with two colours of a palette, mixed in large soft areas, and a texture."""
    colours = PALETTES[palette]
    mixing = np.clip(0.5 + 0.5 * noise(rng, 3, 1 if palette == "sky" else 4), 0, 1)[..., None]
    base = jitter(rng, pick(rng, colours), 14) * mixing + jitter(rng, pick(rng, colours), 14) * (1 - mixing)
    strength = rng.uniform(0.03, 0.07) if palette == "sky" else rng.uniform(0.06, 0.15)
    return (base * (1 + strength * TEXTURES[texture](rng)[..., None])).astype(np.float32)


def _clutter(rng: np.random.Generator, image: np.ndarray, horizon: float, ground: str) -> None:
    shape = pick(rng, ["house", "mound", "mound"])
    base = horizon + rng.uniform(0, 8) if shape == "house" else rng.uniform(max(horizon, 16), HEIGHT)
    colour = jitter(rng, pick(rng, PALETTES[ground]), 22)
    surface = Surface(colour, rng.uniform(0, WIDTH), base, rng.uniform(22, 54))
    SHAPES[shape](surface, rng, shape, colour)
    paint, alpha, textured = surface.layers()
    paint = paint * (1 + 0.14 * (textured * TEXTURES[pick(rng, COATS)](rng))[..., None])
    composite(image, paint, alpha * rng.uniform(0.45, 0.85))  # haze: part of the place, not an object


def _speck(rng: np.random.Generator, image: np.ndarray, horizon: float, ground: str) -> None:
    x, y = rng.integers(0, WIDTH - 6), rng.integers(int(horizon), HEIGHT - 4)
    wide, tall = rng.integers(1, 6), rng.integers(1, 5)
    area = image[y : y + tall, x : x + wide]
    area += 0.5 * (jitter(rng, pick(rng, PALETTES[ground]), 40) - area)


# ---- objects -----------------------------------------------------------------------------------------------------


def _arrange(rng: np.random.Generator, image: np.ndarray, horizon: float) -> tuple[list[_Object], set[str]]:
    """Draw the objects of a scene, back to front, and choose the contexts that their classes bring along."""
    number = 1 + int(rng.choice(len(LABEL_SHARES), p=LABEL_SHARES))
    names = [CLASSES[index] for index in rng.permutation(len(CLASSES))[:number]]
    contexts = {kind.name for kind in CONTEXTS if kind.class_name in names and rng.random() < CONTEXT_SHARE}
    shore = rng.uniform(max(horizon + 12, 46), 84)  # row of the boats' feet
    track = rng.uniform(max(horizon + 6, 40), 90)  # row of the trains' feet
    placed: list[_Object] = []
    for name in names:
        for _ in range(1 + int(rng.choice(len(COUNT_SHARES), p=COUNT_SHARES))):
            length = _length(rng) * (1.0 if name in VEHICLES else 1.15)  # animals are the shorter bodies
            if name == "boat":
                base = shore + rng.uniform(-4, 4)
            elif name == "train":
                base = track
            elif name == "bird" and "branch" in contexts:
                base = rng.uniform(max(24, 0.7 * length), 84)
            else:
                front = shore - 5 if "water" in contexts and rng.random() < 0.8 else 92  # mostly on the far bank
                base = rng.uniform(min(max(horizon + 8, 0.75 * length), front - 4), front)
            # Of a few places take the one farthest from the others: crowded, yet rarely one upon the other.
            places = rng.uniform(0.3 * length, WIDTH - 0.3 * length, 3)  # the frame may cut an end off
            x = max(places, key=lambda place: min((abs(place - item.x) for item in placed), default=0))
            placed.append(_draw(rng, name, float(x), base, length, image))
    return sorted(placed, key=lambda item: item.base), contexts


def _length(rng: np.random.Generator) -> float:
    """Draw the length of an object in pixels: small, middling or large."""
    low, high = ((16, 25), (26, 46), (46, 88))[int(rng.choice(3, p=(0.26, 0.27, 0.47)))]
    return rng.uniform(low, high)


def _draw(rng: np.random.Generator, name: str, x: float, base: float, length: float, image: np.ndarray) -> _Object:
    family = "vehicle" if name in VEHICLES else "animal"
    row, column = np.clip((base - 0.3 * length, x), 0, (HEIGHT - 1, WIDTH - 1)).astype(int)
    body = _body_colour(rng, family, image[row, column])
    turn = rng.uniform(-0.06, 0.06) if family == "vehicle" else rng.uniform(-0.15, 0.15)
    surface = Surface(body, x, base, length, turn, mirrored=rng.random() < 0.5)
    SHAPES[family](surface, rng, name, body)
    colour, alpha, textured = surface.layers()
    rows = (np.arange(HEIGHT, dtype=np.float32)[:, None] - base) / length  # lit from above
    shade = rng.uniform(0.06, 0.16) * TEXTURES[pick(rng, COATS)](rng) - rng.uniform(0, 0.5) * (rows + 0.3)
    return _Object(name, x, base, length, colour * (1 + textured * np.clip(shade, -0.6, 0.6))[..., None], alpha)


def _body_colour(rng: np.random.Generator, family: str, behind: np.ndarray) -> np.ndarray:
    """Choose a coat or a paint, now and then a colour of some ground; mostly one that differs from what is behind."""
    own = PALETTES["paint" if family == "vehicle" else "coat"]
    palettes = [own if rng.random() < 0.7 else PALETTES[pick(rng, GROUNDS)] for _ in range(4)]
    options = [jitter(rng, pick(rng, palette), 26) for palette in palettes]
    if rng.random() < 0.15:
        return options[0]
    return max(options, key=lambda option: float(np.abs(option - behind).sum()))


def _shadow(image: np.ndarray, item: _Object) -> None:
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    distance = ((columns - item.x) / (0.45 * item.length)) ** 2 + ((rows - item.base) / (0.08 * item.length + 1)) ** 2
    image *= (1 - 0.35 * np.exp(-distance))[..., None].astype(np.float32)


def _occluder(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Draw, in one image of four, something in front of everything: a pole, a fence, or tall stalks.

    Returns its colour (96, 128, 3) and opacity (96, 128).
    """
    if rng.random() > 0.25:
        return None
    colour = jitter(rng, pick(rng, PALETTES[pick(rng, GROUNDS)]), 20) * 0.8
    surface = Surface(colour)
    kind, x = pick(rng, ("pole", "fence", "stalks")), rng.uniform(15, WIDTH - 15)
    if kind == "pole":
        surface.stroke([(x, -2), (x + rng.uniform(-4, 4), HEIGHT + 2)], rng.uniform(2.5, 6), colour)
    if kind == "fence":
        top = rng.uniform(60, 82)
        for rail in (top + 3, top + 11):
            surface.stroke([(0, rail), (WIDTH, rail + 1)], 1.6, colour)
        for post in np.arange(rng.uniform(0, 14), WIDTH, rng.uniform(12, 20)):
            surface.stroke([(post, top), (post, top + 18)], 2.2, colour * 0.9)
    if kind == "stalks":
        for _ in range(int(rng.integers(8, 20))):
            foot = x + rng.normal(0, 14)
            tip = (foot + rng.uniform(-9, 9), HEIGHT - rng.uniform(14, 46))
            surface.stroke([(foot, HEIGHT), tip], rng.uniform(1.0, 2.4), jitter(rng, colour, 24))
    return surface.layers()[:2]


# ---- contexts ----------------------------------------------------------------------------------------------------


def _paint_rails(rng: np.random.Generator, image: np.ndarray, horizon: float, trains: list[_Object]) -> np.ndarray:
    """Lay a track across the image under the trains; return its opacity (96, 128)."""
    base = trains[0].base
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    rows = rows - base + rng.uniform(-0.03, 0.03) * (columns - trains[0].x)
    width = rng.uniform(6, 10)
    bed = np.clip(rows + 4, 0, 1) * np.clip(width + 2 - rows, 0, 1)
    ballast = jitter(rng, pick(rng, PALETTES[pick(rng, ("stone", "sand"))]), 12)
    composite(image, tint(ballast, TEXTURES["grain"](rng), 0.16), bed)
    sleepers = (columns + 0.6 * rows) % rng.uniform(5, 8) < 2.5
    inside = np.clip(rows + 3, 0, 1) * np.clip(width - rows, 0, 1)
    composite(image, jitter(rng, (84, 64, 52), 14), 0.8 * sleepers * inside)
    for rail in (-1.0, width - 3):
        line = np.clip(1.5 - np.abs(rows - rail), 0, 1)
        composite(image, jitter(rng, (168, 166, 166), 20), line)
    return bed


def _paint_water(rng: np.random.Generator, image: np.ndarray, horizon: float, boats: list[_Object]) -> np.ndarray:
    """Put water around the boats, to the front of the image or to the horizon; return its opacity (96, 128)."""
    bases = [boat.base for boat in boats]
    rows = np.arange(HEIGHT, dtype=np.float32)[:, None]
    wave = 1.5 * noise(rng, 3, 5)
    if rng.random() < 0.6:
        top, bottom = min(bases) - rng.uniform(4, 14), HEIGHT + 8.0
    else:
        top, bottom = max(horizon, min(bases) - 30), max(bases) + rng.uniform(3, 10)
    alpha = np.clip(rows - top - wave, 0, 1) * np.clip(bottom + wave - rows, 0, 1)
    colours = PALETTES["water"]
    depth = np.clip((rows - top) / 50, 0, 1)[..., None]
    colour = jitter(rng, pick(rng, colours), 16) * depth + jitter(rng, pick(rng, colours), 24) * (1 - depth)
    composite(image, colour * (1 + rng.uniform(0.08, 0.18) * TEXTURES["ripples"](rng)[..., None]), alpha)
    return alpha


def _paint_branch(rng: np.random.Generator, image: np.ndarray, horizon: float, birds: list[_Object]) -> np.ndarray:
    """Put a leafy branch under the feet of each bird; return its opacity (96, 128)."""
    bark = jitter(rng, (96, 74, 56), 22)
    leaf = jitter(rng, pick(rng, PALETTES["meadow"]), 22)
    surface = Surface(bark)
    for bird in birds:
        reach, thick = bird.length * rng.uniform(0.7, 1.4), max(1.8, bird.length * rng.uniform(0.05, 0.09))
        bend = rng.uniform(-0.2, 0.2, 2) * reach
        ends = np.array([(-reach, bend[0]), (0, thick / 2), (reach, bend[1])]) + (bird.x, bird.base)
        surface.stroke(ends, thick, bark, True)
        for _ in range(int(rng.integers(3, 8))):
            side = 2 * int(rng.integers(2))
            x, y = ends[1] + (ends[side] - ends[1]) * rng.uniform(0.35, 1)
            size = bird.length * rng.uniform(0.05, 0.1) + 0.8
            surface.ellipse(
                x,
                y + rng.uniform(-1.5, 1.5) * size,
                1.7 * size,
                0.8 * size,
                jitter(rng, leaf, 16),
                True,
                rng.uniform(-1, 1),
            )
    colour, alpha, textured = surface.layers()
    composite(image, colour * (1 + 0.15 * (textured * TEXTURES["grain"](rng))[..., None]), alpha)
    return alpha


_PAINT_CONTEXT = {"rails": _paint_rails, "water": _paint_water, "branch": _paint_branch}
