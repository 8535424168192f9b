"""`scenes.py` for a batch at once, on the device that trains; and each place once more, as it was before.

Of some scenes there is a second picture of the same place at another time: without what was pasted, in other light, by
a camera that shook. What a scene's memory is to learn is which of the differences are something new.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import device_camera as camera
from device_pool import LEVELS, OBJECTS, SIDE, UNKNOWN, DevicePool, sampled
from scenes import Mix

PASTED = 4
"""Objects that are pasted into a composite, at most."""
MOST = OBJECTS + PASTED
LEAST_PATCHES = 1.5
"""Root of the area of a pasted object, at least, in patches."""
CLOSE, CLOSE_SIDE = (0.3, 0.8), 1.4
"""Of the scene, that an object covers that is close, and its sides at most: it may be cut off all around."""
COVERED = 0.6
"""Of a patch, from which on it is new."""


class Batch(NamedTuple):
    pictures: Tensor
    """uint8 `[B, H, W, 3]`."""
    labels: Tensor
    """int64 `[B, N]`: 0 background, 1.. objects, -1 not known."""
    before: Tensor
    """uint8 `[P, H, W, 3]`: the first P places at another time."""
    change: Tensor
    """int64 `[P, N]`: 1 something new, 0 the same place, -1 not known."""


def flips(count: int, device: torch.device) -> Tensor:
    return torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)


def uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    return low + (high - low) * torch.rand(count, device=device)


def chance(count: int, probability: float, device: torch.device) -> Tensor:
    return torch.rand(count, device=device) < probability


def matrices(across: Tensor, down: Tensor, right: Tensor, bottom: Tensor) -> Tensor:
    """`[n, 2, 3]` for `affine_grid`: scale and offset in both directions."""
    none = torch.zeros_like(across)
    return torch.stack([torch.stack([across, none, right], 1), torch.stack([none, down, bottom], 1)], 1)


def grids(matrix: Tensor, height: int, width: int) -> Tensor:
    return F.affine_grid(matrix, [len(matrix), 1, height, width], align_corners=False)


class DeviceScenes:
    def __init__(self, pool: DevicePool, mix: Mix, patch: int, pairs: float, close: float):
        """The share `pairs` of a batch has a second picture. The share `close` of its composites has an object close to
        the camera."""
        self.pool, self.mix, self.patch, self.pairs, self.close = pool, mix, patch, pairs, close
        self.device = pool.device
        self._sizes: dict[tuple[int, int], Tensor] = {}

    @torch.no_grad()
    def batch(self, count: int, height: int, width: int) -> Batch:
        kind = torch.rand(count)
        is_composite = (kind >= self.mix.empty) & (kind < self.mix.empty + self.mix.composite)
        is_bare = (kind < self.mix.empty) | is_composite & (torch.rand(count) < self.mix.over_empty)
        bare, seen = self._where(is_bare), self._where(~is_bare)
        pictures = torch.empty(count, 3, height, width, device=self.device)
        half = (height // 2, width // 2)
        masks = torch.zeros(count, MOST, *half, device=self.device)
        unknown = torch.zeros(count, 1, *half, device=self.device)
        if len(bare):
            pictures[bare] = self._nothing(len(bare), height, width)
        if len(seen):
            pictures[seen], labels = self._views(len(seen), height, width)
            masks[seen, :OBJECTS] = torch.stack([(labels == number).float() for number in range(1, OBJECTS + 1)], 1)
            unknown[seen] = (labels == UNKNOWN).float()[:, None]
        pictures = camera.light(pictures)

        pairs = round(self.pairs * count)
        before = pictures[:pairs].clone()
        counts = torch.where(is_composite, torch.randint(1, PASTED + 1, (count,)), 0)
        at = torch.full((count, 4), math.nan, device=self.device)
        for slot in range(PASTED if len(self.pool.object_weight) else 0):
            chosen = self._where(counts > slot)
            if len(chosen):
                self._paste(pictures, masks, chosen, slot, at)
        pictures = camera.camera(pictures)
        if pairs:
            before = camera.camera(camera.other_light(camera.swayed(before)))
        return Batch(
            as_bytes(pictures), self._labels(masks, unknown), as_bytes(before), self._change(masks[:pairs, OBJECTS:])
        )

    def _where(self, is_chosen: Tensor) -> Tensor:
        """The numbers of those that the processor has chosen."""
        return is_chosen.nonzero()[:, 0].to(self.device, non_blocking=True)

    def _views(self, count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Parts of photos, `[n, 3, H, W]`, and their labels, `[n, H / 2, W / 2]`."""
        index = torch.multinomial(self.pool.quality.clamp(min=1e-6), count, replacement=True)
        aspect = self.pool.aspects[index]
        share = torch.where(chance(count, 0.7, self.device), uniform(count, 0.35, 1, self.device), 1.0)
        wanted = width / height * uniform(count, -0.3, 0.3, self.device).exp()
        across = (share * wanted / aspect).sqrt().clamp(max=1)
        down = (share * aspect / wanted).sqrt().clamp(max=1)
        right, bottom = ((2 * torch.rand(count, device=self.device) - 1) * (1 - side) for side in (across, down))
        matrix = matrices(across * flips(count, self.device), down, right, bottom)
        view = self.pool.looks(index, grids(matrix, height, width))
        camera.change_some(view, 0.5, camera.sharpen)
        labels = sampled(self.pool.labels[index][:, None], grids(matrix, height // 2, width // 2), mode="nearest")
        return view, labels[:, 0].round().long()

    def _nothing(self, count: int, height: int, width: int) -> Tensor:
        """Drawn scenes, or the ground of photos, mirrored so that there is no seam."""
        pictures = torch.empty(count, 3, height, width, device=self.device)
        is_drawn = torch.rand(count) < (0.6 if len(self.pool.ground_photo) else 1.0)
        drawn, ground = self._where(is_drawn), self._where(~is_drawn)
        if len(drawn):
            index = torch.randint(len(self.pool.empty), (len(drawn),), device=self.device)
            side = uniform(len(drawn), 0.5, 1, self.device)
            right, bottom = ((2 * torch.rand(len(drawn), device=self.device) - 1) * (1 - side) for _ in range(2))
            matrix = matrices(side * flips(len(drawn), self.device), side * height / width, right, bottom)
            pictures[drawn] = sampled(self.pool.empty[index], grids(matrix, height, width), padding_mode="reflection")
        if len(ground):
            which = torch.multinomial(self.pool.ground_weight, len(ground), replacement=True)
            index, box = self.pool.ground_photo[which], self.pool.ground_box[which]
            middle, half = (box[:, :2] + box[:, 2:]) / 2, 0.96 * (box[:, 2:] - box[:, :2]) / 2
            strip = half[:, 0] * self.pool.aspects[index] / half[:, 1]
            # A strip is repeated rather than pulled: its aspect stays as far as three mirror images allow.
            size, stretch = uniform(len(ground), 0.6, 1.3, self.device), (width / height / strip).sqrt()
            scale = torch.stack([size * stretch, size / stretch], 1).clamp(0.35, 3)
            offset = 2 * torch.rand(len(ground), 2, device=self.device)
            plain = grids(matrices(scale[:, 0], scale[:, 1], offset[:, 0], offset[:, 1]), height, width)
            folded = 1 - (plain.remainder(4) - 2).abs()  # -1 to 1, there and back
            grid = middle[:, None, None] + half[:, None, None] * folded
            pictures[ground] = self.pool.looks(index, grid)
        return pictures

    def _paste(self, pictures: Tensor, masks: Tensor, chosen: Tensor, slot: int, at: Tensor) -> None:
        """An object onto each of the chosen scenes. `at` are the boxes of the last ones: centre and size in pixels."""
        count, device = len(chosen), self.device
        height, width = pictures.shape[2:]
        which = torch.multinomial(self.pool.object_weight, count, replacement=True)
        index, box = self.pool.object_photo[which], self.pool.object_box[which]
        middle, half = (box[:, :2] + box[:, 2:]) / 2, (box[:, 2:] - box[:, :2]) / 2
        largest = self.mix.largest * (1 if slot == 0 else 0.6)
        share = uniform(count, math.log(self.mix.smallest), math.log(largest), device).exp()
        # The masks of photos that one object fills are bad: only what is pasted shows what such an object is.
        is_close = chance(count, self.close if slot == 0 else 0.0, device)
        share = torch.where(is_close, uniform(count, *CLOSE, device), share)
        fill = (self.pool.object_share[which] / half.prod(1)).clamp(0.1, 1)
        side = (share * height * width).sqrt().clamp(min=LEAST_PATCHES * self.patch) / fill.sqrt()
        stretch = (half[:, 0] * self.pool.aspects[index] / half[:, 1]).sqrt() * uniform(count, -0.1, 0.1, device).exp()
        size = torch.stack([side * stretch, side / stretch], 1)
        if (height, width) not in self._sizes:
            self._sizes[height, width] = torch.tensor([width, height], device=device, dtype=torch.float32)
        scene = self._sizes[height, width]
        room = torch.where(is_close, CLOSE_SIDE, 0.95)[:, None] * scene
        size = size * (room / size).amin(1, keepdim=True).clamp(max=1)

        # A quarter of it may be outside; many touch the last one.
        centre = torch.rand(count, 2, device=device) * (scene - 0.5 * size) + 0.25 * size
        last = at[chosen]
        touches = chance(count, self.mix.touching, device) & ~last[:, 0].isnan()
        angle, near = uniform(count, 0, 2 * math.pi, device), uniform(count, 0.6, 1, device)
        away = torch.stack([angle.cos(), angle.sin()], 1) * near[:, None] * (last[:, 2:] + size) / 2
        centre = torch.where(touches[:, None], last[:, :2] + away, centre)
        at[chosen] = torch.cat([centre, size], 1)

        # From the scene's -1..1 to pixels about the centre, turned, and to the photo's -1..1.
        turn = torch.where(chance(count, 0.4, device), uniform(count, -0.35, 0.35, device), 0.0)
        turned = torch.stack([torch.stack([turn.cos(), turn.sin()], 1), torch.stack([-turn.sin(), turn.cos()], 1)], 1)
        scale = 2 * half / size * torch.stack([flips(count, device), torch.ones(count, device=device)], 1)
        linear = scale[:, :, None] * turned
        offset = middle + (linear @ (scene / 2 - centre)[:, :, None])[:, :, 0]
        matrix = torch.cat([linear * (scene / 2), offset[:, :, None]], 2)
        grid = grids(matrix, height, width)

        # About as fine as what is wanted. Some are coarser: what is pasted is not always sharper than its ground.
        level = (half * SIDE / size).amin(1).clamp(min=1).log2().round() + chance(count, 0.25, device)
        look = camera.light(self.pool.looks(index, grid, level.long().clamp(max=len(LEVELS) - 1)))
        mask = sampled((self.pool.labels[index] == self.pool.object_number[which][:, None, None])[:, None], grid)
        mask = (2.2 * (mask - 0.5) + 0.5).clamp(0, 1)
        ground = pictures[chosen]
        amount = mask.sum((2, 3), keepdim=True).clamp(min=1)
        to_ground = ((ground - look) * mask).sum((2, 3), keepdim=True) / amount
        camouflage = camera.happens(look, 0.5) * camera.uniform(look, 0.2, 0.8)
        look = (look + camouflage * to_ground).clamp(0, 255)
        reach = [round(float(part)) for part in (torch.rand(2) * 2 - 1) * 0.06 * min(height, width)]
        shadow = F.avg_pool2d(F.avg_pool2d(mask.roll((abs(reach[0]), reach[1]), (2, 3)), 9, 1, 4), 9, 1, 4)
        ground = ground * (1 - camera.happens(look, 0.3) * camera.uniform(look, 0.2, 0.7) * shadow)
        pictures[chosen] = ground + mask * (look - ground)

        small = F.avg_pool2d(mask, 2)
        below = masks[chosen] * (1 - small)
        below[:, OBJECTS + slot] = small[:, 0]
        masks[chosen] = below

    def _labels(self, masks: Tensor, unknown: Tensor) -> Tensor:
        """Per patch, as `scenes.patch_labels`; what is not known of a photo counts where nothing was pasted over it."""
        cover = F.avg_pool2d(masks, self.patch // 2)
        open_ = 1 - cover[:, OBJECTS:].sum(1)
        unsure = F.avg_pool2d(unknown, self.patch // 2)[:, 0] * open_.clamp(min=0)
        most = cover.amax((2, 3), keepdim=True)
        is_object = (cover >= (0.7 * most).clamp(max=0.5)) & (most >= 0.2)
        best = torch.where(is_object, cover, 0.0).argmax(1) + 1
        labels = torch.where((cover.sum(1) > 0.15) | (unsure > 0.3), -1, 0)
        return torch.where(is_object.any(1), best, labels).flatten(1)

    def _change(self, pasted: Tensor) -> Tensor:
        cover = F.avg_pool2d(pasted.sum(1, keepdim=True), self.patch // 2)[:, 0]
        change = torch.where(cover > COVERED, 1, -1)
        return torch.where(cover < 1e-3, 0, change).flatten(1)

    def sheet(self, height: int, width: int, count: int) -> np.ndarray:
        """What is trained on, to be looked at: in three columns the pictures, their labels, and of some the same place
        before and what changed."""
        batch = self.batch(count, height, width)
        colours = (255 * torch.rand(MOST + 2, 3, generator=torch.Generator().manual_seed(1))).byte()
        colours[0], colours[-1] = 0, 128  # background, not known

        def painted(labels: Tensor) -> Tensor:
            small = colours[labels.cpu()].view(-1, height // self.patch, width // self.patch, 3)
            return small.repeat_interleave(self.patch, 1).repeat_interleave(self.patch, 2)

        pictures, labels = batch.pictures.cpu(), painted(batch.labels)
        missing = torch.zeros_like(pictures[len(batch.before) :])
        befores = (torch.cat([part, missing]) for part in (batch.before.cpu(), painted(batch.change)))
        rows = torch.cat([pictures, labels, *befores], 2)
        return torch.cat([rows[first::3].flatten(0, 1) for first in range(3)], 1).numpy()


def as_bytes(pictures: Tensor) -> Tensor:
    return pictures.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
