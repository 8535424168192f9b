"""The vision transformer in DINO's layout, as far as the program reads it: the last block's keys, and the CLS token's
attention.

The names of the parameters are those of DINO's files, so that a state dict is a checkpoint. Of the last block only
`norm1` and the queries and keys of `attn.qkv` are used; the rest of it, and the final norm, are there for the layout
alone and are not trained.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
HEAD_WIDTH = 64


@dataclass(frozen=True)
class Measures:
    patch: int = 8
    """Side of a patch in pixels."""
    dim: int = 192
    heads: int = 3
    depth: int = 8
    side: int = 20
    """Patches per side of the position embedding."""


class Output(NamedTuple):
    keys: Tensor
    """`[B, N, dim]`, row by row over the grid, without the CLS token's."""
    attention: Tensor
    """`[B, heads, N]`: logits of the CLS token's attention, before the softmax."""

    middle: Tensor
    """`[B, N, dim]`: the keys of the block in the middle, which are sharper than the last one's: what a scene's memory
    of a place is made of."""

    def foreground(self) -> Tensor:
        """`[B, N]`: a logit that is trained to be positive on objects."""
        return self.attention.sum(1)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, dim = tokens.shape
        queries, keys, values = self.qkv(tokens).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(queries, keys, values)
        return self.proj(attended.transpose(1, 2).reshape(batch, count, dim))

    def keys(self, tokens: Tensor) -> Tensor:
        """`[B, N, dim]`, of the patches alone."""
        dim = tokens.shape[2]
        return F.linear(tokens[:, 1:], self.qkv.weight[dim : 2 * dim], self.qkv.bias[dim : 2 * dim])

    def keys_and_cls_logits(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What the last block is read for."""
        batch, count, dim = tokens.shape
        query = F.linear(tokens[:, 0], self.qkv.weight[:dim], self.qkv.bias[:dim]).view(batch, 1, self.heads, -1)
        keys = self.keys(tokens)
        by_head = keys.view(batch, count - 1, self.heads, -1)
        logits = (query * by_head).sum(-1) / (dim // self.heads) ** 0.5
        return keys, logits.transpose(1, 2)


class Mlp(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class PatchEmbed(nn.Module):
    def __init__(self, patch: int, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.proj(pixels).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    def __init__(self, measures: Measures = Measures()):
        super().__init__()
        self.measures = measures
        dim = measures.dim
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, measures.side**2 + 1, dim))
        self.patch_embed = PatchEmbed(measures.patch, dim)
        self.blocks = nn.ModuleList(Block(dim, measures.heads) for _ in range(measures.depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        for parameter in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def positions(self, rows: int, cols: int) -> Tensor:
        """`[1, 1 + rows·cols, dim]`, interpolated as the program does: bicubic, with DINO's 0.1 in the scale."""
        side = self.measures.side
        if (rows, cols) == (side, side):
            return self.pos_embed
        square = self.pos_embed[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2).float()
        scale = ((rows + 0.1) / side, (cols + 0.1) / side)
        square = F.interpolate(square, scale_factor=scale, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], square.permute(0, 2, 3, 1).reshape(1, rows * cols, -1)], 1)

    @property
    def middle(self) -> Block:
        return self.blocks[self.measures.depth // 2 - 1]

    def embedded(self, pictures: Tensor) -> Tensor:
        """Of RGB pictures, uint8 `[B, H, W, 3]`, both sides multiples of the patch."""
        pixels = (pictures.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        rows, cols = (side // self.measures.patch for side in pixels.shape[2:])
        tokens = self.patch_embed(pixels)
        return torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], 1) + self.positions(rows, cols)

    def middle_keys(self, pictures: Tensor) -> Tensor:
        """What `forward` gives as `middle`, without what comes after it: less than half of the work."""
        tokens = self.embedded(pictures)
        for block in self.blocks[: self.measures.depth // 2 - 1]:
            tokens = block(tokens)
        return self.middle.attn.keys(self.middle.norm1(tokens))

    def forward(self, pictures: Tensor) -> Output:
        tokens = self.embedded(pictures)
        for block in self.blocks[:-1]:
            if block is self.middle:
                middle = block.attn.keys(block.norm1(tokens))
            tokens = block(tokens)
        last = self.blocks[-1]
        return Output(*last.attn.keys_and_cls_logits(last.norm1(tokens)), middle)


def is_unused(name: str, measures: Measures) -> bool:
    """Whether the parameter is part of the layout but of no output."""
    last = f"blocks.{measures.depth - 1}."
    return name.startswith(("norm.", last + "attn.proj", last + "norm2", last + "mlp"))


def load(path: Path) -> VisionTransformer:
    """The model in a `.safetensors` file of DINO's layout, in f32."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}
    missing = {"cls_token", "pos_embed", "patch_embed.proj.weight"} - tensors.keys()
    if missing:
        raise ValueError(
            f"{path}: tensor {sorted(missing)[0]} is missing: it is no vision transformer in DINO's layout"
        )
    dim, _, patch, _ = tensors["patch_embed.proj.weight"].shape
    side = round((tensors["pos_embed"].shape[1] - 1) ** 0.5)
    depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blocks."))
    heads = int(metadata.get("heads", dim // HEAD_WIDTH))
    model = VisionTransformer(Measures(patch, dim, heads, depth, side))
    model.load_state_dict(tensors)
    return model
