"""Trains the backbone on a pool, from random weights or from those of a file.

RUN is a folder: `checkpoint.pt` in it is the whole state, `log.jsonl` a line for every 50 steps. The same command goes
on where a run was cut off, with the scenes it would have seen. `export.py RUN` makes a model file of the averaged
weights.
"""

import argparse
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import vit
from losses import Weights, distillation, losses, right_signs
from pool import Pool
from run import Run, settings
from scenes import Mix, SceneMaker

LOG_STEPS, SAVE_SECONDS = 50, 120
BASE_SIZE = 128


class Batches(Dataset):
    """Batches of scenes, by the number of their first scene, their count and size."""

    def __init__(self, maker: SceneMaker):
        self.maker = maker

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
        first, count, size = key
        scenes = [self.maker.scene(first + index, size) for index in range(count)]
        pictures, cleans, labels = (torch.from_numpy(np.stack(column)) for column in zip(*scenes, strict=True))
        return pictures, cleans, labels.flatten(1)


class Plan:
    """Which batch comes next. Sizes depend on how far the run is, the scenes on the seed alone."""

    def __init__(self, arguments: argparse.Namespace, first: int, progress: Callable[[], float]):
        self.arguments, self.next, self.progress = arguments, first, progress

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        stages = self.arguments.sizes
        while True:
            sizes = stages[min(int(self.progress() * len(stages)), len(stages) - 1)]
            size = int(np.random.default_rng([self.arguments.seed, 1, self.next]).choice(sizes))
            count = max(2, round(self.arguments.batch * (BASE_SIZE / size) ** 2))
            yield self.next, count, size
            self.next += count


