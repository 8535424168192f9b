"""`camera.py` for many pictures at once, on the device that trains. All pictures are float32 RGB `[n, 3, H, W]` from 0
to 255, both sides multiples of 8."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LONGEST_KERNEL = 11
YCC = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])


@lru_cache
def constant(name: str, device: torch.device) -> Tensor:
    """Kept on the device: to bring a constant there waits for all that goes on there."""
    order = np.arange(8)
    cosines = np.cos((2 * order + 1) * order[:, None] * math.pi / 16) / 2
    cosines[0] /= 2**0.5
    values = {
        "ycc": YCC,
        "rgb": np.linalg.inv(YCC),
        "cosines": cosines,
        "coarseness": (4 + 3 * (order[:, None, None] + order)) * np.array([1, 2, 2]).reshape(3, 1, 1, 1, 1),
    }
    return torch.tensor(values[name], device=device, dtype=torch.float32)


def uniform(like: Tensor, low: float, high: float, channels: int = 1) -> Tensor:
    """A number for each picture, `[n, channels, 1, 1]`."""
    return low + (high - low) * torch.rand(len(like), channels, 1, 1, device=like.device)


def happens(like: Tensor, probability: float) -> Tensor:
    """Whether it happens to each picture, bool `[n, 1, 1, 1]`."""
    return torch.rand(len(like), 1, 1, 1, device=like.device) < probability


def change_some(pictures: Tensor, probability: float, change: Callable[[Tensor], Tensor]) -> None:
    """Changes about this share of the pictures, where they are. Which ones is drawn on the processor: it need not wait
    for the device to know how many they are."""
    chosen = (torch.rand(len(pictures)) < probability).nonzero()[:, 0].to(pictures.device, non_blocking=True)
    if len(chosen):
        pictures[chosen] = change(pictures[chosen]).clamp(0, 255)


def places(like: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of each pixel, -1 to 1, to be broadcast."""
    height, width = like.shape[2:]
    rows, cols = (torch.linspace(-1, 1, count, device=like.device) for count in (height, width))
    return rows[:, None], cols[None]


