"""What the labelled scenes are made of: palettes, textures and the two object families.

A family is one body for all its classes, drawn from the same proportions, coats and textures; only small parts (head;
nose, wheels, prow and funnel) tell the class. Classification can therefore be solved without looking at the body.
"""

import math

import numpy as np

from workflow_scripts.data.synthetic.synthetic_drawing import HEIGHT, WIDTH, Surface, jitter, noise, pick

CLASSES = ("train", "boat", "bus", "bird", "cat", "dog")
VEHICLES = ("train", "boat", "bus")

# Red, green, blue. Ground and coat palettes overlap on purpose: no colour threshold separates objects.
PALETTES = {
    "meadow": ((94, 122, 58), (126, 138, 74), (82, 98, 52), (148, 146, 92)),
    "sand": ((188, 164, 124), (164, 138, 100), (204, 186, 150), (140, 116, 86)),
    "stone": ((128, 126, 122), (104, 102, 104), (152, 150, 142), (84, 84, 90)),
    "brick": ((146, 84, 66), (122, 72, 60), (166, 108, 84), (98, 66, 60)),
    "frost": ((206, 210, 214), (182, 190, 198), (224, 222, 216), (160, 168, 178)),
    "sky": ((142, 176, 208), (178, 200, 220), (206, 208, 210), (196, 164, 142), (104, 128, 162)),
    "water": ((74, 112, 138), (96, 132, 140), (112, 128, 136), (58, 86, 104)),
    "coat": ((58, 48, 44), (204, 196, 184), (172, 114, 62), (118, 92, 70), (132, 130, 128), (226, 222, 214)),
    "paint": ((178, 52, 46), (44, 78, 140), (62, 112, 80), (214, 208, 196), (206, 160, 60), (116, 122, 130)),
}
GROUNDS = ("meadow", "sand", "stone", "brick", "frost")


