#!/usr/bin/env python3
"""The backbone against PyTorch on the same cores: ViT-S/16 with random weights at 640x480, up to the last block's keys, and whole.

For maintainers: needs torch, and target/release/mostream. One process at a time computes, in turn, so that what else the machine
does falls on all of them; each line gives the median of each turn's ratio to mostream's time.

    python benches/pytorch.py CLIP [THREADS [TURNS]]
"""
import json, os, statistics, subprocess, sys, tempfile, time

CLIP, THREADS, TURNS = sys.argv[1], int((sys.argv + [0, 2])[2]) or 2, int((sys.argv + [0, 0, 0])[3]) or 7
os.environ["OMP_NUM_THREADS"] = str(THREADS)
import torch
from torch.nn import functional as F

DIM, HEADS, DEPTH, PATCH, SIDE, WIDTH, HEIGHT = 384, 6, 12, 16, 14, 640, 480
torch.set_num_threads(THREADS)
torch.manual_seed(0)
shapes = {"cls_token": [1, 1, DIM], "pos_embed": [1, 1 + SIDE**2, DIM], "patch_embed.proj.weight": [DIM, 3, PATCH, PATCH], "patch_embed.proj.bias": [DIM]}
for block in range(DEPTH):
    for name, shape in {"norm1": [DIM], "attn.qkv": [3 * DIM, DIM], "attn.proj": [DIM, DIM], "norm2": [DIM], "mlp.fc1": [4 * DIM, DIM], "mlp.fc2": [DIM, 4 * DIM]}.items():
        shapes |= {f"blocks.{block}.{name}.weight": shape, f"blocks.{block}.{name}.bias": shape[:1]}
shapes |= {"norm.weight": [DIM], "norm.bias": [DIM]}
weights = {name: torch.randn(shape) * 0.02 + float("norm" in name and "weight" in name) for name, shape in shapes.items()}
positions = torch.randn(1, 1 + (HEIGHT // PATCH) * (WIDTH // PATCH), DIM) * 0.02


def tokens(image, depth):
    w = weights
    pixels = (image.permute(0, 3, 1, 2).float() - 120) / 58
    x = F.conv2d(pixels, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], PATCH).flatten(2).transpose(1, 2)
    x = torch.cat([w["cls_token"], x], 1) + positions
    for block in range(depth):
        of = lambda name, part, block=block: w[f"blocks.{block}.{name}.{part}"]
        linear = lambda name, x: F.linear(x, of(name, "weight"), of(name, "bias"))
        norm = lambda name, x: F.layer_norm(x, [DIM], of(name, "weight"), of(name, "bias"), 1e-6)
        q, k, v = linear("attn.qkv", norm("norm1", x)).view(1, -1, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
        x = x + linear("attn.proj", F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        x = x + linear("mlp.fc2", F.gelu(linear("mlp.fc1", norm("norm2", x))))
    return x


def keys(image):
    x, last = tokens(image, DEPTH - 1), f"blocks.{DEPTH - 1}."
    x = F.layer_norm(x[:, 1:], [DIM], weights[last + "norm1.weight"], weights[last + "norm1.bias"], 1e-6)
    return F.linear(x, weights[last + "attn.qkv.weight"][DIM : 2 * DIM], weights[last + "attn.qkv.bias"][DIM : 2 * DIM])


def torch_ms(run, bf16):
    image = torch.randint(0, 256, (1, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        run(image)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            run(image)
            times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def mostream_ms(precision):
    command = ["target/release/mostream", "bench", CLIP, "--accuracy-part", "--model", checkpoint, "--size", f"{WIDTH}x{HEIGHT}"]
    told = subprocess.run(command + ["--threads", str(THREADS), "--precision", precision], check=True, capture_output=True)
    return json.loads(told.stdout)["latency_ms"]


checkpoint = os.path.join(tempfile.mkdtemp(), "random.pth")
torch.save(weights, checkpoint)
whole = lambda image: F.layer_norm(tokens(image, DEPTH), [DIM], weights["norm.weight"], weights["norm.bias"], 1e-6)
compiled = torch.compile(keys)
runs = {f"mostream {precision}": (lambda precision=precision: mostream_ms(precision)) for precision in ["fp32", "int8"]}
runs |= {f"PyTorch {name}{' bf16' * bf16}": (lambda run=run, bf16=bf16: torch_ms(run, bf16)) for name, run in [("to the keys", keys), ("whole", whole), ("compiled, to the keys", compiled)] for bf16 in [False, True]}
times = {name: [] for name in runs}
for _ in range(TURNS):
    for name, run in runs.items():
        times[name].append(run())
base = times["mostream fp32"]
for name, ms in times.items():
    print(f"{name:34} {statistics.median(ms):8.1f} ms, best {min(ms):8.1f}; {statistics.median(a / b for a, b in zip(ms, base)):.2f} x mostream fp32")
