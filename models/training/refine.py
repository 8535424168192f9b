"""Self-training: a pool and a model → a pool whose masks are what the model sees, sharpened.

The model's foreground map is smoothed over its own affinity and sharpened by GrabCut; parts that do not touch are
objects of their own. Labels that were good before have a say. The same command goes on where it was cut off.
"""

import argparse
import multiprocessing
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

import vit
from masks import components, iou, sharpen, working_size
from pool import Pool, PoolWriter, in_chunks

GOOD = 0.3
"""Labels of this quality have a say."""
SMALLEST_SHARE, LARGEST_SHARE = 0.005, 0.8
SMALLEST_OBJECT = 24
"""In pixels at working size."""


@torch.no_grad()
def foreground(model: vit.VisionTransformer, photo: np.ndarray, long_side: int, device: torch.device) -> np.ndarray:
    """How probably each patch of a photo is on an object, float32 `[rows, cols]`."""
    patch = model.measures.patch
    scale = long_side / max(photo.shape[:2])
    height, width = (max(4, round(scale * side / patch)) * patch for side in photo.shape[:2])
    small = torch.from_numpy(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA))
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        output = model(small[None].to(device))
    keys, probability = output.keys[0].float(), output.foreground()[0].float().sigmoid()
    together = (2 * keys @ keys.T / keys.shape[1] ** 0.5).sigmoid()
    smoothed = together @ probability / together.sum(1)
    return ((probability + smoothed) / 2).view(height // patch, -1).cpu().numpy()


def refined(
    photo: np.ndarray, old: np.ndarray, old_quality: float, chances: np.ndarray
) -> tuple[np.ndarray, float] | None:
    """New labels at working size, and their quality; None where nothing, or nearly all, is foreground."""
    small = working_size(photo)
    size = small.shape[1], small.shape[0]
    chances = cv2.resize(chances, size, interpolation=cv2.INTER_CUBIC)
    old_mask = cv2.resize(old, size, interpolation=cv2.INTER_NEAREST) > 0
    coarse = chances > 0.5
    if not SMALLEST_SHARE <= coarse.mean() <= LARGEST_SHARE:
        return None
    trimap = np.where(coarse, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    trimap[chances < min(0.12, max(0.02, float(np.quantile(chances, 0.1))))] = cv2.GC_BGD
    trimap[chances > 0.9] = cv2.GC_FGD
    sharp = sharpen(small, trimap, rounds=2)
    agreement = 0.0 if sharp is None else iou(sharp, coarse)
    # Colour misleads GrabCut where both hardly agree: then the model is right.
    mask = sharp if sharp is not None and agreement >= 0.55 else coarse
    with_old = iou(mask, old_mask)
    if old_quality >= GOOD and with_old >= 0.75:
        mask = (mask & old_mask) | ((mask | old_mask) & (chances > 0.6))
    labels, count = components(mask, least_share=0.05, least_pixels=SMALLEST_OBJECT)
    if not count or not SMALLEST_SHARE <= (labels > 0).mean() <= LARGEST_SHARE:
        return None
    quality = float(np.abs(2 * chances - 1).mean()) * (0.4 + 0.6 * agreement)
    if old_quality >= GOOD:
        quality = min(1.0, quality + 0.15) if with_old >= 0.6 else quality * (0.55 + 0.75 * with_old)
    return labels, float(np.clip(quality, 0, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path, help="a pool: a folder or tar archive")
    parser.add_argument("model", type=Path, help="a .safetensors file, as export.py makes it")
    parser.add_argument("refined", type=Path, help="folder of the new pool; one that is there is gone on with")
    parser.add_argument("--long-side", type=int, default=224, help="of a photo for the model, in pixels [default: 224]")
    parser.add_argument("--limit", type=int, help="only the first so many photos")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes, and threads of PyTorch")
    arguments = parser.parse_args()

    cv2.setNumThreads(1)
    torch.set_num_threads(arguments.jobs)
    pool, writer = Pool(arguments.pool), PoolWriter(arguments.refined)
    # Processes first: threads do not survive a fork.
    with multiprocessing.Pool(arguments.jobs, initializer=cv2.setNumThreads, initargs=(1,)) as workers:
        device = torch.device(arguments.device)
        model = vit.load(arguments.model).to(device).eval()
        todo = [index for index, name in enumerate(pool.names[: arguments.limit]) if name not in writer.done]
        for chunk in in_chunks(todo, 128):
            photos = [pool.photo(index) for index in chunk]
            work = [
                (
                    photo,
                    pool.labels(index),
                    pool.quality[pool.names[index]],
                    foreground(model, photo, arguments.long_side, device),
                )
                for index, photo in zip(chunk, photos, strict=True)
            ]
            for index, result in zip(chunk, workers.starmap(refined, work, chunksize=8), strict=True):
                name = pool.names[index]
                if result is None:
                    writer.skip(name, "nothing, or nearly everything, is foreground")
                else:
                    writer.keep(name, name, pool.jpeg(index), *result)
            print(f"{len(writer.done)} of {len(pool)} photos", file=sys.stderr)
    writer.finish()
    print(f"{len(writer.done)} photos seen, {len(writer.quality)} kept: {arguments.refined}")


if __name__ == "__main__":
    main()
