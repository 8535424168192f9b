"""Reads a data set with the tools that train on it: FORMAT FOLDER CLASS… → {"train": {NAME: [[[xmin, ymin, xmax, ymax], CLASS],
…]}, "val": …} on stdout, boxes half-open, in pixels. What a tool would choke on fails here, and so do other classes."""

import configparser
import contextlib
import json
import os
import sys
import xml.etree.ElementTree as xml

import numpy
import supervision
from PIL import Image
from pycocotools.coco import COCO

format, folder, *classes = sys.argv[1:]


def stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def boxes(dataset):
    found = {}
    for path, picture, detections in dataset:
        assert picture.ndim == 3
        names = [dataset.classes[id] for id in detections.class_id]
        found[stem(path)] = [list(row) for row in zip(detections.xyxy.round(3).tolist(), names)]
    return found


def coco(split):
    images, annotations = f"{folder}/images/{split}", f"{folder}/annotations/instances_{split}.json"
    with contextlib.redirect_stdout(sys.stderr):
        reader = COCO(annotations)
    by_name = {}
    for picture in reader.loadImgs(reader.getImgIds()):
        assert Image.open(f"{images}/{picture['file_name']}").size == (picture["width"], picture["height"])
        by_name[stem(picture["file_name"])] = []
        for annotation in reader.loadAnns(reader.getAnnIds(imgIds=picture["id"])):
            x, y, width, height = annotation["bbox"]
            name = reader.loadCats(annotation["category_id"])[0]["name"]
            by_name[stem(picture["file_name"])].append([[x, y, x + width, y + height], name])
            mask = reader.annToMask(annotation)
            assert mask.sum() == annotation["area"] > 0, (mask.sum(), annotation["area"])
            ys, xs = numpy.nonzero(mask)
            assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (x, y, x + width, y + height)
            assert 0 <= annotation["score"] <= 1
    assert len(reader.getImgIds()) == len(os.listdir(images))
    assert [category["name"] for category in reader.loadCats(reader.getCatIds())] == classes
    found = boxes(supervision.DetectionDataset.from_coco(images, annotations, force_masks=True))
    assert found == by_name, (found, by_name)
    return by_name


def yolo(split):
    images, labels = f"{folder}/images/{split}", f"{folder}/labels/{split}"
    dataset = supervision.DetectionDataset.from_yolo(images, labels, f"{folder}/data.yaml")
    assert dataset.classes == classes, dataset.classes
    found = boxes(dataset)
    for name, rows in found.items():
        scores = open(f"{folder}/confidence/{split}/{name}.txt").read().split()
        assert len(scores) == len(rows) and all(0 <= float(score) <= 1 for score in scores)
        assert all(len(line.split()) == 5 for line in open(f"{labels}/{name}.txt"))
    return {name: [[numpy.array(box).round(2).tolist(), kind] for box, kind in rows] for name, rows in found.items()}


def voc(split):
    names = open(f"{folder}/ImageSets/Main/{split}.txt").read().split()
    found = boxes(supervision.DetectionDataset.from_pascal_voc(f"{folder}/JPEGImages", f"{folder}/Annotations"))
    for name in names:
        root = xml.parse(f"{folder}/Annotations/{name}.xml").getroot()
        size = tuple(int(root.find("size").find(side).text) for side in ("width", "height"))
        assert size == Image.open(f"{folder}/JPEGImages/{root.find('filename').text}").size
    return {name: found[name] for name in names}


def cvat(split):
    found = {}
    for clip, tracks in cvat_clips(split):
        for number in range(len(os.listdir(f"{folder}/{split}/{clip}/images"))):
            rows = [[listed[number], kind] for kind, listed, _ in tracks.values() if number in listed]
            found[f"{clip} {number + 1}"] = rows
    if os.path.exists(f"{folder}/annotations.xml"):
        found.update(cvat_stills(split))
    return found


def cvat_root(path, mode):
    root = xml.parse(path).getroot()
    assert root.tag == "annotations" and root.find("version").text == "1.1"
    assert [label.find("name").text for label in root.find("meta/task/labels")] == classes
    assert root.find("meta/task/mode").text == mode
    return root


