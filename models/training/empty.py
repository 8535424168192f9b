"""Scenes with nothing to find, drawn: surfaces, skies, roads, rooms, noise. All are float32 RGB `[size, size, 3]` from
0 to 255.

`SCENES` are trained on. `UNSEEN` are of other kinds and never trained on: `check.py` asks about both.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from camera import Picture, chance

Colour = np.ndarray


def colour(random: Generator) -> Colour:
    """Mostly dull, as most surfaces are."""
    hue, saturation, value = random.uniform(0, 360), 0.7 * random.beta(1, 2.5), random.uniform(0.08, 1)
    return 255 * cv2.cvtColor(np.float32([[[hue, saturation, value]]]), cv2.COLOR_HSV2RGB)[0, 0]


def near(base: Colour, random: Generator, distance: float) -> Colour:
    return np.clip(base * random.uniform(1 - distance, 1 + distance) + random.normal(0, 40 * distance, 3), 0, 255)


def mix(first: Colour | Picture, second: Colour | Picture, share: np.ndarray) -> Picture:
    """`share` of the second at each pixel."""
    first, second, share = (np.asarray(part, np.float32) for part in (first, second, share[..., None]))
    return first + share * (second - first)


def places(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each pixel, 0 to 1, to be broadcast."""
    line = np.linspace(0, 1, size, dtype=np.float32)
    return line[:, None], line[None]


def fractal(random: Generator, size: int, coarsest: float, persistence: float) -> np.ndarray:
    """Noise of several scales, `[size, size]`, 0 to 1; the coarsest of this many cells per side."""
    total, amplitude, cells = np.zeros((size, size), np.float32), 1.0, coarsest
    while cells < size:
        count = max(2, round(cells))
        noise = random.standard_normal((count, count), np.float32)
        total += amplitude * cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
        amplitude, cells = amplitude * persistence, cells * 2
    low, high = np.percentile(total, (1, 99))
    return np.clip((total - low) / max(high - low, 1e-6), 0, 1)


