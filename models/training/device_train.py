"""Trains the backbone on a pool with everything on the device: photos, scenes, camera, model and self-training.

`train.py` draws scenes on processor cores, which a large GPU outruns by far. RUN is a folder as there: `checkpoint.pt`
is the whole state, `log.jsonl` a line for every 100 steps, `stage-N.safetensors` the averaged weights after each stage.
The same command goes on where a run was cut off. `export.py RUN` makes a model file. On a CPU it runs too, for a trial:
`--limit 100 --empties 20 --batch 3 --max-steps 3`.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

# Before the libraries are loaded: processes draw the empty scenes, a thread each.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cv2
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import vit
from device_pool import DevicePool, draw_empty
from device_refine import refine
from device_scenes import MOST, Batch, DeviceScenes
from export import exported
from losses import Weights, losses, same_place
from pool import Pool, encode
from producer import Producer
from run import Run, settings
from scenes import Mix

LOG_STEPS, SAVE_SECONDS = 100, 120
BASE_PIXELS = 160 * 160


def make_step(
    model: vit.VisionTransformer, weights: Weights, place_weight: float, precision: str
) -> Callable[[Batch, int], tuple[Tensor, dict[str, Tensor]]]:
    """What gives a batch's loss, and its parts before they are weighted."""

    def step(batch: Batch, rows: int) -> tuple[Tensor, dict[str, Tensor]]:
        pictures, labels, before, change = batch
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=precision == "bf16"):
            output = model(pictures)
            middle_before = model.middle_keys(before) if place_weight else None
        loss, parts = losses(output, labels, rows, weights, MOST)
        if place_weight:
            place = same_place(output.middle[: len(before)], middle_before, change)
            loss = loss + place_weight * sum(place.values())
            parts |= place
        return loss, {name: part.detach() for name, part in {"loss": loss, **parts}.items()}

    return step


