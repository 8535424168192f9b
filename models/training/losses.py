"""What is optimised: the sign of the product of two keys says whether their patches belong together.

MOST and LOST look at nothing but these signs; MOST draws a box around the positive products with the sum of an object's
keys (`extent`), TokenCut and the score look at the cosine, DINO-seg at the CLS token's attention. Every object counts
the same, however small it is.
"""

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from vit import Output

RING = 2
"""Background this near to an object, in patches, is its surroundings."""
SAME_COSINE, OTHER_COSINE = 0.5, -0.1
"""The cosine is to be at least this within an object or the background, and at most this across. TokenCut cuts at
0.2."""


@dataclass(frozen=True)
class Weights:
    inside: float = 1.0
    """Two patches of one object."""
    background: float = 1.5
    """Two patches of the background; in an empty scene, any two. More for those that are alone in it."""
    outside: float = 1.5
    """An object and the background."""
    surroundings: float = 1.0
    """An object and the background next to objects: what boxes swallow."""
    apart: float = 0.7
    """Two objects."""
    extent: float = 0.5
    cosine: float = 1.0
    attention: float = 0.3
    distill: float = 0.0
    """Agreement with the averaged model, which sees the scene before the camera spoils it. Costs a third more time."""


def memberships(labels: Tensor, rows: int, most: int | None = None) -> tuple[Tensor, Tensor]:
    """`[B, N, G]`, the share of each patch in its group, and `[B, G]`, whether the group has any patch. The groups are
    the background, the background next to objects, and the objects 1..; labels are `[B, N]`, -1 not known. `most`
    objects make groups of a fixed number, for a compiled step that never waits for the device."""
    is_object = (labels > 0).float().view(len(labels), 1, rows, -1)
    near = F.max_pool2d(is_object, 2 * RING + 1, stride=1, padding=RING).flatten(1) > 0
    background = labels == 0
    most = int(labels.max()) if most is None else most
    objects = [labels == number for number in range(1, most + 1)]
    groups = torch.stack([background, background & near, *objects], 2).float()
    sizes = groups.sum(1)
    return groups / sizes.clamp(min=1)[:, None], sizes > 0


def between(values: Tensor, groups: Tensor) -> Tensor:
    """`[B, G, G]`: the means of `[B, N, N]` over the pairs of patches of any two groups."""
    return groups.transpose(1, 2) @ values @ groups


