"""What is trained on: views of photos, composites of objects over photos and over empty scenes, and scenes with nothing
in them.

A scene is a function of the seed and its number alone, so that a run that was cut off goes on with the scenes it would
have seen. Its labels are per patch: 0 background, 1.. objects, -1 not known.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

import camera
import empty
from camera import Picture, chance
from pool import Pool

LEAST_OBJECT_PIXELS = 60
"""Of an object in the pool; smaller ones are not cut out."""
CUT = 0.25
"""How far over the edge of the scene a pasted object may be, as a share of its side."""


@dataclass(frozen=True)
class Mix:
    """Shares of the kinds of scenes; the rest are photos as they are."""

    composite: float = 0.45
    """Objects over a photo or an empty scene."""
    over_empty: float = 0.5
    """Of the composites, how many are over an empty scene, where it is certain that nothing else is there."""
    empty: float = 0.25
    """Scenes with nothing in them."""
    smallest: float = 0.003
    largest: float = 0.3
    """Area of a pasted object as a share of the scene's, log-uniform, but never below about two patches."""
    touching: float = 0.4
    """Of the pasted objects after the first, how many are put against another one."""


class Scene(NamedTuple):
    picture: np.ndarray
    """uint8 RGB `[size, size, 3]`, as a camera gives it."""
    clean: np.ndarray
    """The same before the camera."""
    labels: np.ndarray
    """int64 `[size / patch, size / patch]`."""


class Cutout(NamedTuple):
    picture: Picture
    """RGB, the size of its mask."""
    mask: np.ndarray
    """float32 0 to 1."""


class SceneMaker:
    def __init__(self, pool: Pool, mix: Mix, seed: int, patch: int):
        if not len(pool):
            raise ValueError("the pool has no photo of this quality")
        self.pool, self.mix, self.seed, self.patch = pool, mix, seed, patch

    def scene(self, number: int, size: int) -> Scene:
        random = np.random.default_rng([self.seed, number])
        kind = random.random()
        if kind < self.mix.empty:
            picture, objects = self._nothing(random, size), []
        elif kind < self.mix.empty + self.mix.composite:
            if chance(random, self.mix.over_empty):
                picture, objects = self._nothing(random, size), []
            else:
                picture, objects = self._photo(random, size)
            picture, objects = self._paste(random, picture, objects)
        else:
            picture, objects = self._photo(random, size)
        clean = np.clip(picture, 0, 255).astype(np.uint8)
        return Scene(camera.camera(picture, random), clean, patch_labels(objects, size, self.patch))

    def _load(self, random: Generator) -> tuple[np.ndarray, np.ndarray]:
        """A photo and its labels at its size."""
        index = int(random.integers(len(self.pool)))
        photo = self.pool.photo(index)
        height, width = photo.shape[:2]
        return photo, cv2.resize(self.pool.labels(index), (width, height), interpolation=cv2.INTER_NEAREST)

    def _photo(self, random: Generator, size: int) -> tuple[Picture, list[np.ndarray]]:
        """A part of a photo, and the mask of each of its objects, float32 `[size, size]`."""
        photo, labels = self._load(random)
        top, left, height, width = part(random, *labels.shape)
        photo = photo[top : top + height, left : left + width]
        labels = labels[top : top + height, left : left + width]
        if chance(random, 0.5):
            photo, labels = photo[:, ::-1], labels[:, ::-1]
        masks = [resized((labels == label).astype(np.float32), size) for label in np.unique(labels) if label > 0]
        return camera.light(resized(photo, size).astype(np.float32), random), masks

    def _nothing(self, random: Generator, size: int) -> Picture:
        """Drawn, or what is background in a photo: a part without objects, repeated, or with the objects painted
        over."""
        if chance(random, 0.6):
            return empty.draw(random, size)
        photo, labels = self._load(random)
        if chance(random, 0.3):
            hole = cv2.dilate((labels > 0).astype(np.uint8), np.ones((7, 7)))
            filled = cv2.inpaint(np.ascontiguousarray(photo), hole, 3, cv2.INPAINT_TELEA)
            blurred = cv2.GaussianBlur(filled, (0, 0), random.uniform(2, 8))
            return camera.light(resized(blurred, size).astype(np.float32), random)
        top, left, height, width = largest_free(labels > 0)
        if min(height, width) < 24:
            return empty.draw(random, size)
        ground = photo[top : top + height, left : left + width]
        if chance(random, 0.5):  # mirrored, so that there is no seam
            ground = np.concatenate([ground, ground[::-1]])
            ground = np.concatenate([ground, ground[:, ::-1]], 1)
        return camera.light(resized(ground, size).astype(np.float32), random)

    def _cutout(self, random: Generator, side: float) -> Cutout | None:
        """An object whose mask has this area's root in pixels."""
        photo, labels = self._load(random)
        kinds, counts = np.unique(labels[labels > 0], return_counts=True)
        kinds = kinds[counts >= LEAST_OBJECT_PIXELS]
        if not len(kinds):
            return None
        mask = (labels == random.choice(kinds)).astype(np.float32)
        rows, cols = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        window = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
        mask, picture = mask[window], camera.light(photo[window].astype(np.float32), random)
        scale = side / mask.sum() ** 0.5
        size = tuple(max(4, round(scale * extent)) for extent in mask.shape[::-1])
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        picture, mask = cv2.resize(picture, size, interpolation=how), cv2.resize(mask, size, interpolation=how)
        if chance(random, 0.5):
            picture, mask = picture[:, ::-1], mask[:, ::-1]
        if chance(random, 0.15):
            picture = camera.motion_blur(picture, random, longest=0.25)
        return Cutout(picture, mask)

    def _paste(
        self, random: Generator, picture: Picture, objects: list[np.ndarray]
    ) -> tuple[Picture, list[np.ndarray]]:
        """Pastes objects one over the other; those below lose what is covered."""
        size = picture.shape[0]
        shares = np.exp(random.uniform(*np.log([self.mix.smallest, self.mix.largest]), random.integers(1, 6)))
        shares = -np.sort(-shares)
        at = None
        for share in shares[: 1 + np.searchsorted(np.cumsum(shares[1:]), 0.5)]:
            cutout = self._cutout(random, max(size * share**0.5, 1.5 * self.patch))
            if cutout is None or max(cutout.mask.shape) > size:
                continue
            height, width = cutout.mask.shape
            if at is not None and chance(random, self.mix.touching):
                top, left = beside(random, at, height, width)
            else:
                top = random.uniform(-CUT * height, size - (1 - CUT) * height)
                left = random.uniform(-CUT * width, size - (1 - CUT) * width)
            move = np.float32([[1, 0, round(left)], [0, 1, round(top)]])
            mask = cv2.warpAffine(cutout.mask, move, (size, size))
            if mask.sum() < 0.5 * cutout.mask.sum():
                continue
            at = top, left, height, width
            look = blended(random, cutout.picture, cutout.mask, picture, mask)
            look = cv2.warpAffine(look, move, (size, size), borderMode=cv2.BORDER_REPLICATE)
            if chance(random, 0.25):
                picture = shadowed(random, picture, mask)
            picture = empty.mix(picture, look, cv2.GaussianBlur(mask, (3, 3), 0))
            objects = [below * (1 - mask) for below in objects] + [mask]
        return picture, objects


