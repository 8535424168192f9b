"""Is a model better than another? Runs `mostream eval` with both over data sets and over drawn scenes with nothing in
them.

Differences have a 95 % interval, by a paired bootstrap over pictures (clips as a whole). The new model is better where
a measure gets better beyond its interval and none gets worse beyond it; the exit code is then 0, else 1. The same
command goes on where it was cut off: `mostream eval` keeps what it found.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import camera
import empty
from pool import encode

RESAMPLES = 10_000
EMPTY_SIDE, EMPTY_SEED = 320, 2_000_000_011
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Measure:
    name: str
    value: Callable[[dict[str, str]], float | None]
    """Of one row of the report, a picture; None where it does not count."""
    more_is_better: bool = True


def where_objects(column: str) -> Callable[[dict[str, str]], float | None]:
    return lambda row: float(row[column] or 0) if int(row["objects"]) else None


ON_OBJECTS = (
    Measure("CorLoc, best box", where_objects("localized_best")),
    Measure("CorLoc, any box", where_objects("localized_any")),
    Measure("best IoU", where_objects("best_iou")),
)
ON_NOTHING = (Measure("empty scenes with a box", lambda row: float(int(row["boxes"]) > 0), more_is_better=False),)


def draw_empty(folder: Path, scenes: tuple[empty.Scene, ...], count: int) -> Path:
    """A data set of scenes without objects, in COCO's layout: its JSON file."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    names = [f"{number:04}.png" for number in range(count)]
    for number, name in enumerate(names):
        if not (images / name).exists():
            random = np.random.default_rng([EMPTY_SEED, number])
            picture = camera.camera(empty.draw(random, EMPTY_SIDE, (scenes[number % len(scenes)],)), random)
            (images / name).write_bytes(encode(picture, ".png"))
    entries = [
        {"id": id, "file_name": name, "width": EMPTY_SIDE, "height": EMPTY_SIDE} for id, name in enumerate(names, 1)
    ]
    annotations = {"images": entries, "annotations": [], "categories": [{"id": 1, "name": "object"}]}
    (folder / "annotations.json").write_text(json.dumps(annotations))
    return folder / "annotations.json"


def evaluate(
    program: Path, model: Path, data: Path, report: Path, flags: list[str]
) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of the report, by item and frame."""
    report.parent.mkdir(parents=True, exist_ok=True)
    rows = report.with_suffix(".csv")
    command = [program, "eval", data, "--model", model, "--quiet", "--json", report, "--csv", rows, *flags]
    print(" ".join(map(str, command)), file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.DEVNULL)
    if done.returncode not in (0, 3):  # 3: some files could not be read, and both models miss them
        raise SystemExit(f"mostream eval ended with exit code {done.returncode}")
    with open(rows, newline="") as file:
        return {(row["item"], row["frame"]): row for row in csv.DictReader(file)}


def compare(old: dict, new: dict, measure: Measure) -> dict | None:
    """Both values, their difference and its interval; None where nothing counts."""
    items: dict[str, int] = {}
    sums = []  # of each item: old, new, pictures
    for key in sorted(old.keys() & new.keys()):
        before, after = measure.value(old[key]), measure.value(new[key])
        if before is None or after is None:
            continue
        index = items.setdefault(key[0], len(items))
        if index == len(sums):
            sums.append([0.0, 0.0, 0.0])
        sums[index] = [total + part for total, part in zip(sums[index], (before, after, 1), strict=True)]
    if not sums:
        return None
    table = np.array(sums)
    random = np.random.default_rng(0)
    drawn = random.multinomial(len(table), np.full(len(table), 1 / len(table)), RESAMPLES) @ table
    low, high = np.percentile((drawn[:, 1] - drawn[:, 0]) / drawn[:, 2], (2.5, 97.5))
    before, after = table[:, :2].sum(0) / table[:, 2].sum()
    verdict = "better" if low > 0 else "worse" if high < 0 else "no difference"
    if not measure.more_is_better and verdict != "no difference":
        verdict = "worse" if verdict == "better" else "better"
    return {
        "measure": measure.name,
        "pictures": int(table[:, 2].sum()),
        "old": before,
        "new": after,
        "difference": after - before,
        "low": low,
        "high": high,
        "verdict": verdict,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="a .safetensors file")
    parser.add_argument("new", type=Path, help="a .safetensors file")
    parser.add_argument("--data", type=Path, action="append", default=[], help="a data set; may be given several times")
    parser.add_argument("--exclude", type=Path, help="leave out what this JSON list names (`mostream eval --exclude`)")
    parser.add_argument("--every", type=int, default=10, help="of clips, every Nth frame [default: 10]")
    parser.add_argument("--limit", type=int, help="only the first N items of each data set")
    parser.add_argument("--patches", type=int, default=1200, help="of the model's input, at most [default: 1200]")
    parser.add_argument("--empty", type=int, default=120, help="empty scenes of either sort [default: 120]")
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/mostream")
    parser.add_argument("--out", type=Path, default=ROOT / "out/check", help="folder of the reports")
    arguments = parser.parse_args()

    cv2.setNumThreads(1)
    common = ["--patches", str(arguments.patches), "--every", str(arguments.every)]
    only = ["--exclude", str(arguments.exclude)] if arguments.exclude else []
    only += ["--limit", str(arguments.limit)] if arguments.limit else []
    sets = [(f"{data.stem} {number}", data, only, ON_OBJECTS) for number, data in enumerate(arguments.data, 1)]
    for name, scenes in (("trained", empty.SCENES), ("unseen", empty.UNSEEN)):
        path = draw_empty(arguments.out / f"empty-{name}", scenes, arguments.empty)
        sets.append((f"empty, {name} kinds", path, [], ON_NOTHING))

    found = []
    for name, data, flags, measures in sets:
        reports = [
            evaluate(
                arguments.program,
                model,
                data,
                arguments.out / f"{name.replace(', ', '-').replace(' ', '-')}-{which}.json",
                common + flags,
            )
            for which, model in (("old", arguments.old), ("new", arguments.new))
        ]
        compared = (compare(*reports, measure) for measure in measures)
        found += [{"data": name, **result} for result in compared if result]

    print("| data | measure | pictures | old | new | difference | |\n| --- | --- | --- | --- | --- | --- | --- |")
    for row in found:
        numbers = "{old:.1f} | {new:.1f} | {difference:+.1f} [{low:+.1f}, {high:+.1f}]".format(
            **{name: 100 * row[name] for name in ("old", "new", "difference", "low", "high")}
        )
        print(f"| {row['data']} | {row['measure']} | {row['pictures']} | {numbers} | {row['verdict']} |")
    (arguments.out / "check.json").write_text(json.dumps(found, indent=1))
    verdicts = {row["verdict"] for row in found}
    is_better = "better" in verdicts and "worse" not in verdicts
    print(f"\n{arguments.new} is {'better' if is_better else 'not better'} than {arguments.old}")
    sys.exit(0 if is_better else 1)


if __name__ == "__main__":
    main()
