"""A pool that lies on the device: photos squashed to a square, their labels, their objects and their free ground.

Nothing here asks the device for a number while scenes are made, so that the processor is always ahead of it.
"""

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import empty
from pool import Pool

SIDE, LABEL_SIDE, EMPTY_SIDE = 192, 128, 256
LEVELS = ((0, 0, SIDE), (SIDE, 0, SIDE // 2), (SIDE, SIDE // 2, SIDE // 4))
"""Left, top and side of a photo on its sheet, `[SIDE, 1.5 SIDE]`, at three sizes: what is shown small is taken from a
small one."""
OBJECTS, UNKNOWN = 5, 255
"""Labels of a photo: 1 to 5 are objects, 0 is background, the last is not known."""
SMALLEST_SHARE, LARGEST_SHARE = 0.004, 0.7
"""Of a photo, that an object to be cut out covers."""
LEAST_GROUND = 0.12
"""Of a photo, that its largest strip without objects covers, if it is to be ground."""
EMPTY_SEED = 77


def drawn(number: int) -> np.ndarray:
    cv2.setNumThreads(1)
    return empty.draw(np.random.default_rng([EMPTY_SEED, number]), EMPTY_SIDE).astype(np.uint8)


def draw_empty(count: int) -> np.ndarray:
    """Scenes with nothing in them, uint8 `[count, EMPTY_SIDE, EMPTY_SIDE, 3]`. Before the device is in use: processes
    are forked."""
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as workers:
        return np.stack(workers.map(drawn, range(count), chunksize=16))


def squashed(picture: np.ndarray, side: int, how: int | None = None) -> np.ndarray:
    if how is None:
        how = cv2.INTER_AREA if min(picture.shape[:2]) > side else cv2.INTER_LINEAR
    return cv2.resize(picture, (side, side), interpolation=how)


def channels_first(pictures: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).contiguous()


def sampled(pictures: Tensor, grid: Tensor, **choices: str) -> Tensor:
    """The pictures, uint8 or float `[n, C, h, w]`, at places from -1 to 1, `[n, H, W, 2]`."""
    return F.grid_sample(pictures.float(), grid, align_corners=False, **choices)


class DevicePool:
    def __init__(self, pool: Pool, nothing: np.ndarray, device: torch.device):
        with ThreadPoolExecutor() as threads:
            photos = list(threads.map(pool.photo, range(len(pool))))
            square = np.stack(list(threads.map(lambda photo: squashed(photo, SIDE), photos)))
            labels = threads.map(lambda i: squashed(pool.labels(i), LABEL_SIDE, cv2.INTER_NEAREST), range(len(pool)))
            self.first_labels = torch.from_numpy(np.stack(list(labels))).to(device)
        self.device = device
        self._table = torch.tensor(LEVELS, device=device, dtype=torch.float32)
        self._sheet = torch.tensor([SIDE * 3 // 2, SIDE], device=device)
        self.aspects = torch.tensor([photo.shape[1] / photo.shape[0] for photo in photos], device=device)
        self.first_quality = torch.tensor([pool.quality[name] for name in pool.names], device=device)
        self.empty = channels_first(nothing, device)
        self.sheets = torch.empty(len(pool), 3, SIDE, SIDE * 3 // 2, dtype=torch.uint8, device=device)
        for first in range(0, len(pool), 512):
            photos_now = channels_first(square[first : first + 512], device).float()
            for left, top, side in LEVELS:
                small = F.avg_pool2d(photos_now, SIDE // side).round().byte()
                self.sheets[first : first + 512, :, top : top + side, left : left + side] = small
        self.set_labels(self.first_labels, self.first_quality)

    def __len__(self) -> int:
        return len(self.aspects)

    def photos(self, first: int, last: int) -> Tensor:
        """Float `[n, 3, SIDE, SIDE]`."""
        return self.sheets[first:last, :, :, :SIDE].float()

    def looks(self, index: Tensor, grid: Tensor, level: Tensor | None = None) -> Tensor:
        """Photos at places from -1 to 1, `[n, H, W, 2]`, each from this level of its sheet, `[n]`; outside, as at their
        edge."""
        which = self._table[:1] if level is None else self._table[level]
        left, top, side = which.T[..., None, None]
        begin, half = torch.stack([left, top], -1), side[..., None] / 2
        places = begin + (half * (grid + 1)).clamp(min=0.5).minimum(2 * half - 0.5)
        return sampled(self.sheets[index], 2 * places / self._sheet - 1)

    def set_labels(self, labels: Tensor, quality: Tensor) -> None:
        """`quality` is how often a photo is taken, and its objects."""
        self.labels, self.quality = labels, quality
        boxes = torch.stack([box_of(labels == number) for number in range(1, OBJECTS + 1)], 1)
        shares = torch.stack([(labels == number).float().mean((1, 2)) for number in range(1, OBJECTS + 1)], 1)
        at_edge = ((boxes[..., :2] < -0.98).sum(2) + (boxes[..., 2:] > 0.98).sum(2)).float()
        fits = (shares > SMALLEST_SHARE) & (shares < LARGEST_SHARE) & (quality > 0)[:, None]
        self.object_photo, number = fits.nonzero(as_tuple=True)
        self.object_number = number + 1
        self.object_box = boxes[self.object_photo, number]
        self.object_share = shares[self.object_photo, number]
        # What the edge of a photo cuts off is no whole object.
        whole = (1 - 0.3 * at_edge[self.object_photo, number]).clamp(min=0.1)
        self.object_weight = quality[self.object_photo] * whole

        left, top, right, bottom = box_of(labels > 0).unbind(1)
        one = torch.ones_like(left)
        strips = torch.stack(
            [
                torch.stack([-one, -one, one, top], 1),
                torch.stack([-one, bottom, one, one], 1),
                torch.stack([-one, -one, left, one], 1),
                torch.stack([right, -one, one, one], 1),
            ],
            1,
        )
        areas = (strips[..., 2:] - strips[..., :2]).clamp(min=0).prod(2) / 4
        largest, which = areas.max(1)
        self.ground_photo = (largest > LEAST_GROUND).nonzero()[:, 0]
        self.ground_box = strips[self.ground_photo, which[self.ground_photo]]
        self.ground_weight = largest[self.ground_photo]


def box_of(masks: Tensor) -> Tensor:
    """Left, top, right and bottom of bool masks `[n, S, S]`, from -1 to 1, `[n, 4]`; all zero where a mask is empty."""
    sides = []
    side = masks.shape[1]
    numbers = torch.arange(side, device=masks.device)
    for axis in (1, 2):  # whether each column, then each row, has any
        taken = masks.any(axis)
        first = torch.where(taken, numbers, side).amin(1)
        last = torch.where(taken, numbers, -1).amax(1) + 1
        sides.append((first, last))
    box = torch.stack([sides[0][0], sides[1][0], sides[0][1], sides[1][1]], 1).float() * (2 / side) - 1
    return torch.where(masks.flatten(1).any(1, keepdim=True), box, torch.zeros_like(box))