class Training:
    """A run that is being trained."""

    def __init__(self, run: Run, folder: Path, pool: DevicePool, scenes: DeviceScenes, weights: Weights):
        arguments = run.arguments
        self.run, self.folder, self.pool, self.scenes = run, folder, pool, scenes
        self.patch, self.is_cuda = run.model.measures.patch, run.device.type == "cuda"
        self.stages = [sides(text) for stage in arguments.sizes for text in stage]
        self.trained = [parameter for parameter in run.model.parameters() if parameter.requires_grad]
        step = make_step(run.model, weights, arguments.same_place, arguments.precision)
        self.losses = torch.compile(step, dynamic=False) if arguments.compile else step
        self._log = open(folder / "log.jsonl", "a")

    def note(self, **entry: object) -> None:
        for file in (self._log, None):
            print(json.dumps(entry), file=file, flush=True)

    def train(self, deadline: float) -> None:
        """Up to the end of the run, or to this time."""
        run = self.run
        self.note(
            event="start",
            step=run.step,
            photos=len(self.pool),
            torch=torch.__version__,
            device=torch.cuda.get_device_name() if self.is_cuda else "cpu",
            measures=asdict(run.model.measures),
            settings=settings(run.arguments),
        )
        while run.progress() < 1 and time.monotonic() < deadline:
            stage = min(int(run.progress() * len(self.stages)), len(self.stages) - 1)
            self.label(stage)
            self.train_stage(stage, deadline)
            run.save(self.folder / "checkpoint.pt")
        memory = torch.cuda.max_memory_allocated() / 2**30 if self.is_cuda else 0
        self.note(event="stopped", step=run.step, views=run.views, seconds=round(run.seconds, 1), gib=round(memory, 1))

    def label(self, stage: int) -> None:
        """The pool's labels anew, by the averaged model; before the first step by the teachers, if there are any. A
        model that has learnt nothing is no teacher: then the labels stay as they came."""
        run, arguments = self.run, self.run.arguments
        models = [run.average] if run.step or arguments.init else []
        if run.step == 0 and arguments.teachers:
            models = [vit.load(Path(file)).to(run.device) for file in arguments.teachers]
        if models:
            found = refine(self.pool, models, arguments.trust, arguments.refine_sides)
            self.note(event="labels", stage=stage, **{name: round(value, 3) for name, value in found.items()})

    def train_stage(self, stage: int, deadline: float) -> None:
        run, (height, width) = self.run, self.stages[stage]
        end = (stage + 1) / len(self.stages)
        count = max(2, round(run.arguments.batch * BASE_PIXELS / height / width))
        with Producer(lambda: self.scenes.batch(count, height, width), run.device) as producer:
            begun = time.monotonic()
            run.set_rate()
            self.step(producer.next(), height // self.patch)
            if self.is_cuda:
                torch.cuda.synchronize()
            last = since = saved = time.monotonic()  # the first step compiles: its time is not the run's
            self.note(event="begun", shape=[height, width], count=count, seconds=round(last - begun, 1))
            first, sums, summed, steps = run.views, torch.zeros((), device=run.device), 0, 1
            is_over = False
            while not is_over:
                rate = run.set_rate()
                parts = self.step(producer.next(), height // self.patch)
                sums, summed, steps = sums + torch.stack(list(parts.values())), summed + 1, steps + 1
                now = time.monotonic()
                run.seconds, last = run.seconds + now - last, now
                is_tried = run.arguments.max_steps is not None and steps >= run.arguments.max_steps
                if is_tried:
                    run.seconds = max(run.seconds, end * 60 * run.arguments.minutes)
                is_over = run.progress() >= end or now > deadline
                if summed == LOG_STEPS or is_over:
                    means = dict(zip(parts, (sums / summed).tolist(), strict=True))
                    if not math.isfinite(means["loss"]):
                        raise SystemExit(f"the loss is {means['loss']} at step {run.step}: {self.folder} is before it")
                    self.note(
                        step=run.step,
                        views=run.views,
                        seconds=round(run.seconds, 1),
                        rate=float(f"{rate:.3g}"),
                        views_per_second=round((run.views - first) / max(time.monotonic() - since, 1e-9)),
                        **{name: round(mean, 4) for name, mean in means.items()},
                    )
                    since, sums, summed, first = time.monotonic(), 0 * sums, 0, run.views
                    if now - saved > SAVE_SECONDS:
                        run.save(self.folder / "checkpoint.pt")
                        saved = now
        if run.progress() >= end:
            state = {name: tensor.cpu() for name, tensor in run.average.state_dict().items()}
            weights = exported(state, run.model.measures, torch.float16)
            heads = {"heads": str(run.model.measures.heads)}
            save_file(weights, self.folder / f"stage-{stage + 1}.safetensors", heads)

    def step(self, batch: Batch, rows: int) -> dict[str, Tensor]:
        run = self.run
        loss, parts = self.losses(batch, rows)
        run.model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        for optimizer in run.optimizers:
            optimizer.step()
        run.step, run.views = run.step + 1, run.views + len(batch.pictures)
        run.update_average()
        return parts


def sides(text: str) -> tuple[int, int]:
    height, width = (int(side) for side in text.split("x"))
    return height, width


def main() -> None:
    begun = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def add(*names: str, help: str, to: argparse._ActionsContainer = parser, **choices: object) -> None:
        default = choices.get("default")
        to.add_argument(*names, help=help if default in (None, 0, []) else f"{help} [default: {default}]", **choices)

    add("pool", type=Path, help="a pool: a folder or tar archive")
    add("run", type=Path, help="folder of this run; one that is there is gone on with")
    add("--minutes", type=float, required=True, help="time to train, all in all, without compiling")
    add("--stop-after", type=float, default=1e9, metavar="S", help="save and stop so many seconds after the start")
    add("--init", type=Path, help="begin with the weights of this .safetensors file")
    add("--teachers", type=Path, nargs="+", default=[], help="models whose mean makes the first labels, not --init")
    add("--freeze", type=int, default=0, metavar="N", help="leave the embeddings and the first N blocks as they are")
    add("--sizes", default="208x272,208x272,208x272", help="height x width of scenes, a stage of equal time each")
    add("--batch", type=int, default=384, help="scenes at 160x160 pixels; as many pixels at other sizes")
    add("--lr", type=float, default=1e-3, help="highest learning rate")
    add("--decay", type=float, default=0.05, help="weight decay")
    add("--optimizer", choices=["adamw", "muon"], default="muon", help="Muon is for the blocks' matrices alone")
    add("--average", type=float, default=0.9995, help="decay of the average of the weights")
    add("--seed", type=int, default=0, help="of the first weights")
    add("--limit", type=int, help="only the first so many photos")
    add("--empties", type=int, default=6000, help="drawn scenes with nothing in them")
    add("--pairs", type=float, default=0.5, help="with --same-place, share of the scenes that are seen twice")
    add("--close", type=float, default=0.0, help="share of the composites whose first object fills the scene")
    add("--same-place", type=float, default=0.0, metavar="X", help="weight of the middle keys' loss (same_place)")
    add("--trust", type=float, default=0.6, help="in what the models see, against the pool's labels")
    add("--refine-sides", type=int, nargs="+", default=[192, 256], help="of photos for new labels, in pixels")
    add("--max-steps", type=int, help="in each stage: for a trial")
    add("--patch", type=int, default=8, help="side of a patch in pixels, without --init")
    add("--dim", type=int, default=192, help=f"width, without --init; a head per {vit.HEAD_WIDTH}")
    add("--depth", type=int, default=8, help="blocks, without --init")
    add("--precision", choices=["bf16", "fp32"], help="[default: bf16 on CUDA, fp32 on a CPU]")
    add("--compile", action="store_true", help="torch.compile: half a minute per size first, then faster")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="of PyTorch")
    for title, kind in (("scenes (see Mix in scenes.py)", Mix), ("losses (see Weights in losses.py)", Weights)):
        group = parser.add_argument_group(title)
        for field in fields(kind):
            if field.name == "distill":  # the same place at another time is what is asked for here
                continue
            flag = f"--{field.name.replace('_', '-')}"
            group.add_argument(flag, type=float, default=field.default, metavar="X", help=f"[default: {field.default}]")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    arguments.precision = arguments.precision or ("bf16" if device.type == "cuda" else "fp32")
    arguments.sizes = [[text] for text in arguments.sizes.split(",")]
    arguments.min_quality, arguments.distill = 0.0, 0.0  # what export.py asks of a run
    arguments.teachers = [str(file) for file in arguments.teachers]
    patch = vit.load(arguments.init).measures.patch if arguments.init else arguments.patch
    if any(side % 8 or side % patch for stage in arguments.sizes for side in sides(stage[0])):
        parser.error("--sizes has a side that is no multiple of the patch and of 8")

    cv2.setNumThreads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    nothing = draw_empty(arguments.empties)
    photos = Pool(arguments.pool)  # bad masks, too: they become better
    photos.names = photos.names[: arguments.limit]
    chosen = vars(arguments)
    mix = Mix(**{field.name: chosen[field.name] for field in fields(Mix)})
    weights = Weights(**{field.name: chosen[field.name] for field in fields(Weights)})
    pool = DevicePool(photos, nothing, device)
    print(f"{len(pool)} photos, {len(nothing)} empty scenes after {time.monotonic() - begun:.1f} s", flush=True)
    arguments.run.mkdir(parents=True, exist_ok=True)
    run = Run(arguments, device)
    if (arguments.run / "checkpoint.pt").exists():
        run.resume(arguments.run / "checkpoint.pt")
    scenes = DeviceScenes(pool, mix, patch, arguments.pairs if arguments.same_place else 0, arguments.close)
    if run.progress() < 1:
        Training(run, arguments.run, pool, scenes, weights).train(begun + arguments.stop_after)
    sheet = scenes.sheet(*sides(arguments.sizes[-1][0]), count=24)
    (arguments.run / "scenes.jpg").write_bytes(encode(sheet, ".jpg"))
    print(f"{run.step} steps, {run.views} views, {run.seconds / 60:.1f} minutes: {arguments.run}")


if __name__ == "__main__":
    main()
