"""Makes families/ with transformers' and timm's own models, random weights and all; see README.md.

A maintainer's tool, run when a family is added:  python make_vit.py   (torch, transformers, timm, safetensors, numpy)
"""

import argparse
import json
import math
import types
from pathlib import Path

import numpy as np
import timm
import torch
import transformers as hf
from safetensors.torch import save_file
from timm.models import eva, vision_transformer
from torch.nn import functional as F

OUT = Path(__file__).parent / "families"
DIM, DEPTH, HEADS, HIDDEN = 48, 2, 3, 96
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
index = []


def randomise(model):
    """Weights that make every tensor matter, rounded to what float16 holds."""
    for name, value in model.named_parameters():
        deviation = 0.4 if value.ndim == 3 else 0.25 if value.ndim == 1 else 1.2 / math.sqrt(value[0].numel())
        offset = 1 if value.ndim == 1 and ("norm" in name and "weight" in name or "lambda" in name) else 0
        value.data = (offset + deviation * torch.randn(value.shape)).half().float()
    return model.eval()


def image(name, height, width, patch):
    """A smooth picture, and what the model sees of it: normalised, then zeros to whole patches on the right and below."""
    coarse = torch.rand(1, 3, 5, 5)
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear") + 0.1 * torch.randn(1, 3, height, width)
    rgb = (255 * smooth[0].clamp(0, 1)).byte().permute(1, 2, 0)
    np.save(OUT / f"{name}.rgb.npy", rgb.numpy())
    pixels = (rgb.permute(2, 0, 1)[None] / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    return F.pad(pixels, (0, -width % patch, 0, -height % patch))


def meta_positions(self, embeddings, height, width):
    """DINO's and DINOv2's rule, for transformers' models without registers, which leave the 0.1 away."""
    trained = self.position_embeddings
    side = math.isqrt(trained.shape[1] - 1)
    rows, cols = height // self.patch_embeddings.patch_size[0], width // self.patch_embeddings.patch_size[1]
    if (rows, cols) == (side, side):
        return trained
    square = trained[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = ((rows + 0.1) / side, (cols + 0.1) / side)
    square = F.interpolate(square, scale_factor=scale, mode="bicubic")
    assert square.shape[-2:] == (rows, cols)
    return torch.cat((trained[:, :1], square.permute(0, 2, 3, 1).reshape(1, rows * cols, -1)), dim=1)


@torch.no_grad()
def hf_features(model, pixels, prefix):
    """Last block's keys, queries, values [N, D] as projected, and the CLS token's attention [heads, N]."""
    found, hooks = {}, []
    for letter in "kqv":
        layer = [module for name, module in model.named_modules() if name.endswith(f"{letter}_proj")][-1]
        hooks.append(layer.register_forward_hook(lambda _, __, out, letter=letter: found.update({letter: out[0, prefix:]})))
    attention = model(pixels, output_attentions=True, **({"interpolate_pos_encoding": True} if type(model) is hf.ViTModel else {}))
    [hook.remove() for hook in hooks]
    return found | {"cls_attention": attention.attentions[-1][0, :, 0, prefix:]}


@torch.no_grad()
def timm_features(model, pixels, prefix):
    """The same of timm's model, without the attention."""
    found = []
    hook = model.blocks[-1].attn.qkv.register_forward_hook(lambda _, __, out: found.append(out[0]))
    model(pixels)
    hook.remove()
    parts = found[0][prefix:].chunk(3, dim=-1)
    return dict(zip("qkv", parts))


def agree(ours, theirs):
    for name, values in theirs.items():
        assert (ours[name] - values).abs().max() < 2e-5 * values.abs().max(), name


def to_meta(tensors):
    """transformers' names of today → Meta's."""
    named = {}
    is_gated = any("gate_proj" in name for name in tensors)
    for name, value in tensors.items():
        for theirs, ours in [
            ("embeddings.position_embeddings", "pos_embed"),
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("embeddings.patch_embeddings", "patch_embed.proj"),
            ("embeddings.", ""),
            ("encoder.layer.", "blocks."),
            ("model.layer.", "blocks."),
            ("attention.o_proj", "attn.proj"),
            *([("gate_proj", "w1"), ("up_proj", "w2"), ("down_proj", "w3")] if is_gated else []),
            ("up_proj", "fc1"),
            ("down_proj", "fc2"),
            ("layer_scale1.lambda1", "ls1.gamma"),
            ("layer_scale2.lambda1", "ls2.gamma"),
            ("layernorm.", "norm."),
        ]:
            name = name.replace(theirs, ours)
        named[name] = value
    for block in range(DEPTH):
        at = f"blocks.{block}."
        for kind in ("weight", "bias"):
            parts = [named.pop(f"{at}attention.{letter}_proj.{kind}", None) for letter in "qkv"]
            if parts[1] is None:  # a bias that the mask takes away again
                parts[1] = torch.randn(DIM)
                named[f"{at}attn.qkv.bias_mask"] = torch.cat((torch.ones(DIM), torch.zeros(DIM), torch.ones(DIM)))
            named[f"{at}attn.qkv.{kind}"] = torch.cat(parts)
    return named


def save(name, tensors, whole=None):
    half = {name: (value if name == whole else value.half()).contiguous() for name, value in tensors.items()}
    save_file(half, OUT / f"{name}.safetensors")


def save_hf(name, model):
    """As transformers writes it, which is by the names of the public checkpoints."""
    model.half().save_pretrained(OUT)
    model.float()
    (OUT / "model.safetensors").rename(OUT / f"{name}.safetensors")
    (OUT / "config.json").unlink()


def cases(family, files, patch, features, sizes):
    for height, width in sizes:
        name = f"{family}_{height}x{width}"
        found = features(image(name, height, width, patch))
        for feature, values in found.items():
            np.save(OUT / f"{name}.{feature}.npy", values.contiguous().numpy())
        index.append({"name": name, "checkpoints": files, "heads": HEADS})


def main():
    torch.manual_seed(6)
    OUT.mkdir(exist_ok=True)
    common = dict(hidden_size=DIM, num_hidden_layers=DEPTH, num_attention_heads=HEADS, attn_implementation="eager")
    sizes14, sizes16 = [(56, 56), (42, 98), (61, 100)], [(64, 64), (48, 112), (61, 100)]

    model = randomise(hf.ViTModel(hf.ViTConfig(**common, intermediate_size=HIDDEN, image_size=64, patch_size=16, layer_norm_eps=1e-6)))
    model.embeddings.interpolate_pos_encoding = types.MethodType(meta_positions, model.embeddings)
    cases("dino", ["dino_transformers.safetensors"], 16, lambda pixels: hf_features(model, pixels, 1), sizes16)
    save_hf("dino_transformers", model)

    small14 = dict(img_size=56, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, mlp_ratio=HIDDEN // DIM)
    for registers in (0, 4):
        kind, config = (hf.Dinov2WithRegistersModel, hf.Dinov2WithRegistersConfig) if registers else (hf.Dinov2Model, hf.Dinov2Config)
        more = dict(num_register_tokens=registers) if registers else {}
        model = randomise(kind(config(**common, **more, mlp_ratio=HIDDEN // DIM, image_size=56, patch_size=14)))
        if not registers:
            model.embeddings.interpolate_pos_encoding = types.MethodType(meta_positions, model.embeddings)
        family, prefix = f"dinov2{'_registers' if registers else ''}", 1 + registers
        tensors = to_meta(model.state_dict())
        other = timm.create_model(f"vit_small_patch14_{'reg4_' if registers else ''}dinov2", **small14)
        other.load_state_dict(vision_transformer.checkpoint_filter_fn(dict(tensors), other), strict=False)
        pixels = torch.randn(1, 3, 56, 56)
        agree(hf_features(model, pixels, prefix), timm_features(other.eval(), pixels, prefix))
        endings = ["transformers", "meta"] + (["timm"] if registers else [])
        files = [f"{family}_{ending}.safetensors" for ending in endings]
        cases(family, files, 14, lambda pixels: hf_features(model, pixels, prefix), sizes14)
        save_hf(f"{family}_transformers", model)
        save(f"{family}_meta", tensors)
        if registers:
            save(f"{family}_timm", other.state_dict(), whole="cls_token")  # a sum

    model = randomise(hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**common, intermediate_size=HIDDEN, num_register_tokens=4, patch_size=16)))
    tensors = to_meta(model.state_dict())
    tensors["storage_tokens"] = tensors.pop("register_tokens")
    other = timm.create_model("vit_small_patch16_dinov3_qkvb", **small14 | dict(img_size=64))
    # timm takes the bias as it is: the mask is laid on before.
    masked = {name: value * tensors.get(f"{name}_mask", 1) for name, value in tensors.items() if not name.endswith("_mask")}
    other.load_state_dict(eva.checkpoint_filter_fn(masked, other), strict=False)
    for height, width in ((64, 64), (48, 112)):
        pixels = torch.randn(1, 3, height, width)
        with torch.no_grad():
            agree({"out": model(pixels).last_hidden_state}, {"out": other.eval().forward_features(pixels)})
    tensors["rope_embed.periods"] = 100.0 ** torch.arange(0, 1, 4 * HEADS / DIM)
    files = [f"dinov3_{ending}.safetensors" for ending in ("transformers", "meta")]
    cases("dinov3", files, 16, lambda pixels: hf_features(model, pixels, 5), sizes16)
    save_hf("dinov3_transformers", model)
    save("dinov3_meta", tensors, whole="rope_embed.periods")

    training()
    gated(common, small14)
    (OUT / "index.json").write_text(json.dumps(index, indent=1) + "\n")


def gated(common, small):
    """With SwiGLU, as DINOv2's giant and DINOv3's huge plus have it."""
    torch.manual_seed(7)
    model = randomise(hf.Dinov2Model(hf.Dinov2Config(**common, mlp_ratio=2, use_swiglu_ffn=True, image_size=56, patch_size=14)))
    model.embeddings.interpolate_pos_encoding = types.MethodType(meta_positions, model.embeddings)
    tensors = to_meta(model.state_dict())
    for at in [name.replace("w1", "{}") for name in tensors if ".w1." in name]:  # one tensor in Meta's file
        tensors[at.format("w12")] = torch.cat((tensors.pop(at.format("w1")), tensors.pop(at.format("w2"))))
    hidden = tensors["blocks.0.mlp.w3.weight"].shape[1]
    other = timm.create_model("vit_giant_patch14_dinov2", **small | dict(mlp_ratio=2 * hidden / DIM))
    other.load_state_dict(vision_transformer.checkpoint_filter_fn(dict(tensors), other), strict=False)
    pixels = torch.randn(1, 3, 56, 56)
    agree(hf_features(model, pixels, 1), timm_features(other.eval(), pixels, 1))
    files = [f"dinov2_gated_{ending}.safetensors" for ending in ("transformers", "meta", "timm")]
    cases("dinov2_gated", files, 14, lambda pixels: hf_features(model, pixels, 1), [(42, 98)])
    save_hf("dinov2_gated_transformers", model)
    save("dinov2_gated_meta", tensors)
    save("dinov2_gated_timm", other.state_dict())

    config = hf.DINOv3ViTConfig(**common, intermediate_size=HIDDEN, use_gated_mlp=True, hidden_act="silu", num_register_tokens=4, patch_size=16)
    model = randomise(hf.DINOv3ViTModel(config))
    tensors = to_meta(model.state_dict())
    tensors["storage_tokens"] = tensors.pop("register_tokens")
    other = timm.create_model("vit_huge_plus_patch16_dinov3_qkvb", **small | dict(img_size=64))
    masked = {name: value * tensors.get(f"{name}_mask", 1) for name, value in tensors.items() if not name.endswith("_mask")}
    other.load_state_dict(eva.checkpoint_filter_fn(masked, other), strict=False)
    pixels = torch.randn(1, 3, 48, 112)
    with torch.no_grad():
        agree({"out": model(pixels).last_hidden_state}, {"out": other.eval().forward_features(pixels)})
    files = [f"dinov3_gated_{ending}.safetensors" for ending in ("transformers", "meta")]
    cases("dinov3_gated", files, 16, lambda pixels: hf_features(model, pixels, 5), [(48, 112)])
    save_hf("dinov3_gated_transformers", model)
    save("dinov3_gated_meta", tensors)


def training():
    """What DINO's training keeps: student, teacher, optimizer, command line; NumPy's scalars among them."""
    small = dict(img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=1, mlp_ratio=1, num_classes=0)
    student, teacher = (randomise(timm.create_model("vit_small_patch16_224", **small)) for _ in range(2))
    optimizer = torch.optim.AdamW(student.parameters())
    student(torch.randn(2, 3, 16, 16)).sum().backward()
    optimizer.step()
    optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"] = np.linspace(1e-3, 2e-3, 3)[1:]
    wrapped = lambda model, prefix: {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({
        "student": wrapped(student, "module.backbone."),
        "teacher": wrapped(teacher, "backbone."),
        "optimizer": optimizer.state_dict(),
        "epoch": 3,
        "args": argparse.Namespace(arch="vit_small", lr=5e-4, gpu=0, local_crops_scale=(0.05, 0.4), use_fp16=True),
        "dino_loss": {"center": torch.zeros(1, 8)},
        "fp16_scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 17},
    }, OUT / "dino_training.pth")

    def features(pixels):
        found = timm_features(teacher, pixels, 0)
        scores = found["q"][:1] @ found["k"].T / math.sqrt(32)
        return {name: values[1:] for name, values in found.items()} | {"cls_attention": scores.softmax(-1)[:, 1:].detach()}

    cases("dino_training", ["dino_training.pth"], 4, features, [(16, 16)])
    index[-1]["heads"] = 1


if __name__ == "__main__":
    main()
