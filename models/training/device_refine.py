"""`refine.py` on the device that trains, for a whole pool in seconds: what the models see, sharpened by the photo, and
mixed with the first labels, becomes the labels.

A guided filter (He, Sun, Tang: Guided Image Filtering, 2010) takes GrabCut's place.
"""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from device_pool import LABEL_SIDE, OBJECTS, UNKNOWN, DevicePool
from vit import VisionTransformer

CHUNK = 256
RADIUS, SMOOTHNESS = 5, 2e-3
"""Of the guided filter, in pixels of the labels, and in squares of a range of 1."""
SURE, UNSURE = 0.55, 0.38
"""From the one on a pixel is an object, below the other background; in between it is not known."""
LEAST_PIXELS, LEAST_PART = 40, 0.04
"""Of a part, in pixels and as a share of the largest one's; smaller ones are not known."""


def mean_around(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, 2 * RADIUS + 1, 1, RADIUS, count_include_pad=False)


def sharpened(chances: Tensor, photos: Tensor) -> Tensor:
    """`[n, 1, S, S]` along the edges of the photos, `[n, 3, S, S]` from 0 to 1; the channels' results are averaged."""
    mean = mean_around(photos)
    variance = mean_around(photos * photos) - mean * mean
    slope = (mean_around(photos * chances) - mean * mean_around(chances)) / (variance + SMOOTHNESS)
    offset = mean_around(chances) - slope * mean
    return (mean_around(slope) * photos + mean_around(offset)).mean(1, keepdim=True).clamp(0, 1)


def foreground(model: VisionTransformer, photos: Tensor, side: int) -> Tensor:
    """How probably a patch is on an object, `[n, 1, rows, cols]`, over the photo and its mirror image."""
    scaled = F.interpolate(photos, (side, side), mode="bilinear", align_corners=False).round().clamp(0, 255).byte()
    total = 0
    for picture in (scaled, scaled.flip(3)):
        with torch.autocast(photos.device.type, torch.bfloat16, enabled=photos.is_cuda):
            output = model(picture.permute(0, 2, 3, 1).contiguous())
        rows = side // model.measures.patch
        chances = output.foreground().float().sigmoid().view(len(photos), 1, rows, rows)
        total = total + (chances if picture is scaled else chances.flip(3)) / 2
    return total


def parts(chances: np.ndarray) -> np.ndarray:
    """Labels of a map, uint8 `[S, S]` of 255ths."""
    labels = np.where(chances > 255 * UNSURE, UNKNOWN, 0).astype(np.uint8)
    _, found, stats, _ = cv2.connectedComponentsWithStats((chances > 255 * SURE).astype(np.uint8), connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    number = 0
    for part in np.argsort(-areas, kind="stable")[:OBJECTS]:
        if areas[part] >= max(LEAST_PIXELS, LEAST_PART * areas.max()):
            number += 1
            labels[found == part + 1] = number
    return labels


@torch.no_grad()
def refine(pool: DevicePool, models: list[VisionTransformer], trust: float, sides: tuple[int, ...]) -> dict[str, float]:
    """New labels for the pool. `trust` is the models' share in them; where the first ones were bad it is larger."""
    labels, sure, agreement = [], [], []
    with ThreadPoolExecutor() as threads:
        for first in range(0, len(pool), CHUNK):
            photos = pool.photos(first, first + CHUNK)
            size = (LABEL_SIDE, LABEL_SIDE)
            seen = 0
            for model in models:
                for side in sides:
                    coarse = foreground(model, photos, side)
                    fine = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
                    seen = seen + fine / len(models) / len(sides)
            small = F.interpolate(photos, size, mode="area") / 255
            seen = (1.6 * (sharpened(seen, small)[:, 0] - 0.5) + 0.5).clamp(0, 1)
            old = (pool.first_labels[first : first + CHUNK] > 0).float()
            share = trust + (1 - trust) * (1 - 1.3 * pool.first_quality[first : first + CHUNK]).clamp(0, 1)
            mixed = old + share[:, None, None] * (seen - old)
            both, either = ((seen > 0.5) & (old > 0.5)).sum((1, 2)), ((seen > 0.5) | (old > 0.5)).sum((1, 2))
            sure.append((2 * seen - 1).abs().mean((1, 2)))
            agreement.append(both / either.clamp(min=1))
            labels.append(np.stack(list(threads.map(parts, (255 * mixed).byte().cpu().numpy()))))
    new = torch.from_numpy(np.concatenate(labels)).to(pool.device)
    sureness, agreed = torch.cat(sure), torch.cat(agreement)
    is_object, unknown = (new > 0) & (new < UNKNOWN), (new == UNKNOWN).float().mean((1, 2))
    share = is_object.float().mean((1, 2))
    quality = (2 * sureness - 1).clamp(min=0) * (1 - 2 * unknown).clamp(min=0) * (0.5 + 0.5 * agreed)
    quality = quality * ((share > 0.004) & (share < 0.75))
    pool.set_labels(new, torch.where(quality > 0.1, quality, 0.0))
    return {
        "agreement": agreed.mean().item(),
        "sureness": sureness.mean().item(),
        "unknown": unknown.mean().item(),
        "kept": (pool.quality > 0).float().mean().item(),
        "objects": len(pool.object_photo) / len(pool),
    }