def begin_worker(_: int) -> None:
    """One thread; Ctrl-C is the parent's to handle."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def train(run: Run, folder: Path, pool: Pool, weights: Weights, mix: Mix) -> None:
    arguments, device, patch = run.arguments, run.device, run.model.measures.patch
    log = open(folder / "log.jsonl", "a")

    def note(**entry: object) -> None:
        print(json.dumps(entry), file=log, flush=True)
        print(json.dumps(entry), flush=True)

    note(
        event="start",
        step=run.step,
        photos=len(pool),
        parameters=sum(p.numel() for p in run.model.parameters()),
        torch=torch.__version__,
        device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        measures=asdict(run.model.measures),
        settings=settings(arguments),
    )
    stop = []
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.append(True))

    maker = SceneMaker(pool, mix, arguments.seed, patch)
    loader = DataLoader(
        Batches(maker),
        batch_size=None,
        sampler=Plan(arguments, run.views, run.progress),
        num_workers=arguments.workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=begin_worker,
    )
    forward = torch.compile(run.model, dynamic=False) if arguments.compile else run.model
    trained = [parameter for parameter in run.model.parameters() if parameter.requires_grad]
    sums: dict[str, Tensor] = {}
    counted = 0
    saved, last, since = time.monotonic(), time.monotonic(), (run.seconds, run.views)
    for batch in loader:
        pictures, cleans, labels = (part.to(device, non_blocking=True) for part in batch)
        rows, rate = pictures.shape[1] // patch, run.set_rate()
        with torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bf16"):
            output = forward(pictures)
            if weights.distill:
                with torch.no_grad():
                    teacher = run.average(cleans).keys
        loss, parts = losses(output, labels, rows, weights)
        if weights.distill:
            parts["distill"] = distillation(output.keys, teacher)
            loss = loss + weights.distill * parts["distill"]
        if not torch.isfinite(loss):
            raise SystemExit(
                f"the loss is {loss.item()} at step {run.step}: lower --lr; {folder} holds the state before"
            )
        run.model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        for optimizer in run.optimizers:
            optimizer.step()
        run.step += 1
        run.views += len(pictures)
        run.update_average()
        for name, value in {"loss": loss, **parts}.items():
            sums[name] = sums.get(name, 0.0) + value.detach()
        counted += 1
        now = time.monotonic()
        run.seconds, last = run.seconds + now - last, now
        is_over = run.progress() >= 1 or bool(stop)
        if run.step % LOG_STEPS == 0:
            speed = (run.views - since[1]) / max(run.seconds - since[0], 1e-9)
            note(
                step=run.step,
                views=run.views,
                seconds=round(run.seconds, 1),
                rate=float(f"{rate:.3g}"),
                views_per_second=round(speed, 1),
                **{name: round(value.item() / counted, 4) for name, value in sums.items()},
                right={kind: round(share, 3) for kind, share in right_signs(output, labels, rows).items()},
            )
            sums, counted, since = {}, 0, (run.seconds, run.views)
        if is_over or now - saved > SAVE_SECONDS:
            run.save(folder / "checkpoint.pt")
            saved = now
        if is_over:
            break
    note(event="stopped" if stop else "done", step=run.step, views=run.views, seconds=round(run.seconds, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def add(*names: str, help: str, to: argparse._ActionsContainer = parser, **choices: object) -> None:
        default = choices.get("default")
        to.add_argument(*names, help=help if default in (None, 0) else f"{help} [default: {default}]", **choices)

    add("pool", type=Path, help="a pool: a folder or tar archive")
    add("run", type=Path, help="folder of this run; one that is there is gone on with")
    add("--minutes", type=float, required=True, help="time to train, all in all")
    add("--init", type=Path, help="begin with the weights of this .safetensors file")
    add("--freeze", type=int, default=0, metavar="N", help="leave the embeddings and the first N blocks as they are")
    add("--sizes", default="96/128,128,96/160,128", help="sides of scenes in pixels; / parts stages of equal time")
    add("--batch", type=int, default=32, help=f"scenes at {BASE_SIZE} pixels; as many pixels at other sizes")
    add("--lr", type=float, default=1e-3, help="highest learning rate")
    add("--decay", type=float, default=0.05, help="weight decay")
    add("--optimizer", choices=["adamw", "muon"], default="adamw", help="Muon is for the blocks' matrices alone")
    add("--average", type=float, default=0.999, help="decay of the average of the weights")
    add("--seed", type=int, default=0, help="of scenes and first weights")
    add("--min-quality", type=float, default=0.35, help="leave out photos with worse masks")
    add("--patch", type=int, default=8, help="side of a patch in pixels, without --init")
    add("--dim", type=int, default=192, help=f"width, without --init; a head per {vit.HEAD_WIDTH}")
    add("--depth", type=int, default=8, help="blocks, without --init")
    add("--precision", choices=["bf16", "fp32"], help="[default: bf16 on CUDA, fp32 on a CPU]")
    add("--compile", action="store_true", help="torch.compile: a minute per size first, then faster")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="of PyTorch")
    add("--threads", type=int, default=os.cpu_count(), help="of PyTorch, on a CPU")
    add("--workers", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="processes that make scenes")
    for title, kind in (("scenes (see Mix in scenes.py)", Mix), ("losses (see Weights in losses.py)", Weights)):
        group = parser.add_argument_group(title)
        for field in fields(kind):
            flag = f"--{field.name.replace('_', '-')}"
            group.add_argument(flag, type=float, default=field.default, metavar="X", help=f"[default: {field.default}]")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    arguments.precision = arguments.precision or ("bf16" if device.type == "cuda" else "fp32")
    arguments.sizes = [[int(size) for size in stage.split(",")] for stage in arguments.sizes.split("/")]
    patch = vit.load(arguments.init).measures.patch if arguments.init else arguments.patch
    if any(size % patch or size < 4 * patch for stage in arguments.sizes for size in stage):
        parser.error(f"--sizes has a side that is no multiple of the patch, or below {4 * patch} pixels")

    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    chosen = vars(arguments)
    mix = Mix(**{field.name: chosen[field.name] for field in fields(Mix)})
    weights = Weights(**{field.name: chosen[field.name] for field in fields(Weights)})
    pool = Pool(arguments.pool, arguments.min_quality)
    arguments.run.mkdir(parents=True, exist_ok=True)
    run = Run(arguments, device)
    if (arguments.run / "checkpoint.pt").exists():
        run.resume(arguments.run / "checkpoint.pt")
    if run.progress() < 1:
        train(run, arguments.run, pool, weights, mix)
    print(f"{run.step} steps, {run.views} views, {run.seconds / 60:.1f} minutes: {arguments.run}")


if __name__ == "__main__":
    main()