def grain(rng: np.random.Generator) -> np.ndarray:
    """Fine irregular speckle: short fur, gravel, plaster."""
    return 0.7 * noise(rng, HEIGHT // 3, WIDTH // 3) + 0.5 * noise(rng, 6, 8)


def strands(rng: np.random.Generator) -> np.ndarray:
    """Short upright fibres: grass, long fur."""
    return noise(rng, HEIGHT // 6, WIDTH // 2) * 0.8 + 0.5 * noise(rng, 4, 6)


def patches(rng: np.random.Generator) -> np.ndarray:
    """Irregular light and dark patches: piebald fur, foliage, worn plaster."""
    return np.tanh(2.5 * noise(rng, int(rng.integers(7, 13)), int(rng.integers(9, 17)), 2))


def bands(rng: np.random.Generator) -> np.ndarray:
    """Wavering bands: tabby fur, planks, furrows."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(5, 11)
    phase = (rows * math.sin(angle) + columns * math.cos(angle)) * 2 * np.pi / period
    return np.sin(phase + 1.2 * noise(rng, 5, 7)) + 0.3 * noise(rng, 32, 42)


def masonry(rng: np.random.Generator) -> np.ndarray:
    """Courses of bricks with dark joints, each brick of its own shade."""
    tall, wide = int(rng.integers(4, 8)), int(rng.integers(8, 15))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    course = rows // tall
    columns = columns + (course % 2) * (wide // 2) + int(rng.integers(wide))
    shades = rng.normal(0, 0.8, (HEIGHT // tall + 1, WIDTH // wide + 4)).astype(np.float32)
    joints = (rows % tall == 0) | (columns % wide == 0)
    return np.where(joints, np.float32(-1.5), shades[course, columns // wide]) + 0.3 * noise(rng, 32, 42)


def ripples(rng: np.random.Generator) -> np.ndarray:
    """Long flat streaks: waves, clouds."""
    return noise(rng, HEIGHT // 3, 9) + 0.5 * noise(rng, 5, 5)


TEXTURES = {
    "grain": grain,
    "strands": strands,
    "patches": patches,
    "bands": bands,
    "masonry": masonry,
    "ripples": ripples,
}
COATS = ("grain", "strands", "patches", "bands")  # class-independent textures of bodies, all found on grounds too


def draw_animal(surface: Surface, rng: np.random.Generator, name: str, colour: np.ndarray) -> None:
    """Draw a bird, cat or dog, about one unit long, feet at y = 0: a common body, a small telling head."""
    sitting = name != "bird" and rng.random() < 0.3
    long, high = rng.uniform(0.27, 0.35), rng.uniform(0.14, 0.2)
    leg = 0.0 if sitting else rng.uniform(0.12, 0.24)
    tilt = -rng.uniform(0.7, 1.1) if sitting else -rng.uniform(0.0, 0.35)
    reach, lift = long * np.cos(tilt), -long * np.sin(tilt)
    middle = -leg - high * np.cos(tilt) - (lift * 0.8 if sitting else 0.05)
    dark = colour * 0.72
    if not sitting:
        feet = (0.02, 0.1) if name == "bird" else (-0.8 * reach, -0.55 * reach, 0.5 * reach, 0.75 * reach)
        for foot in feet:
            stance = foot + rng.uniform(-0.06, 0.06)
            surface.stroke([(foot, middle), (stance, 0)], 0.035 if name == "bird" else 0.065, dark)
    wag = rng.uniform(-0.22, 0.12)
    tail = [(-0.8 * reach, middle), (-reach - 0.12, middle + wag / 2), (-reach - 0.2, middle + wag)]
    surface.stroke(tail, 0.055, dark)
    surface.ellipse(0, middle, long, high, colour, True, tilt)
    if rng.random() < 0.5:  # folded wing or saddle: any animal may have it
        surface.ellipse(-0.06, middle - 0.01, long * 0.55, high * 0.5, colour * rng.uniform(0.65, 1.25), True, tilt)
    x, y, size = 0.92 * reach + 0.04, middle - lift * 0.8 - 0.12, rng.uniform(0.13, 0.165)
    surface.stroke([(0.6 * reach, middle - 0.5 * lift), (x, y)], 0.13, colour, True)
    _HEADS[name](surface, x, y, size, jitter(rng, colour, 14))


def _bird_head(surface: Surface, x: float, y: float, size: float, face: np.ndarray) -> None:
    root, tip = x + 0.4 * size, x + 2.3 * size
    surface.polygon([(root, y - 0.7 * size), (tip, y + 0.15 * size), (root, y + 0.75 * size)], (240, 140, 20))
    surface.ellipse(x, y, 0.9 * size, 0.9 * size, face)
    surface.ellipse(x + 0.2 * size, y - 0.2 * size, 0.34 * size, 0.34 * size, (244, 240, 228))
    surface.ellipse(x + 0.25 * size, y - 0.2 * size, 0.2 * size, 0.2 * size, (14, 14, 14))


def _cat_head(surface: Surface, x: float, y: float, size: float, face: np.ndarray) -> None:
    for side in (-1, 1):
        ear = np.array([(0.1, -0.6), (0.9, -2.0), (1.0, -0.2)]) * (side * size, size) + (x, y)
        surface.polygon(ear, face * 0.75)
        surface.polygon(ear * 0.55 + ear.mean(0) * 0.45, (236, 124, 146))
    surface.ellipse(x, y, 1.1 * size, 0.95 * size, face)
    for place in (-0.48, 0.48):
        surface.ellipse(x + place * size, y - 0.15 * size, 0.42 * size, 0.42 * size, (196, 244, 40))
        surface.ellipse(x + place * size, y - 0.15 * size, 0.1 * size, 0.34 * size, (14, 20, 10))
    nose = np.array([(-0.28, 0.25), (0.28, 0.25), (0, 0.6)]) * size + (x, y)
    surface.polygon(nose, (236, 112, 136))


def _dog_head(surface: Surface, x: float, y: float, size: float, face: np.ndarray) -> None:
    surface.ellipse(x + 0.95 * size, y + 0.8 * size, 0.35 * size, 0.5 * size, (206, 50, 70))
    surface.ellipse(x + 0.85 * size, y + 0.25 * size, 0.95 * size, 0.55 * size, face * 1.1)
    surface.ellipse(x, y, size, 0.95 * size, face)
    surface.ellipse(x - 0.45 * size, y + 0.35 * size, 0.42 * size, 1.1 * size, (62, 40, 28), angle=0.25)
    surface.ellipse(x + 1.6 * size, y + 0.05 * size, 0.4 * size, 0.36 * size, (18, 16, 16))
    surface.ellipse(x + 0.3 * size, y - 0.25 * size, 0.2 * size, 0.2 * size, (18, 16, 16))


_HEADS = {"bird": _bird_head, "cat": _cat_head, "dog": _dog_head}


def draw_vehicle(surface: Surface, rng: np.random.Generator, name: str, colour: np.ndarray) -> None:
    """Draw a train, boat or bus, about one unit long, standing on y = 0: a common cabin, small telling parts."""
    high, lift = rng.uniform(0.24, 0.34), 0.06
    top, bottom = -high - lift, -lift
    glass = jitter(rng, (70, 84, 96) if rng.random() < 0.7 else (206, 212, 206), 20)
    surface.box(-0.42, bottom - 0.02, 0.4, -0.01, (46, 44, 46))
    if name == "boat":
        surface.polygon([(0.36, top * 0.62), (0.6, top * 0.72), (0.4, 0), (0.3, 0)], jitter(rng, (150, 60, 48), 30))
        funnel = rng.uniform(-0.2, 0.1)
        surface.box(funnel, top - 0.15, funnel + 0.09, top + 0.02, (226, 220, 210))
        surface.box(funnel, top - 0.1, funnel + 0.09, top - 0.05, (176, 42, 38))
    if name == "train":
        surface.polygon(
            [(0.38, top), (0.46, top + 0.02), (0.56, top * 0.45), (0.56, -0.02), (0.38, -0.02)], (224, 186, 48)
        )
        hoop = rng.uniform(-0.25, 0.1)
        surface.stroke(
            [(hoop, top), (hoop + 0.08, top - 0.06), (hoop, top - 0.12), (hoop + 0.12, top - 0.12)], 0.022, (40, 40, 42)
        )
    cabin = [(-0.44, top + 0.05), (-0.41, top), (0.38, top), (0.41, top + 0.05), (0.41, bottom), (-0.44, bottom)]
    surface.polygon(cabin, colour, True)
    if rng.random() < 0.6:
        stripe = bottom - high * rng.uniform(0.12, 0.3)
        surface.box(-0.44, stripe, 0.41, stripe + 0.045, jitter(rng, pick(rng, PALETTES["paint"]), 15))
    panes = int(rng.integers(4, 8))
    pitch = 0.78 / panes
    for pane in range(panes):
        left = -0.4 + pane * pitch
        surface.box(left, top + 0.18 * high, left + 0.7 * pitch, top + 0.52 * high, glass)
    if name == "train":
        surface.ellipse(0.53, -0.1, 0.03, 0.03, (250, 248, 226))
        surface.box(0.43, top + 0.16 * high, 0.5, top + 0.45 * high, (40, 46, 52))
    if name == "bus":
        for axle in (-0.26, 0.24):
            surface.ellipse(axle, -0.06, 0.085, 0.085, (24, 24, 26))
            surface.ellipse(axle, -0.06, 0.038, 0.038, (176, 176, 172))


def draw_house(surface: Surface, rng: np.random.Generator, name: str, colour: np.ndarray) -> None:
    """Draw an unlabelled block with a row of panes: a vehicle's cabin without its telling parts."""
    high, half = rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.5)
    surface.box(-half, -high, half, 0, colour, True)
    for left in np.arange(-half + 0.08, half - 0.12, 0.17):
        for row in np.arange(0.12, high - 0.15, 0.3):
            surface.box(left, -high + row, left + 0.09, -high + row + 0.13, colour * 0.72)


def draw_mound(surface: Surface, rng: np.random.Generator, name: str, colour: np.ndarray) -> None:
    """Draw an unlabelled bush or boulder: an animal's body without head and legs."""
    surface.ellipse(0, -0.15, rng.uniform(0.28, 0.5), rng.uniform(0.16, 0.26), colour, True, rng.uniform(-0.2, 0.2))


SHAPES = {"animal": draw_animal, "vehicle": draw_vehicle, "house": draw_house, "mound": draw_mound}