def ramp(random: Generator, size: int) -> np.ndarray:
    """From 0 to 1 along a straight way."""
    y, x = places(size)
    angle = random.uniform(0, 2 * np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    return (along - along.min()) / np.ptp(along)


# Surfaces.


def plain(random: Generator, size: int) -> Picture:
    """Plaster, asphalt, cloth, gravel, grass: one colour and its shades, at one scale or several."""
    base = colour(random)
    shades = fractal(random, size, 2 ** random.uniform(0.5, 7), random.uniform(0.5, 1.1))
    if chance(random, 0.3):  # drawn out, like grass or wood
        stretch = random.uniform(2, 8)
        matrix = cv2.getRotationMatrix2D((size / 2, size / 2), random.uniform(0, 180), 1.0)
        matrix[0] *= stretch
        shades = cv2.warpAffine(shades, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
    return mix(base, near(base, random, random.uniform(0.05, 0.6)), shades)


def stripes(random: Generator, size: int) -> Picture:
    """Planks, fences, corrugated iron, cloth."""
    base, count = colour(random), random.uniform(3, 30)
    along = ramp(random, size) * count
    shades = random.uniform(0, 1, int(count) + 2)[along.astype(int)] * random.uniform(0, 0.7)
    gaps = (along % 1 < random.uniform(0.03, 0.2)) * random.uniform(0, 1)
    return mix(base, near(base, random, 0.5), np.clip(shades + gaps, 0, 1))


def bricks(random: Generator, size: int) -> Picture:
    """Bricks, tiles, paving: every one with a shade of its own."""
    y, x = places(size)
    rows, aspect = random.uniform(3, 20), random.uniform(1, 3)
    offset = random.choice([0, 0.5, random.uniform(0, 1)])
    base, mortar = colour(random), colour(random)
    v = y * rows
    u = x * rows / aspect + offset * (v.astype(int) % 2)
    table = random.uniform(0, 1, (int(rows) + 2, int(rows / aspect) + 3))
    shade = table[v.astype(int), u.astype(int)]
    gap = random.uniform(0.02, 0.14)
    is_gap = (v % 1 < gap) | (u % 1 < gap / aspect)
    face = mix(base, near(base, random, random.uniform(0.05, 0.7)), shade)
    return mix(face, mortar, is_gap * random.uniform(0.4, 1))


def surface(random: Generator, size: int) -> Picture:
    """Any of them, at twice the size first so that lines have soft edges, sometimes rough."""
    kind = random.choice([plain, plain, stripes, bricks])
    picture = kind(random, 2 * size)
    if chance(random, 0.5):
        roughness = fractal(random, 2 * size, size / 4, 1.0)
        picture = picture * (1 + random.uniform(0, 0.5) * (roughness[..., None] - 0.5))
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)


def tilted(picture: Picture, random: Generator, strength: float = 0.6) -> Picture:
    """Seen at a slant, like the ground: what is up is farther away."""
    size = picture.shape[0]
    inset = size * random.uniform(0.2, strength)
    corners = np.float32([[0, 0], [size, 0], [size, size], [0, size]])
    target = np.float32([[0, 0], [size, 0], [size + inset * 3, size], [-inset * 3, size]])
    matrix = cv2.getPerspectiveTransform(corners, target)
    return cv2.warpPerspective(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


# Scenes.


def blank(random: Generator, size: int) -> Picture:
    return np.broadcast_to(colour(random).astype(np.float32), (size, size, 3)).copy()


def gradient(random: Generator, size: int) -> Picture:
    return mix(colour(random), colour(random), ramp(random, size) ** random.uniform(0.5, 2))


def static(random: Generator, size: int) -> Picture:
    """Noise alone."""
    noise = random.standard_normal((size, size, random.choice([1, 3])), np.float32)
    return (random.uniform(30, 220) + random.uniform(5, 90) * noise).repeat(3 // noise.shape[2], 2)


def sky(random: Generator, size: int) -> Picture:
    """A gradient downwards, with or without clouds."""
    y, _ = places(size)
    blue = np.array([random.uniform(60, 170), random.uniform(110, 200), random.uniform(150, 255)])
    top = blue if chance(random, 0.7) else colour(random)
    picture = mix(top, near(top, random, 0.6), np.broadcast_to(y, (size, size)))
    if chance(random, 0.5):
        clouds = np.clip(fractal(random, size, random.uniform(1, 4), 0.5) * 2 - random.uniform(0.5, 1.3), 0, 1)
        picture = mix(picture, np.full(3, random.uniform(150, 255)), clouds * random.uniform(0.3, 1))
    return picture


def below(random: Generator, size: int, upper: Picture, lower: Picture) -> tuple[Picture, float]:
    """Two pictures that meet at a horizon, and where it is: sharp or hazy, straight or hilly."""
    y, x = places(size)
    horizon = random.uniform(0.15, 0.8)
    line = horizon + random.uniform(-0.05, 0.05) * (x - 0.5)
    if chance(random, 0.4):
        line = line + random.uniform(0.01, 0.08) * (fractal(random, size, random.uniform(2, 12), 0.5)[:1] - 0.5)
    softness = random.choice([0.004, random.uniform(0.01, 0.1)])
    return mix(upper, lower, np.clip((y - line) / softness + 0.5, 0, 1)), horizon


def landscape(random: Generator, size: int) -> Picture:
    """Sea, field or street to the horizon."""
    return below(random, size, sky(random, size), tilted(surface(random, size), random))[0]


def road(random: Generator, size: int) -> Picture:
    """A road to the horizon, with or without marks."""
    picture, horizon = below(random, size, sky(random, size), tilted(surface(random, size), random))
    y, x = places(size)
    depth = np.clip((y - horizon) / (1 - horizon), 0, 1)
    middle = random.uniform(0.2, 0.8) + (random.uniform(0.2, 0.8) - 0.5) * depth
    across = (x - middle) / (0.02 + random.uniform(0.3, 1.2) * depth)
    asphalt = np.full(3, random.uniform(40, 170)) + random.normal(0, 5, 3)
    tarmac = mix(asphalt, near(asphalt, random, 0.3), fractal(random, size, size / 6, 0.9))
    softness = random.uniform(0.02, 0.3)
    picture = mix(picture, tarmac, np.clip((0.5 - np.abs(across)) / softness, 0, 1) * (depth > 0))
    if chance(random, 0.6):
        dashes = (0.3 / (depth + 0.05) * random.uniform(1, 4)) % 1 < random.choice([0.5, 1.1])
        lines = np.minimum(np.abs(across), np.abs(np.abs(across) - random.uniform(0.35, 0.47)))
        picture = mix(picture, np.full(3, 235.0), (lines < 0.015) * dashes * (depth > 0.02) * random.uniform(0.4, 1))
    return picture


def room(random: Generator, size: int) -> Picture:
    """A wall and a floor, sometimes a corner."""
    wall, y_x = surface(random, size), places(size)
    picture, horizon = below(random, size, wall, tilted(surface(random, size), random))
    if chance(random, 0.5):
        corner = random.uniform(0.2, 0.8)
        shade = (y_x[1] < corner) & (y_x[0] < horizon)
        picture = picture * (1 - random.uniform(0.05, 0.4) * shade[..., None])
    return picture.astype(np.float32)


def wall(random: Generator, size: int) -> Picture:
    return surface(random, size)


def floor(random: Generator, size: int) -> Picture:
    return tilted(surface(random, size), random)


# Kinds that are never trained on.


def facade(random: Generator, size: int) -> Picture:
    """A house front: rows of windows that fill the picture."""
    y, x = places(size)
    rows, cols = random.integers(4, 9), random.integers(4, 9)
    u, v = x * cols % 1, y * rows % 1
    inside = (abs(u - 0.5) < random.uniform(0.2, 0.35)) & (abs(v - 0.5) < random.uniform(0.2, 0.35))
    return mix(plain(random, size), colour(random), inside * random.uniform(0.5, 1))


def waves(random: Generator, size: int) -> Picture:
    """Water, from above the horizon."""
    y, x = places(size)
    height = sum(
        np.sin(2 * np.pi * random.uniform(2, 12) / (0.2 + y) * (0.3 * np.cos(angle) * x + np.sin(angle) * 0.3))
        for angle in random.uniform(1.2, 1.9, 5)
    )
    base = near(np.array([60.0, 100.0, 120.0]), random, 0.3)
    return mix(base, near(base, random, 0.6), np.clip(height / 6 + 0.5, 0, 1))


def leaves(random: Generator, size: int) -> Picture:
    """Leaves or pebbles that cover the whole picture."""
    base = colour(random)
    picture = np.full((size, size, 3), base, np.float32)
    length = size * random.uniform(0.03, 0.07)
    for _ in range(int(4 * (size / length) ** 2)):
        centre = tuple(int(value) for value in random.uniform(0, size, 2))
        axes = (max(1, int(length)), max(1, int(length * random.uniform(0.3, 0.9))))
        shade = near(base, random, 0.4).tolist()
        cv2.ellipse(picture, centre, axes, random.uniform(0, 180), 0, 360, shade, -1, cv2.LINE_AA)
    return picture


Scene = Callable[[Generator, int], Picture]
SCENES: tuple[Scene, ...] = (blank, gradient, static, sky, landscape, landscape, road, road, room, wall, wall, floor)
UNSEEN: tuple[Scene, ...] = (facade, waves, leaves)


def draw(random: Generator, size: int, scenes: tuple[Scene, ...] = SCENES) -> Picture:
    """Any of these scenes, in uneven light."""
    picture = scenes[random.integers(len(scenes))](random, size)
    if chance(random, 0.3):
        shade = fractal(random, size, random.uniform(1, 3), 0.3) if chance(random, 0.5) else ramp(random, size)
        picture = picture * (1 - random.uniform(0.1, 0.6) * shade[..., None])
    return np.clip(picture, 0, 255).astype(np.float32)
