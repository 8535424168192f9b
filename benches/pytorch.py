"""ViT-S/16 with random weights at 640x480 against PyTorch on the same cores, all in turn: benches/pytorch.py CLIP [TURNS]"""
import json, os, statistics, subprocess, sys, tempfile, time
import torch
from torch.nn import functional as F

DIM, HEADS, DEPTH, PATCH, SIDE, WIDTH, HEIGHT = 384, 6, 12, 16, 14, 640, 480
CLIP, TURNS, THREADS = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 7, len(os.sched_getaffinity(0))
torch.set_num_threads(THREADS)
blocks = {"norm1": [DIM], "attn.qkv": [3 * DIM, DIM], "attn.proj": [DIM, DIM], "norm2": [DIM]}
blocks |= {"mlp.fc1": [4 * DIM, DIM], "mlp.fc2": [DIM, 4 * DIM]}
shapes = {f"blocks.{i}.{name}": shape for i in range(DEPTH) for name, shape in blocks.items()}
shapes |= {"patch_embed.proj": [DIM, 3, PATCH, PATCH], "norm": [DIM]}
w = {f"{name}.weight": torch.randn(shape) * 0.02 + ("norm" in name) for name, shape in shapes.items()}
w |= {f"{name}.bias": torch.randn(shape[:1]) * 0.02 for name, shape in shapes.items()}
w |= {"cls_token": torch.randn(1, 1, DIM), "pos_embed": torch.randn(1, 1 + SIDE**2, DIM)}
positions = torch.randn(1, 1 + HEIGHT * WIDTH // PATCH**2, DIM)

def layer(of, name, x):
    weight, bias = w[f"{of}{name}.weight"], w[f"{of}{name}.bias"]
    return F.layer_norm(x, [DIM], weight, bias, 1e-6) if "norm" in name else F.linear(x, weight, bias)

def model(image, depth):
    pixels = (image.permute(0, 3, 1, 2).float() - 120) / 58
    x = F.conv2d(pixels, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], PATCH).flatten(2).transpose(1, 2)
    x = torch.cat([w["cls_token"], x], 1) + positions
    for of in (f"blocks.{i}." for i in range(depth)):
        qkv = layer(of, "attn.qkv", layer(of, "norm1", x)).view(1, -1, 3, HEADS, DIM // HEADS)
        attended = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4)).transpose(1, 2).flatten(2)
        x = x + layer(of, "attn.proj", attended)
        x = x + layer(of, "mlp.fc2", F.gelu(layer(of, "mlp.fc1", layer(of, "norm2", x))))
    if depth == DEPTH:
        return layer("", "norm", x)
    qkv = [w[f"blocks.{depth}.attn.qkv.{part}"][DIM : 2 * DIM] for part in ["weight", "bias"]]
    return F.linear(layer(f"blocks.{depth}.", "norm1", x[:, 1:]), *qkv)

def of_torch(run, depth, bf16, image=torch.randint(0, 256, (1, HEIGHT, WIDTH, 3), dtype=torch.uint8)):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        run(image, depth)
        starts = [(time.perf_counter(), run(image, depth)) for _ in range(5)] + [(time.perf_counter(), None)]
    return 1e3 * statistics.median(b[0] - a[0] for a, b in zip(starts, starts[1:]))

def of_mostream(precision):
    flags = ["--model", checkpoint, "--size", f"{WIDTH}x{HEIGHT}", "--threads", str(THREADS), "--precision", precision]
    command = ["target/release/mostream", "bench", CLIP, "--accuracy-part", "--device", "cpu", *flags]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["latency_ms"]

checkpoint, compiled = os.path.join(tempfile.mkdtemp(), "random.pth"), torch.compile(model)
torch.save(w, checkpoint)
runs = {f"mostream {precision}": lambda precision=precision: of_mostream(precision) for precision in ["fp32", "int8"]}
for name, *which in [("keys", model, DEPTH - 1), ("whole", model, DEPTH), ("keys, compiled", compiled, DEPTH - 1)]:
    runs |= {f"PyTorch {p}, {name}": lambda which=which, p=p: of_torch(*which, p == "bf16") for p in ["fp32", "bf16"]}
times = {name: [] for name in runs}
for _ in range(TURNS):
    for name, run in runs.items():
        times[name].append(run())
for name, ms in times.items():
    ratio = statistics.median(a / b for a, b in zip(ms, times["mostream fp32"]))
    print(f"{name:30} {statistics.median(ms):8.1f} ms, best {min(ms):8.1f}, {ratio:.2f} times mostream's fp32")
