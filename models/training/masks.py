"""First masks, without learning and without labels: what of a photo is probably an object.

Background is what the border of the photo reaches without crossing strong edges (robust background detection: Zhu,
Liang, Wei, Sun: Saliency Optimization from Robust Background Detection, CVPR 2014), on SLIC superpixels; GrabCut
sharpens the outline. A quality from 0 to 1 says how far both agree and how well the object is set off: from 0.35 on,
most masks are good.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import shortest_path

WORKING_SIDE = 128
"""Longer side of a photo while its mask is made, and of the label image, in pixels."""
SUPERPIXELS = 160
# Widths of the paper's Gaussians: over colour (ΔE in Lab), over distance (shares of the longer side).
GEODESIC_SIGMA, SMOOTH_SIGMA, DISTANCE_SIGMA = 7.0, 10.0, 0.4
LEAST_SMOOTHNESS = 0.1
SMALLEST_SHARE, LARGEST_SHARE = 0.02, 0.75
"""An object covers at least and at most this share of the photo."""


@dataclass
class Regions:
    """Superpixels, R of them."""

    labels: np.ndarray
    """`[H, W]`, which superpixel a pixel is of."""
    colour: np.ndarray
    """`[R, 3]`, mean Lab colour (L 0..100)."""
    centre: np.ndarray
    """`[R, 2]`, in shares of the longer side."""
    on_border: np.ndarray
    """`[R]` bool."""
    touches: np.ndarray
    """`[R, R]` bool; all superpixels on the border touch, as if the photo were rolled up."""

    @classmethod
    def of(cls, rgb: np.ndarray) -> "Regions":
        height, width = rgb.shape[:2]
        lab8 = cv2.cvtColor(cv2.GaussianBlur(rgb, (3, 3), 0), cv2.COLOR_RGB2LAB)
        side = max(6, int((height * width / SUPERPIXELS) ** 0.5))
        slic = cv2.ximgproc.createSuperpixelSLIC(lab8, cv2.ximgproc.SLIC, side, 20.0)
        slic.iterate(6)
        slic.enforceLabelConnectivity(25)
        labels, count = slic.getLabels(), slic.getNumberOfSuperpixels()

        sizes = np.maximum(np.bincount(labels.ravel(), minlength=count), 1)
        rows, cols = np.mgrid[:height, :width] / max(height, width)
        lab = lab8.astype(np.float32) * (100 / 255, 1, 1)

        def mean(values: np.ndarray) -> np.ndarray:
            return np.bincount(labels.ravel(), values.ravel(), count) / sizes

        on_border = np.zeros(count, bool)
        on_border[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
        touches = np.outer(on_border, on_border)
        for first, second in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
            touches[first, second] = touches[second, first] = True
        np.fill_diagonal(touches, False)
        colour = np.stack([mean(lab[..., channel]) for channel in range(3)], 1)
        return cls(labels, colour, np.stack([mean(rows), mean(cols)], 1), on_border, touches)


def _gaussian(distance: np.ndarray, sigma: float) -> np.ndarray:
    return np.exp(-(distance**2) / (2 * sigma**2))


def _distances(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def saliency(rgb: np.ndarray) -> np.ndarray:
    """How salient each pixel is, float32 `[H, W]` from 0 to 1, stretched over that range."""
    regions = Regions.of(rgb)
    colour = _distances(regions.colour)
    # Steps as small as those inside of surfaces cost nothing: the median of the smallest step at each superpixel.
    smallest = np.where(regions.touches, colour, np.inf).min(1)
    free = np.median(smallest[np.isfinite(smallest)]) if np.isfinite(smallest).any() else 0.0
    steps = np.where(regions.touches, np.maximum(colour - free, 0) + 1e-6, 0)
    reach = _gaussian(shortest_path(csr_matrix(steps), directed=False), GEODESIC_SIGMA)
    # Boundary connectivity: how much of the border the surface around a superpixel has, for its size.
    connectivity = reach[:, regions.on_border].sum(1) / np.sqrt(reach.sum(1))
    background = 1 - _gaussian(connectivity, 1.0)

    contrast = (colour * _gaussian(_distances(regions.centre), DISTANCE_SIGMA)) @ background
    foreground = (contrast - contrast.min()) / max(np.ptp(contrast), 1e-9)
    background = np.where(regions.on_border, np.maximum(background, 0.5), background)

    # Least squares: 1 where foreground, 0 where background, smooth between neighbours and theirs.
    near = regions.touches.astype(np.float32)
    near = (near + near @ near) > 0
    smooth = np.where(near, _gaussian(colour, SMOOTH_SIGMA), 0) + np.where(regions.touches, LEAST_SMOOTHNESS, 0)
    np.fill_diagonal(smooth, 0)
    laplacian = np.diag(smooth.sum(1)) - smooth
    values = np.linalg.solve(laplacian + np.diag(background + foreground + 1e-6), foreground)
    values = (values - values.min()) / max(np.ptp(values), 1e-9)
    return values[regions.labels].astype(np.float32)


def working_size(rgb: np.ndarray) -> np.ndarray:
    """The photo at the size masks are made at."""
    height, width = rgb.shape[:2]
    scale = WORKING_SIDE / max(height, width)
    size = max(16, round(width * scale)), max(16, round(height * scale))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def sharpen(rgb: np.ndarray, trimap: np.ndarray, rounds: int) -> np.ndarray | None:
    """GrabCut from a trimap of its own classes, specks and pinholes removed: bool `[H, W]`. None where it cannot
    tell."""
    trimap = trimap.astype(np.uint8)
    cv2.setRNGSeed(0)  # GrabCut begins with random clusters: the same photo always gets the same mask
    try:
        cv2.grabCut(rgb, trimap, None, np.zeros((1, 65)), np.zeros((1, 65)), rounds, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None
    mask = np.isin(trimap, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)
    return cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel) > 0


def components(mask: np.ndarray, least_share: float, least_pixels: int = 1, most: int = 5) -> tuple[np.ndarray, int]:
    """The mask's 4-connected parts as labels 1.., the largest first, and their number. Left out is what is smaller than
    this share of the largest one, or than these pixels."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    labels, count = np.zeros(mask.shape, np.uint8), 0
    for part in np.argsort(-areas, kind="stable")[:most]:
        if areas[part] < max(least_share * areas.max(), least_pixels):
            break
        count += 1
        labels[parts == part + 1] = count
    return labels, count


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Of two bool masks; 0 where both are empty."""
    return float((first & second).sum() / max((first | second).sum(), 1))


def first_mask(rgb: np.ndarray) -> tuple[np.ndarray, float]:
    """Of an RGB photo: labels `[h, w]` at working size, 1 on all that is salient, and their quality from 0 to 1."""
    small = working_size(rgb)
    salient = saliency(small)
    cut, _ = cv2.threshold((255 * salient).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    cut = float(np.clip(cut / 255, 0.25, 0.7))
    coarse = salient > cut
    empty = np.zeros(coarse.shape, np.uint8), 0.0
    if not SMALLEST_SHARE <= coarse.mean() <= LARGEST_SHARE:
        return empty
    edge = np.ones(coarse.shape, bool)
    edge[2:-2, 2:-2] = False
    trimap = np.where(coarse, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    trimap[salient < cut / 4] = cv2.GC_BGD
    trimap[salient > max(0.4 * cut + 0.6, 0.85)] = cv2.GC_FGD
    trimap[edge & ~coarse] = cv2.GC_BGD
    sharp = sharpen(small, trimap, rounds=3)
    if sharp is None or not sharp.any():
        return empty
    parts, count = components(sharp, least_share=0.25)
    mask = parts > 0
    if not SMALLEST_SHARE <= mask.mean() <= LARGEST_SHARE:
        return empty
    set_off = salient[mask].mean() - salient[~mask].mean()
    inside = 1 - min(1.5 * mask[edge].mean(), 1.0)
    together = (1.0, 0.8, 0.5)[min(count, 3) - 1]
    return mask.astype(np.uint8), float(np.clip(iou(mask, coarse) * set_off * inside * together, 0, 1))
