"""What light, lens, sensor and codec do to a picture. All pictures are float32 RGB `[H, W, 3]` from 0 to 255."""

import cv2
import numpy as np
from numpy.random import Generator

Picture = np.ndarray


def chance(random: Generator, probability: float) -> bool:
    return random.random() < probability


def light(picture: Picture, random: Generator) -> Picture:
    """Exposure, contrast, saturation and white balance, so that colour alone does not decide."""
    if chance(random, 0.7):
        picture = picture * random.uniform(0.65, 1.4) * random.uniform(0.87, 1.15, 3).astype(np.float32)
        picture = picture + random.uniform(-25, 25)
        grey = picture.mean(2, keepdims=True)
        picture = grey + random.uniform(0.4, 1.4) * (picture - grey)
        mean = picture.mean()
        picture = mean + random.uniform(0.7, 1.25) * (picture - mean)
    if chance(random, 0.1):
        picture = picture.mean(2, keepdims=True).repeat(3, 2)
    return np.clip(picture, 0, 255).astype(np.float32)


def night(picture: Picture, random: Generator) -> Picture:
    """Little light: dark or amplified, with shot and read noise, often nearly without colour."""
    exposure = random.uniform(0.04, 0.25)
    gain = min(1 / exposure, random.uniform(1, 8))
    grey = picture.mean(2, keepdims=True)
    picture = grey + random.uniform(0, 0.8) * (picture - grey)
    seen = picture * exposure
    noise = random.standard_normal(seen.shape, np.float32) * np.sqrt(0.15 * seen + random.uniform(0.05, 1))
    return gain * (seen + noise)


def grain(picture: Picture, random: Generator) -> Picture:
    return picture + random.uniform(2, 14) * random.standard_normal(picture.shape, np.float32)


def motion_blur(picture: Picture, random: Generator, longest: float = 0.05) -> Picture:
    """Along a straight way, of at most this share of the longer side."""
    length = random.uniform(0.01, longest) * max(picture.shape[:2])
    side = 2 * int(np.ceil(length / 2)) + 1
    angle = random.uniform(0, np.pi)
    step = length / 2 * np.array([np.cos(angle), np.sin(angle)])
    centre = np.array([side / 2, side / 2])
    # Drawn at 16 times the size, so that short ways have a direction, too.
    ends = [tuple(int(value) for value in 16 * (centre + sign * step)) for sign in (-1, 1)]
    way = cv2.line(np.zeros((16 * side, 16 * side), np.float32), *ends, 1.0, 16)
    kernel = cv2.resize(way, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def soften(picture: Picture, random: Generator, most: float = 1.5) -> Picture:
    """Out of focus."""
    return cv2.GaussianBlur(picture, (0, 0), random.uniform(0.4, most))


def enlarge(picture: Picture, random: Generator) -> Picture:
    """As if it had been smaller."""
    height, width = picture.shape[:2]
    scale = random.uniform(0.4, 0.9)
    small = cv2.resize(picture, (round(scale * width), round(scale * height)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def compress(picture: Picture, random: Generator) -> Picture:
    """JPEG; or, like video at a low rate, coarser blocks, smoothed at their edges."""
    is_video = chance(random, 0.5)
    quality = int(random.integers(8, 35) if is_video else random.integers(25, 90))
    bgr = cv2.cvtColor(np.clip(picture, 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    picture = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(np.float32)
    return cv2.GaussianBlur(picture, (3, 3), random.uniform(0.4, 0.8)) if is_video else picture


def vignette(picture: Picture, random: Generator) -> Picture:
    """A lens's dark corners, its centre not always in the middle."""
    height, width = picture.shape[:2]
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    distance = ((x - random.uniform(-0.2, 0.2)) ** 2 + (y - random.uniform(-0.2, 0.2)) ** 2) / 2
    return picture * (1 - random.uniform(0.2, 0.7) * np.clip(distance, 0, 1)).astype(np.float32)[..., None]


def camera(picture: Picture, random: Generator) -> np.ndarray:
    """The picture as a camera would give it: uint8 `[H, W, 3]`. About a third come through unharmed."""
    steps = (
        (0.10, night),
        (0.07, vignette),
        (0.10, motion_blur),
        (0.15, soften),
        (0.10, enlarge),
        (0.15, grain),
        (0.25, compress),
    )
    for probability, step in steps:
        if chance(random, probability):
            picture = np.clip(step(picture, random), 0, 255).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)
