"""How sure an object before a still camera is: fits src/scene/score.rs.

fit_score.py FOLDER RECORDS     FOLDER has NAME.boxes.json, RECORDS has NAME.jsonl of `mostream run NAME.mp4 --min-score 0 --every 5`

Needs NumPy. Prints the numbers of the logistic regression over familiar, unrest, contour, scene_contour and the logarithm of the pixels'
share of the picture, and recall and precision at bounds of the score: with each scene (NAME up to the first _) left out of the fit in
turn, and with all in it. A box is right where its IoU with one that is not taken yet is at least 0.5, largest scores first; every 5th frame
from the 30th on; a clip weighs the root of its objects."""
import glob, json, os, sys
import numpy as np

WIDTH = 384  # of the picture that pixels are counted in
CUES = ["familiar", "unrest", "contour", "scene_contour"]


def iou(a, b):
    w, h = (max(0, min(a[k + 2], b[k + 2]) - max(a[k], b[k])) for k in (0, 1))
    area = lambda c: (c[2] - c[0]) * (c[3] - c[1])
    return w * h / (area(a) + area(b) - w * h)


def read(folder, records):
    rows, right, clips, objects = [], [], [], {}
    for path in sorted(glob.glob(os.path.join(records, "*.jsonl"))):
        name = os.path.basename(path)[: -len(".jsonl")]
        truth = json.load(open(os.path.join(folder, name + ".boxes.json")))["frames"]
        objects[name] = 0
        for at, (drawn, record) in enumerate(zip(truth, map(json.loads, open(path)))):
            if drawn is None or at < 30 or at % 5 or record["camera"] == "moving":
                continue
            objects[name] += len(drawn)
            left = list(drawn)
            width = min(record["width"], WIDTH)
            count = width * (record["height"] * width // record["width"])
            # What a track carries on was not looked at.
            seen = [found for found in record["objects"] if "cues" in found]
            for found in sorted(seen, key=lambda found: -found["score"]):
                best = max(left, key=lambda box: iou(found["bbox"], box), default=None)
                is_right = best is not None and iou(found["bbox"], best) >= 0.5
                if is_right:
                    left.remove(best)
                cues = found["cues"]
                share = max(cues["pixels"] / count, 1e-5)
                rows.append([cues[cue] for cue in CUES] + [np.log(share)])
                right.append(is_right)
                clips.append(name)
    return np.array(rows), np.array(right, float), np.array(clips), objects


def fit(rows, right, weights, ridge=3.0):
    mean, spread = rows.mean(0), rows.std(0) + 1e-9
    scaled = np.c_[(rows - mean) / spread, np.ones(len(rows))]
    held = ridge * np.eye(scaled.shape[1])
    held[-1, -1] = 0
    numbers = np.zeros(scaled.shape[1])
    for _ in range(50):
        shares = 1 / (1 + np.exp(-scaled @ numbers))
        slope = scaled.T @ (weights * (shares - right)) + held @ numbers
        bend = (scaled * (weights * shares * (1 - shares))[:, None]).T @ scaled + held
        numbers -= np.linalg.solve(bend, slope)
    numbers[:-1] /= spread
    numbers[-1] -= numbers[:-1] @ mean
    return numbers


def score(rows, numbers):
    return 1 / (1 + np.exp(-(rows @ numbers[:-1] + numbers[-1])))


rows, right, clips, objects = read(*sys.argv[1:3])
names = sorted(objects)
weights = np.array([1 / np.sqrt((clips == clip).sum()) for clip in clips])
weights /= weights.mean()
scenes = np.array([clip.split("_")[0] for clip in clips])
numbers = fit(rows, right, weights)
print("  ".join(f"{name} {number:.4f}" for name, number in zip([*CUES, "ln share", "constant"], numbers)))
apart = np.zeros(len(right))
for scene in set(scenes):
    rest = scenes != scene
    apart[~rest] = score(rows[~rest], fit(rows[rest], right[rest], weights[rest]))
for title, scores in ("each scene left out in turn", apart), ("all scenes", score(rows, numbers)):
    print(f"\n| bound, {title} | recall | precision | mean recall | mean precision |\n| --- | --- | --- | --- | --- |")
    for bound in (0.0, 0.2, 0.25, 0.3, 0.4):
        kept = scores >= bound
        busy = [name for name in names if objects[name]]
        of = {name: right[kept & (clips == name)] for name in busy}
        shares = [right[kept].sum() / sum(objects.values()), right[kept].mean()]
        shares += [np.mean([of[name].sum() / objects[name] for name in busy]), np.mean([of[name].mean() for name in busy])]
        print(f"| {bound} | " + " | ".join(f"{100 * share:.1f}" for share in shares) + " |")