def cvat_stills(split):
    root = cvat_root(f"{folder}/annotations.xml", "annotation")
    pictures = root.findall("image")
    assert [int(picture.get("id")) for picture in pictures] == list(range(int(root.find("meta/task/size").text)))
    found = {}
    for picture in pictures:
        if not picture.get("name").startswith(f"{split}/"):
            continue
        size = Image.open(f"{folder}/images/{picture.get('name')}").size
        assert size == (int(picture.get("width")), int(picture.get("height")))
        found[stem(picture.get("name"))] = rows = []
        for box in picture.findall("box"):
            rows.append([corners(box), box.get("label")])
            group = [p for p in picture.findall("polygon") if p.get("group_id") == box.get("group_id")]
            points = numpy.array([[*map(float, pair.split(","))] for p in group for pair in p.get("points").split(";")])
            assert [*points.min(axis=0), *points.max(axis=0)] == rows[-1][0]
            assert all(p.get("label") == box.get("label") for p in group)
            assert 0 <= float(box.find("attribute[@name='score']").text) <= 1
    return found


def corners(box):
    return [float(box.get(side)) for side in ("xtl", "ytl", "xbr", "ybr")]


def cvat_clips(split):
    """Each clip's name and its tracks: ID → its class, its boxes as listed and as CVAT makes them of the key frames, by frame."""
    for clip in sorted(os.listdir(f"{folder}/{split}")) if os.path.isdir(f"{folder}/{split}") else []:
        at = f"{folder}/{split}/{clip}"
        root = cvat_root(f"{at}/annotations.xml", "interpolation")
        assert not root.findall("image")
        task = root.find("meta/task")
        size = int(task.find("size").text)
        assert [int(task.find(f"{which}_frame").text) for which in ("start", "stop")] == [0, size - 1]
        assert sorted(os.listdir(f"{at}/images")) == [f"frame_{number:06}.jpg" for number in range(size)]
        for name in os.listdir(f"{at}/images"):
            sides = [int(task.find(f"original_size/{side}").text) for side in ("width", "height")]
            assert Image.open(f"{at}/images/{name}").size == tuple(sides)
        tracks = {}
        for track in root.findall("track"):
            boxes = track.findall("box")
            frames = [int(box.get("frame")) for box in boxes]
            assert frames == sorted(set(frames)) and 0 <= frames[0] and frames[-1] < size
            assert all(box.get("occluded") in "01" and box.get("outside") in "01" for box in boxes)
            assert all(0 <= float(box.find("attribute[@name='score']").text) <= 1 for box in boxes)
            listed = {int(box.get("frame")): corners(box) for box in boxes if box.get("outside") == "0"}
            keys = [(int(box.get("frame")), corners(box), box.get("outside")) for box in boxes if box.get("keyframe") == "1"]
            made = {}
            # As CVAT has it: nothing where it is outside, the way between two keys is straight, and the last one stays.
            for (frame, box, outside), (then, next, _) in zip(keys, keys[1:] + [(size, keys[-1][1], None)]):
                for now in range(frame, then if outside == "0" else frame):
                    made[now] = [a + (b - a) * (now - frame) / (then - frame) for a, b in zip(box, next)]
            assert track.get("id") not in tracks and track.get("label") in classes
            tracks[track.get("id")] = track.get("label"), listed, made
        yield clip, tracks


def cvat_tracks(split):
    clips = {clip: tracks for clip, tracks in cvat_clips(split)}
    return {f"{clip} {id}": [*made.items()] for clip, tracks in clips.items() for id, (_, _, made) in tracks.items()}


def mot(split):
    found = {}
    for clip in sorted(os.listdir(f"{folder}/{split}")):
        at = f"{folder}/{split}/{clip}"
        info = configparser.ConfigParser()
        info.read(f"{at}/seqinfo.ini")
        info = info["Sequence"]
        assert info["name"] == clip and int(info["frameRate"]) >= 1
        numbers = range(1, int(info["seqLength"]) + 1)
        assert sorted(os.listdir(f"{at}/{info['imDir']}")) == [f"{number:06}{info['imExt']}" for number in numbers]
        names = open(f"{at}/gt/labels.txt").read().splitlines()
        assert names == classes, names
        truth = [line.split(",") for line in open(f"{at}/gt/gt.txt")]
        dets = [line.split(",") for line in open(f"{at}/det/det.txt")]
        assert [row[:1] + row[2:6] for row in truth] == [row[:1] + row[2:6] for row in dets]
        # An identity is in a frame once; a track has its own in many.
        assert len({(row[0], row[1]) for row in truth}) == len(truth) and all(len(row) == 9 for row in truth)
        for number in numbers:
            size = Image.open(f"{at}/img1/{number:06}.jpg").size
            assert size == (int(info["imWidth"]), int(info["imHeight"]))
            rows = [[*map(float, row[2:6]), names[int(row[7]) - 1]] for row in truth if int(row[0]) == number]
            found[f"{clip} {number}"] = [[[x - 1, y - 1, x - 1 + w, y - 1 + h], name] for x, y, w, h, name in rows]
    return found


json.dump({split: globals()[format](split) for split in ("train", "val")}, sys.stdout)
