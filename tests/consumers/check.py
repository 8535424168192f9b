"""Sets of every format, read by the code of those who use them: PROGRAM → a line per consumer, format and set; 1 where one reads
something else than what was found. What was found says the set's journal: names, sides, boxes in pixels, classes."""

import contextlib
import importlib.metadata
import io
import json
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import traceback
import warnings

import numpy
from PIL import Image, ImageDraw

warnings.simplefilter("ignore")
program = os.path.abspath(sys.argv[1])
# As bad as names may be for XML, JSON, YAML, shells and people.
CLASS = "Bälle: \"1\" <&'> 🙂 #no"
FORMATS = ["coco", "yolo", "voc", "cvat", "mot"]


# What is shown: things before noise that no two pictures have in common.
def picture(number, size=(160, 120), kinds=("ball", "star")):
    random = numpy.random.default_rng(number)
    small = random.integers(60, 190, (size[1] // 20, size[0] // 20, 3), numpy.uint8)
    shown = Image.fromarray(small).resize(size, Image.BICUBIC)
    draw = ImageDraw.Draw(shown)
    for at, kind in enumerate(kinds):
        x, y = (0.3 + 0.4 * at + random.uniform(-0.1, 0.1)) * size[0], random.uniform(0.35, 0.65) * size[1]
        r = 0.2 * size[1]
        if kind == "ball":
            draw.ellipse((x - r, y - r, x + r, y + r), fill=(245, 40, 20))
        else:
            draw.polygon([(x, y - r), (x + r / 3, y), (x, y + r), (x - r / 3, y), (x - r, y)], fill=(20, 240, 250))
    return shown


def still(path, number, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(number, **more).save(path, quality=95)


def video(path, changes, rate=10, seconds=2, size="160x120"):
    """Of so many scenes, each so long, before each of which a ball rolls."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ffmpeg = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(rate), "-i", "-"]
    to = subprocess.Popen(ffmpeg + ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", path], stdin=subprocess.PIPE)
    for scene in range(changes):
        ground = picture(1000 + scene, kinds=())
        for frame in range(rate * seconds):
            shown = ground.copy()
            x, y = 20 + 6 * frame, 60 + (frame % 5)
            ImageDraw.Draw(shown).ellipse((x - 14, y - 14, x + 14, y + 14), fill=(250, 50, 30))
            to.stdin.write(shown.tobytes())
    to.stdin.close()
    assert to.wait() == 0


def run(*arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, (arguments, done.returncode, done.stderr)


def make(at):
    """Footage, and what is made of it: name of the set → arguments of `label`."""
    odd = at / "odd"
    for number in range(8):
        still(odd / "a b" / f"it's 100% \"{number}\" & <ünï> 日本 #.jpg", number)
        still(odd / "wide" / f"{number}.jpg", 20 + number, size=(200, 90))
    video(odd / "clip .. 1 (é).mp4", 3)
    video(odd / "clip 2.mp4", 3)
    for number in range(300):
        still(at / "many" / f"p{number}x.jpg", 100 + number, size=(96, 72))
    for number in range(6):
        for kind in ("ball", "star"):
            still(at / "seen" / f"{kind}{number}.jpg", 500 + number, size=(192, 144), kinds=(kind,))
            still(at / "new" / f"{kind} {number}.jpg", 600 + number, size=(192, 144), kinds=(kind,))
    video(at / "long.mp4", 6)
    look = ["--method", "tokencut", "--size", "320x240"]
    groups = at / "found" / "groups.json"
    run("discover", at / "seen", "-o", at / "found", "--groups", 2, "-q", *look)
    listed = json.loads(groups.read_text())["groups"]
    balls = next(group["id"] for group in listed if "ball" in os.path.basename(group["members"][0]["source"]))
    run("discover", "--name", groups, f"{balls}={CLASS}")
    small = ["--size", "64x48"]
    return {
        "odd names": [odd, "--val", 0.4, *small],
        "two classes": [at / "new", "--val", 0.5, "--groups", groups, *look],
        "nothing found": [odd, "--val", 0.4, "--min-score", 1, *small],
        "an empty side": [at / "long.mp4", "--val", 0, *small],
        "split by time": [at / "long.mp4", "--every", 0.5, "--split", "time", "--val", 0.3, *small],
        "many pictures": [at / "many", "--val", 0.2, "--size", "48x32"],
    }


class Set:
    """What was found: side → name of the picture's file → (size, [(box, class)])."""

    def __init__(self, folder, format):
        self.folder, self.format = folder, format
        entries = [json.loads(line) for line in open(folder / ".mostream/label.jsonl", encoding="utf-8")]
        self.classes = next(e["settings"] for e in entries if "settings" in e)["categories"]
        self.pictures = [e["picture"] for e in entries if "picture" in e]

    def side(self, split):
        of_side = [p for p in self.pictures if p["split"] == split]
        return {p["name"]: self.boxes(p) for p in of_side}

    def boxes(self, picture):
        return sorted((tuple(map(float, o["bbox"])), self.classes[o["category"]]) for o in picture["objects"])


def equal(found, expected):
    assert found.keys() == expected.keys(), (sorted(found)[:3], sorted(expected)[:3], len(found), len(expected))
    for name, boxes in found.items():
        wanted = expected[name]
        assert [kind for _, kind in sorted(boxes)] == [kind for _, kind in wanted], (name, boxes, wanted)
        for (box, _), (right, _) in zip(sorted(boxes), wanted):
            assert numpy.allclose(box, right, atol=0.01), (name, box, right)


def stem(path):
    return os.path.splitext(os.path.basename(path))[0]


# The consumers: each reads a set, and says what it read is what was found.
def pycocotools(made, split):
    from pycocotools.coco import COCO

    reader = COCO(made.folder / f"annotations/instances_{split}.json")
    found = {}
    for image in reader.loadImgs(reader.getImgIds()):
        found[stem(image["file_name"])] = rows = []
        for annotation in reader.loadAnns(reader.getAnnIds(image["id"])):
            x, y, w, h = annotation["bbox"]
            rows.append(((x, y, x + w, y + h), reader.loadCats(annotation["category_id"])[0]["name"]))
            mask = reader.annToMask(annotation)
            ys, xs = numpy.nonzero(mask)
            assert mask.sum() == annotation["area"] and mask.shape == (image["height"], image["width"])
            assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == rows[-1][0]
    equal(found, made.side(split))


def torchvision_coco(made, split):
    from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2
    from torchvision.ops import masks_to_boxes

    plain = CocoDetection(made.folder / f"images/{split}", made.folder / f"annotations/instances_{split}.json")
    names = {category: entry["name"] for category, entry in plain.coco.cats.items()}
    wrapped = wrap_dataset_for_transforms_v2(plain, target_keys=["image_id", "boxes", "labels", "masks"])
    found = {}
    for image, target in (wrapped[at] for at in range(len(plain))):
        entry = plain.coco.loadImgs(target["image_id"])[0]
        found[stem(entry["file_name"])] = rows = []
        assert image.size == (entry["width"], entry["height"])
        if "boxes" in target:
            rows += zip(map(tuple, target["boxes"].tolist()), [names[label] for label in target["labels"].tolist()])
            # A pixel counts as its first corner there.
            extent = masks_to_boxes(target["masks"]).numpy() + [0, 0, 1, 1]
            assert numpy.allclose(extent, target["boxes"].numpy()), (extent, target["boxes"])
    equal(found, made.side(split))


def torchvision_voc(made, split):
    from torchvision.datasets import VOCDetection

    # It wants to find a set under such a name.
    with tempfile.TemporaryDirectory() as root:
        os.mkdir(f"{root}/VOCdevkit")
        os.symlink(made.folder, f"{root}/VOCdevkit/VOC2012")
        found = {}
        for image, target in VOCDetection(root, year="2012", image_set=split):
            annotation = target["annotation"]
            assert image.size == tuple(int(annotation["size"][side]) for side in ("width", "height"))
            found[stem(annotation["filename"])] = rows = []
            for thing in annotation["object"] if "object" in annotation else []:
                xmin, ymin, xmax, ymax = (float(thing["bndbox"][edge]) for edge in ("xmin", "ymin", "xmax", "ymax"))
                rows.append(((xmin - 1, ymin - 1, xmax, ymax), thing["name"]))
        equal(found, made.side(split))


def ultralytics(made, split):
    from ultralytics.cfg import get_cfg
    from ultralytics.data import build_dataloader, build_yolo_dataset
    from ultralytics.data.utils import check_det_dataset

    data = check_det_dataset(str(made.folder / "data.yaml"), autodownload=False)
    assert [data["names"][id] for id in range(data["nc"])] == made.classes
    if not made.side(split):
        return "nothing there"
    # `rect` keeps the pictures' shapes; the labels are those of the files.
    cfg = get_cfg(overrides={"imgsz": 64, "task": "detect", "rect": True})
    dataset = build_yolo_dataset(cfg, data[split], 4, data, mode="val", rect=True)
    found = {}
    for label in dataset.labels:
        width, height = Image.open(label["im_file"]).size
        found[stem(label["im_file"])] = rows = []
        for (kind,), (x, y, w, h) in zip(label["cls"], label["bboxes"]):
            edges = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
            rows.append((edges, data["names"][int(kind)]))
    equal(found, made.side(split))
    loader = build_dataloader(dataset, 4, 0, shuffle=False, rank=-1)
    boxes, seen = 0, 0
    for batch in loader:
        (seen, boxes) = (seen + len(batch["im_file"]), boxes + len(batch["bboxes"]))
    assert (seen, boxes) == (len(found), sum(map(len, found.values()))), (seen, boxes)


def datumaro_voc(made, split):
    from datumaro.components.dataset import Dataset

    dataset = Dataset.import_from(str(made.folder), "voc")
    names = [category.name for category in dataset.categories()[next(iter(dataset.categories()))].items]
    found = {}
    for item in dataset:
        if item.subset == split:
            # It takes VOC's coordinates, which count from 1, as they are.
            boxes = [thing for thing in item.annotations if thing.type.name == "bbox"]
            found[stem(item.id)] = [((x - 1, y - 1, x1, y1), names[thing.label]) for thing in boxes for x, y, x1, y1 in [thing.points]]
            assert item.media.data.shape[:2] == item.media.size
    equal(found, made.side(split))


def datumaro_coco(made, split):
    from datumaro.components.dataset import Dataset

    dataset = Dataset.import_from(str(made.folder), "coco_instances")
    names = [category.name for category in dataset.categories()[next(iter(dataset.categories()))].items]
    found = {}
    for item in dataset:
        if item.subset == split:
            groups = {}
            for thing in item.annotations:
                groups.setdefault(thing.group, []).append(thing)
            found[stem(item.id)] = rows = []
            for things in groups.values():
                boxes = numpy.array([thing.get_bbox() for thing in things])
                edges = [*boxes[:, :2].min(axis=0), *(boxes[:, :2] + boxes[:, 2:]).max(axis=0)]
                rows.append((tuple(edges), names[things[0].label]))
    equal(found, made.side(split))


def datumaro_cvat(made, split):
    """Stills: CVAT for images. Each clip: CVAT for video."""
    from datumaro.components.dataset import Dataset

    folders = [path.parent for path in sorted(made.folder.rglob("annotations.xml"))]
    found, expected = {}, {}
    for folder in folders:
        dataset = Dataset.import_from(str(folder), "cvat")
        names = [category.name for category in dataset.categories()[next(iter(dataset.categories()))].items]
        is_clip = folder != made.folder
        if is_clip and folder.parent.name != split:
            continue
        for item in dataset:
            if not is_clip and not item.id.startswith(f"{split}/"):
                continue
            rows = [
                (tuple(thing.points), names[thing.label])
                for thing in item.annotations
                if thing.type.name == "bbox" and not thing.attributes.get("outside")
            ]
            name = f"{folder.name} {int(item.attributes['frame'])}" if is_clip else stem(item.id)
            found[name] = rows
    for p in made.pictures:
        if p["split"] == split:
            expected[f"{p['clip']} {p['number'] - 1}" if p["is_followed"] else p["name"]] = made.boxes(p)
    # Between key frames it is CVAT that draws: what is listed is what was found, and where a track has no box, no frame is.
    assert set(found) <= set(expected), (sorted(set(found) - set(expected))[:3])
    for name, rows in found.items():
        assert all(any(numpy.allclose(row[0], right[0]) and row[1] == right[1] for right in expected[name]) for row in rows)
    assert sum(map(len, found.values())) == sum(map(len, expected.values())), "other numbers of boxes"


def clips(made, split):
    """Name of the clip → frame → [(identity, box, class)]."""
    listed = {}
    for p in made.pictures:
        if p["split"] == split:
            listed.setdefault(p["clip"], {})[p["number"]] = p
    return listed


def motmetrics(made, split):
    import motmetrics

    for clip, pictures in clips(made, split).items():
        read = motmetrics.io.loadtxt(made.folder / split / clip / "gt/gt.txt", fmt="mot16")
        found = {number: [] for number in pictures}
        for (number, _), row in read.iterrows():
            # Counted from 0 there.
            x, y = row["X"], row["Y"]
            found[number].append(((x, y, x + row["Width"], y + row["Height"]), made.classes[int(row["ClassId"]) - 1]))
        equal(found, {number: made.boxes(p) for number, p in pictures.items()})


def trackeval(made, split):
    import trackeval

    # It evaluates no sequence without objects.
    names = [clip for clip, pictures in clips(made, split).items() if any(p["objects"] for p in pictures.values())]
    if not names:
        return "nothing there"
    if len(made.classes) > 1:
        return "its classes are MOT Challenge's, of which it evaluates pedestrians (class 1)"
    with tempfile.TemporaryDirectory() as at:
        os.makedirs(f"{at}/trackers/same/data")
        for name in names:
            # What is true is what was tracked, too.
            text = (made.folder / split / name / "gt/gt.txt").read_text()
            rows = [",".join([*line.split(",")[:6], "1", "-1", "-1", "-1"]) + "\n" for line in text.splitlines()]
            pathlib.Path(f"{at}/trackers/same/data/{name}.txt").write_text("".join(rows))
        dataset = trackeval.datasets.MotChallenge2DBox({
            "GT_FOLDER": str(made.folder / split), "TRACKERS_FOLDER": f"{at}/trackers", "SKIP_SPLIT_FOL": True,
            "SEQ_INFO": {name: None for name in names}, "TRACKERS_TO_EVAL": ["same"], "PRINT_CONFIG": False,
        })
        hota, clear = trackeval.metrics.HOTA(), trackeval.metrics.CLEAR({"PRINT_CONFIG": False})
        boxes = 0
        for name in names:
            data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("same", name), "pedestrian")
            boxes += data["num_gt_dets"]
            assert data["num_timesteps"] == len(clips(made, split)[name])
            assert hota.eval_sequence(data)["HOTA"].min() == 1 and clear.eval_sequence(data)["MOTA"] == 1
        assert boxes == sum(len(p["objects"]) for of_clip in clips(made, split).values() for p in of_clip.values())


def datumaro_mot(made, split):
    from datumaro.components.dataset import Dataset

    for clip, pictures in clips(made, split).items():
        dataset = Dataset.import_from(str(made.folder / split / clip), "mot_seq")
        names = [category.name for category in dataset.categories()[next(iter(dataset.categories()))].items]
        found = {}
        for item in dataset:
            rows = [(tuple(thing.points), names[thing.label]) for thing in item.annotations]
            found[int(item.id)] = [(tuple(numpy.array(box)), kind) for box, kind in rows]
        # It takes MOT's coordinates, which count from 1, as they are.
        expected = {n: [(tuple(numpy.array(box) + 1), kind) for box, kind in made.boxes(p)] for n, p in pictures.items()}
        equal(found, expected)


def label_studio(made, split):
    from label_studio_sdk.converter.imports.coco import convert_coco_to_ls

    with tempfile.TemporaryDirectory() as at:
        convert_coco_to_ls(str(made.folder / f"annotations/instances_{split}.json"), f"{at}/tasks.json", image_root_url="/data")
        tasks = json.load(open(f"{at}/tasks.json")) if os.path.exists(f"{at}/tasks.json") else []
    found = {}
    for task in tasks:
        rows = []
        for result in task["annotations"][0]["result"]:
            if result["type"] == "rectanglelabels":
                v, width, height = result["value"], result["original_width"], result["original_height"]
                x, y, w, h = v["x"] * width / 100, v["y"] * height / 100, v["width"] * width / 100, v["height"] * height / 100
                rows.append(((x, y, x + w, y + h), v["rectanglelabels"][0]))
        found[stem(task["data"]["image"])] = rows
    expected = made.side(split)
    equal({name: found.get(name, []) for name in expected}, expected)
    assert set(found) <= set(expected)


CONSUMERS = [
    ("pycocotools", "coco", pycocotools),
    ("torchvision", "coco", torchvision_coco),
    ("datumaro", "coco", datumaro_coco),
    ("label-studio-sdk", "coco", label_studio),
    ("ultralytics", "yolo", ultralytics),
    ("torchvision", "voc", torchvision_voc),
    ("datumaro", "voc", datumaro_voc),
    ("datumaro", "cvat", datumaro_cvat),
    ("motmetrics", "mot", motmetrics),
    ("trackeval", "mot", trackeval),
    ("datumaro", "mot", datumaro_mot),
]


def main():
    logging.disable(logging.CRITICAL)
    wrong = 0
    with tempfile.TemporaryDirectory() as at:
        at = pathlib.Path(at)
        # Consumers keep settings and caches in the user's home.
        os.environ.update(HOME=str(at), YOLO_CONFIG_DIR=str(at))
        sets = make(at)
        for name, arguments in sets.items():
            for format in FORMATS:
                folder = at / "sets" / f"{name} {format}"
                run("label", *arguments, "-o", folder, "--format", format, "-q")
                made = Set(folder, format)
                for package, _, read in (entry for entry in CONSUMERS if entry[1] == format):
                    said = set()
                    try:
                        version = importlib.metadata.version(package)
                        for split in ("train", "val"):
                            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                                said.add(read(made, split))
                        told = "; ".join(sorted(filter(None, said))) or "as found"
                    except importlib.metadata.PackageNotFoundError:
                        version, told, wrong = "", "NOT INSTALLED", wrong + 1
                    except Exception as error:
                        told, wrong = f"WRONG: {split}: {type(error).__name__}: {str(error)[:300]}", wrong + 1
                        if os.environ.get("VERBOSE"):
                            traceback.print_exc()
                    print(f"{format:5} {package} {version}: {name}: {told}", flush=True)
    return int(wrong > 0)


sys.exit(main())