def mean_where(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp(min=1)


def losses(
    output: Output, labels: Tensor, rows: int, weights: Weights, most: int | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and its parts before they are weighted. `labels` `[B, N]` are over a grid of `rows` rows, and hold at
    most `most` objects."""
    keys = output.keys.float()
    groups, present = memberships(labels, rows, most)
    there = (present[:, :, None] & present[:, None]).float()
    is_object = torch.arange(there.shape[1], device=labels.device) >= 2
    same_object = torch.diag(is_object).float() * there
    two_objects = (is_object[:, None] & is_object).float().triu(1) * there
    with_background, with_ring = (is_object * there[:, group] for group in (0, 1))

    def by_kind(together: Tensor, apart: Tensor) -> dict[str, Tensor]:
        """From the loss of pairs that should be together, and of pairs that should be apart, means over groups `[B, G,
        G]`."""
        return {
            "inside": mean_where(together, same_object),
            "background": mean_where(together[:, 0, 0], there[:, 0, 0]),
            "outside": mean_where(apart[:, 0], with_background),
            "surroundings": mean_where(apart[:, 1], with_ring),
            "apart": mean_where(apart, two_objects),
        }

    scale = keys.shape[2] ** -0.5
    product = scale * keys @ keys.transpose(1, 2)
    alone = F.softplus(-product)
    together = between(alone, groups)
    parts = by_kind(together, together + between(product, groups))  # softplus(x) = softplus(-x) + x
    # A patch of the background that is alone in it becomes MOST's seed: those count more.
    background = groups[:, :, :1]
    aloneness = (alone @ background).square()
    parts["background"] = parts["background"] + mean_where((background * aloneness).sum((1, 2)), present[:, 0].float())

    unit = F.normalize(keys, dim=2)
    cosine = unit @ unit.transpose(1, 2)
    too_low, too_high = F.relu(SAME_COSINE - cosine), F.relu(cosine - OTHER_COSINE)
    by_cosine = by_kind(between(too_low, groups), between(too_high, groups))
    parts["cosine"] = torch.stack(list(by_cosine.values())).mean()

    # The products with an object's mean key, `[B, N, G]`, are to be positive on it, negative elsewhere.
    with_mean = scale * keys @ (groups.transpose(1, 2) @ keys).transpose(1, 2)
    on = groups.transpose(1, 2) @ F.softplus(-with_mean)
    off = groups.transpose(1, 2) @ F.softplus(with_mean)
    parts["extent"] = (
        mean_where(on, same_object) + mean_where(off[:, 1], with_ring) + mean_where(off[:, 0], with_background)
    )

    known, is_on = (labels >= 0).float(), (labels > 0).float()
    total = F.binary_cross_entropy_with_logits(output.foreground().float(), is_on, reduction="none")
    # Each head alone, too: DINO-seg looks at one of them.
    heads = output.attention.float() * output.attention.shape[1]
    single = F.binary_cross_entropy_with_logits(heads, is_on[:, None].expand_as(heads), reduction="none").mean(1)
    parts["attention"] = mean_where(total + 0.3 * single, known)

    loss = sum(getattr(weights, field.name) * parts[field.name] for field in fields(weights) if field.name in parts)
    return loss, parts


def distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """How far the cosines between all pairs of patches are from those of the teacher's keys; both `[B, N, dim]`."""
    student, teacher = (F.normalize(keys.float(), dim=2) for keys in (student, teacher))
    return F.mse_loss(student @ student.transpose(1, 2), (teacher @ teacher.transpose(1, 2)).detach())


NOISE, SPREADS = 0.05, 3.0
"""A distance of keys that is nothing to a memory of a scene, and how many usual distances are."""
NEAR, FAR = 0.02, 0.5
"""Distances that are small and large enough. Without the one, keys of all places of a sort become one key."""


def same_place(now: Tensor, before: Tensor, change: Tensor) -> dict[str, Tensor]:
    """A place that looks different only by light, noise, shaking and compression is to have the key it had; one with
    something new in it another. Keys are `[B, N, dim]`; `change` `[B, N]` is 1 where new, 0 where not, -1 not known.

    A memory of a scene divides the distance from a place's usual key by the usual distance, so ratios are what counts:
    logarithms, that do not reward larger distances everywhere. `crowding` is the mean square of the cosine of any two
    places: it is 1 where keys say no more than object or not, which alone would do for the other two."""
    now, before = (F.normalize(keys.float(), dim=2) for keys in (now, before))
    distance = 1 - (now * before).sum(2)
    still, new = (change == 0).float(), (change == 1).float()
    places = now.flatten(0, 1)
    return {
        "still": mean_where((NOISE + SPREADS * distance.clamp(min=NEAR)).log(), still) - math.log(NOISE),
        "new": math.log(NOISE + FAR) - mean_where((NOISE + distance.clamp(max=FAR)).log(), new),
        "crowding": (places.T @ places / len(places)).square().sum(),
    }


@torch.no_grad()
def right_signs(output: Output, labels: Tensor, rows: int) -> dict[str, float]:
    """Shares of pairs of patches whose product has the right sign, every group counted the same."""
    groups, present = memberships(labels, rows)
    keys = output.keys.float()
    positive = between((keys @ keys.transpose(1, 2) > 0).float(), groups)
    there = (present[:, :, None] & present[:, None]).float()
    there_objects, same = there[:, 2:, 2:], positive[:, 2:, 2:]
    inside = torch.diagonal(same, dim1=1, dim2=2)
    return {
        "inside": mean_where(inside, present[:, 2:].float()).item(),
        "background": mean_where(positive[:, 0, 0], present[:, 0].float()).item(),
        "outside": 1 - mean_where(positive[:, 0, 2:], there[:, 0, 2:]).item(),
        "surroundings": 1 - mean_where(positive[:, 1, 2:], there[:, 1, 2:]).item(),
        "apart": 1 - mean_where(same, there_objects.triu(1)).item(),
    }