def filtered(pictures: Tensor, kernels: Tensor) -> Tensor:
    """Each picture by its own kernel, `[n, K, K]`, which is scaled to sum up to one."""
    kernels = kernels / kernels.sum((1, 2), keepdim=True)
    size = kernels.shape[1]
    padded = F.pad(pictures, [size // 2] * 4, mode="reflect").flatten(0, 1)[None]
    each = kernels.repeat_interleave(pictures.shape[1], 0)[:, None]
    return F.conv2d(padded, each, groups=len(each)).view_as(pictures)


def offsets(like: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column within a kernel, from its middle."""
    reach = LONGEST_KERNEL // 2
    line = torch.arange(-reach, reach + 1, device=like.device, dtype=torch.float32)
    return line[None, :, None], line[None, None]


def light(pictures: Tensor, probability: float = 0.7) -> Tensor:
    """Exposure, contrast, saturation and white balance, so that colour alone does not decide."""
    changed = pictures * uniform(pictures, 0.65, 1.4) * uniform(pictures, 0.87, 1.15, 3) + uniform(pictures, -25, 25)
    grey = changed.mean(1, keepdim=True)
    changed = grey + uniform(pictures, 0.4, 1.4) * (changed - grey)
    mean = changed.mean((1, 2, 3), keepdim=True)
    changed = mean + uniform(pictures, 0.7, 1.25) * (changed - mean)
    changed = torch.where(happens(pictures, probability), changed, pictures)
    changed = torch.where(happens(pictures, 0.1), changed.mean(1, keepdim=True), changed)
    return changed.clamp(0, 255)


def night(pictures: Tensor) -> Tensor:
    """Little light: dark or amplified, with shot and read noise, often nearly without colour."""
    exposure = uniform(pictures, 0.04, 0.25)
    gain = torch.minimum(1 / exposure, uniform(pictures, 1, 8))
    grey = pictures.mean(1, keepdim=True)
    seen = exposure * (grey + uniform(pictures, 0, 0.8) * (pictures - grey)).clamp(min=0)
    return gain * (seen + torch.randn_like(seen) * (0.15 * seen + uniform(pictures, 0.05, 1)).sqrt())


def vignette(pictures: Tensor) -> Tensor:
    """A lens's dark corners, its centre not always in the middle."""
    rows, cols = places(pictures)
    distance = ((cols - uniform(pictures, -0.2, 0.2)) ** 2 + (rows - uniform(pictures, -0.2, 0.2)) ** 2) / 2
    return pictures * (1 - uniform(pictures, 0.2, 0.7) * distance.clamp(0, 1))


def motion_blur(pictures: Tensor) -> Tensor:
    """Along a straight way."""
    rows, cols = offsets(pictures)
    angle, half = uniform(pictures, 0, math.pi)[:, 0], uniform(pictures, 0.7, LONGEST_KERNEL / 2)[:, 0]
    along = cols * angle.cos() + rows * angle.sin()
    across = cols * angle.sin() - rows * angle.cos()
    return filtered(pictures, (1 - across.abs()).clamp(min=0) * (half + 0.5 - along.abs()).clamp(0, 1))


def gaussians(like: Tensor, least: float, most: float) -> Tensor:
    rows, cols = offsets(like)
    return torch.exp(-(rows**2 + cols**2) / (2 * uniform(like, least, most)[:, 0] ** 2))


def soften(pictures: Tensor) -> Tensor:
    """Out of focus."""
    return filtered(pictures, gaussians(pictures, 0.4, 1.5))


def sharpen(pictures: Tensor) -> Tensor:
    """As cameras do. Photos that were enlarged get their edges back, so that a sharp thing is no object for that."""
    soft = filtered(pictures, gaussians(pictures, 0.7, 1.8))
    return pictures + uniform(pictures, 0.2, 1.2) * (pictures - soft)


def enlarge(pictures: Tensor) -> Tensor:
    """As if they had been smaller."""
    height, width = pictures.shape[2:]
    scale = 0.4 + 0.5 * torch.rand(()).item()
    small = F.interpolate(pictures, (round(scale * height), round(scale * width)), mode="area")
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)


def grain(pictures: Tensor) -> Tensor:
    """Noise of single pixels, or of neighbours alike, as it is after a codec."""
    fine = torch.randn_like(pictures)
    coarse = F.interpolate(2 * F.avg_pool2d(fine, 2), pictures.shape[2:], mode="bilinear", align_corners=False)
    return pictures + uniform(pictures, 2, 14) * torch.where(happens(pictures, 0.5), fine, coarse)


def compress(pictures: Tensor) -> Tensor:
    """The quantised cosines of JPEG: 8x8 blocks that begin anywhere, chroma coarser than luma."""
    ycc_of, rgb_of, cosines, coarseness = (
        constant(name, pictures.device) for name in ("ycc", "rgb", "cosines", "coarseness")
    )
    begin = torch.randint(8, (2,)).tolist()
    ycc = torch.einsum("ij,njhw->nihw", ycc_of, pictures.roll(begin, (2, 3)))
    count, channels, height, width = ycc.shape
    blocks = ycc.view(count, channels, height // 8, 8, width // 8, 8)
    waves = torch.einsum("ai,ncyixj,bj->ncyaxb", cosines, blocks, cosines)
    steps = uniform(pictures, -1.2, 1.1).exp()[..., None, None] * coarseness
    waves = (waves / steps).round() * steps
    ycc = torch.einsum("ai,ncyaxb,bj->ncyixj", cosines, waves, cosines).reshape(pictures.shape)
    rgb = torch.einsum("ij,njhw->nihw", rgb_of, ycc)
    return rgb.roll([-first for first in begin], (2, 3))


def camera(pictures: Tensor) -> Tensor:
    """The pictures as a camera would give them, where they are. About a third come through unharmed."""
    steps = (
        (0.08, night),
        (0.07, vignette),
        (0.10, motion_blur),
        (0.12, soften),
        (0.15, sharpen),
        (0.10, enlarge),
        (0.20, grain),
        (0.30, compress),
    )
    for probability, step in steps:
        change_some(pictures, probability, step)
    return pictures


def smooth_field(pictures: Tensor, channels: int, cells: int) -> Tensor:
    """Noise of so many cells per side, `[n, channels, H, W]`, with a standard deviation somewhat below 1."""
    noise = torch.randn(len(pictures), channels, cells, cells, device=pictures.device)
    return F.interpolate(noise, pictures.shape[2:], mode="bicubic", align_corners=False)


def shade(pictures: Tensor) -> Tensor:
    """Shadows, hard or soft, of something that is not in the picture."""
    field = smooth_field(pictures, 1, 5) + uniform(pictures, -1, 0.3)
    covered = (field / uniform(pictures, -3, 0).exp()).sigmoid()
    return pictures * (1 - uniform(pictures, 0.15, 0.6) * covered)


def other_light(pictures: Tensor) -> Tensor:
    """The same place at another time: exposure, gamma, white balance, shadows."""
    changed = 255 * (pictures / 255).clamp(1e-3, 1) ** uniform(pictures, -0.3, 0.3).exp()
    changed = changed * uniform(pictures, -0.3, 0.3).exp() * uniform(pictures, 0.93, 1.07, 3) + uniform(
        pictures, -12, 12
    )
    changed = torch.where(happens(pictures, 0.8), changed, pictures).clamp(0, 255)
    change_some(changed, 0.4, shade)
    return changed


def swayed(pictures: Tensor, shaken: float = 1.2, most: float = 1.5) -> Tensor:
    """Shifted by parts of a pixel, as by a mast in the wind, and at times with parts that move by themselves, as
    leaves do; both in pixels."""
    height, width = pictures.shape[2:]
    rows, cols = places(pictures)
    leaves = smooth_field(pictures, 2, 24) * uniform(pictures, 0, most) * happens(pictures, 0.4)
    right, down = (leaves + uniform(pictures, -shaken, shaken, 2)).unbind(1)
    grid = torch.stack([cols + right * 2 / width, rows + down * 2 / height], -1)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=True)
