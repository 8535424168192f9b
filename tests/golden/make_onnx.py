"""Makes families/user_*.onnx and what they give: a transformers model exported by PyTorch, as a user would; see README.md.

A maintainer's tool, run after make_vit.py:  python make_onnx.py   (torch, transformers, onnx, numpy)
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers as hf

OUT = Path(__file__).parent / "families"
MEAN, STD = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
PREFIX, SIDE = 5, 56


class Tokens(torch.nn.Module):
    """Every token of the last block, CLS and registers first."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        return self.model(pixels).last_hidden_state


class Map(Tokens):
    """The patches as `[batch, width, rows, columns]`, from bytes `[batch, height, width, 3]`."""

    def forward(self, image):
        pixels = ((image.float() / 255 - MEAN) / STD).permute(0, 3, 1, 2)
        tokens = super().forward(pixels)[:, PREFIX:]
        return tokens.transpose(1, 2).reshape(1, -1, SIDE // 14, SIDE // 14)


@torch.no_grad()
def main():
    config = hf.Dinov2WithRegistersConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=3, mlp_ratio=2, image_size=SIDE, patch_size=14,
        num_register_tokens=4, attn_implementation="eager",
    )
    with tempfile.TemporaryDirectory() as folder:
        hf.Dinov2WithRegistersModel(config).save_pretrained(folder)
        weights = (OUT / "dinov2_registers_transformers.safetensors").read_bytes()
        (Path(folder) / "model.safetensors").write_bytes(weights)
        model = hf.Dinov2WithRegistersModel.from_pretrained(folder, attn_implementation="eager").float().eval()
    # At the size it was made for; ONNX has no antialiased interpolation.
    model.embeddings.interpolate_pos_encoding = lambda *_: model.embeddings.position_embeddings
    image = torch.from_numpy(np.load(OUT / f"dinov2_registers_{SIDE}x{SIDE}.rgb.npy"))[None]
    pixels = ((image.float() / 255 - MEAN) / STD).permute(0, 3, 1, 2).contiguous()
    for name, wrapped, argument in (("user_tokens", Tokens(model), pixels), ("user_map", Map(model), image)):
        axes = {"input": {0: "batch"}, "features": {0: "batch"}} if name == "user_tokens" else None
        torch.onnx.export(
            wrapped.eval(), (argument,), OUT / f"{name}.onnx", input_names=["input"], output_names=["features"],
            dynamic_axes=axes, dynamo=False, opset_version=17,
        )
    np.save(OUT / "user.features.npy", Tokens(model)(pixels)[0, PREFIX:].numpy())


if __name__ == "__main__":
    main()