def resized(picture: np.ndarray, size: int) -> np.ndarray:
    how = cv2.INTER_AREA if size < min(picture.shape[:2]) else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(picture), (size, size), interpolation=how)


def part(random: Generator, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of a part of a picture, nearly square or nearly of the picture's aspect."""
    area = height * width * (random.uniform(0.45, 1) if chance(random, 0.7) else 1)
    aspect = np.exp(random.uniform(-0.3, 0.3))
    rows = int(np.clip((area * aspect) ** 0.5, 16, height))
    cols = int(np.clip((area / aspect) ** 0.5, 16, width))
    return int(random.integers(height - rows + 1)), int(random.integers(width - cols + 1)), rows, cols


def largest_free(taken: np.ndarray) -> tuple[int, int, int, int]:
    """The largest of the four strips between what is taken and the edges: top, left, height, width."""
    height, width = taken.shape
    if not taken.any():
        return 0, 0, height, width
    rows, cols = (np.flatnonzero(taken.any(axis)) for axis in (1, 0))
    strips = (
        (0, 0, rows[0], width),
        (rows[-1] + 1, 0, height - rows[-1] - 1, width),
        (0, 0, height, cols[0]),
        (0, cols[-1] + 1, height, width - cols[-1] - 1),
    )
    return max(strips, key=lambda strip: strip[2] * strip[3])


def beside(random: Generator, at: tuple[float, float, int, int], height: int, width: int) -> tuple[float, float]:
    """Top and left of a box that touches another one, or covers a little of it."""
    top, left, other_height, other_width = at
    angle, nearness = random.uniform(0, 2 * np.pi), random.uniform(0.6, 1)
    row = top + (other_height - height) / 2 + nearness * np.sin(angle) * (other_height + height) / 2
    col = left + (other_width - width) / 2 + nearness * np.cos(angle) * (other_width + width) / 2
    return row, col


def blended(random: Generator, look: Picture, mask: np.ndarray, scene: Picture, where: np.ndarray) -> Picture:
    """The object's picture, half the time with its mean moved towards that of the scene behind it, so that it is not
    found by brightness and colour alone."""
    if chance(random, 0.5):
        own = (look * mask[..., None]).sum((0, 1)) / mask.sum()
        behind = (scene * where[..., None]).sum((0, 1)) / where.sum()
        look = look + random.uniform(0.2, 0.8) * (behind - own)
    return np.clip(look, 0, 255).astype(np.float32)


def shadowed(random: Generator, scene: Picture, mask: np.ndarray) -> Picture:
    """With a soft shadow of the object, which is background."""
    size = scene.shape[0]
    reach = random.uniform(0.02, 0.1) * size
    move = np.float32([[1, 0, random.uniform(-reach, reach)], [0, 1, random.uniform(0, reach)]])
    shadow = cv2.GaussianBlur(cv2.warpAffine(mask, move, (size, size)), (0, 0), random.uniform(0.3, 1) * reach)
    return scene * (1 - random.uniform(0.2, 0.7) * shadow[..., None])


def patch_labels(objects: list[np.ndarray], size: int, patch: int) -> np.ndarray:
    """Which object covers a patch: at least half of it, or nearly as much as of any patch where the object is small.
    Patches that are covered less, but not hardly at all, are not known."""
    side = size // patch
    labels = np.zeros((side, side), np.int64)
    if not objects:
        return labels
    cover = np.stack([cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA) for mask in objects])
    enough = np.minimum(0.5, 0.7 * cover.max((1, 2)))[:, None, None]
    visible = cover.max((1, 2)) >= 0.2
    is_object = (cover >= enough) & visible[:, None, None]
    best = np.where(is_object, cover, 0).argmax(0)
    labels[cover.sum(0) > 0.15] = -1
    labels = np.where(is_object.any(0), best + 1, labels)
    return labels
