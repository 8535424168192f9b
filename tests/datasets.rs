//! Data sets: the same scene reads the same in every format, and what is wrong costs what it is about, and a line.

use mostream::evaluate::dataset::{Dataset, Format, FrameTruth, Media, Options, TruthBox};
use mostream::picture::{self, RgbImage};
use std::collections::BTreeMap;
use std::fs;
use tempfile::TempDir;

/// The scene: a picture of 64×48 with a dog and, cut by the right edge, a cat.
const SIZE: (u32, u32) = (64, 48);
const DOG: [f64; 4] = [10.0, 8.0, 30.0, 28.0];
const CAT: [f64; 4] = [40.0, 20.0, 64.0, 44.0];

const VOC_SCENE: &str = "<annotation><filename>a.jpg</filename>
    <size><width>64</width><height>48</height><depth>3</depth></size>
    <object><name>dog</name><truncated>0</truncated><difficult>1</difficult>
        <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></part>
        <bndbox><xmax>30</xmax><xmin>11</xmin><ymax>28</ymax><ymin>9</ymin></bndbox></object>
    <object><name>cat</name><truncated>1</truncated><difficult>0</difficult>
        <bndbox><xmin>41.0</xmin><ymin>21</ymin><xmax>64</xmax><ymax>44</ymax></bndbox></object></annotation>";

fn write(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn write_picture(folder: &TempDir, name: &str) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture::write_jpeg(&path, &RgbImage::new(SIZE.0, SIZE.1), 90).unwrap();
}

/// A mask of the scene: the numbers of dog and cat; a palette where `is_indexed`, shades of grey otherwise.
fn write_mask(folder: &TempDir, name: &str, [dog, cat]: [u8; 2], is_indexed: bool) {
    let mut pixels = vec![0; 64 * 48];
    for (y, row) in pixels.chunks_mut(64).enumerate() {
        if (8..28).contains(&y) {
            row[10..30].fill(dog);
        }
        if (20..44).contains(&y) {
            row[40..64].fill(cat);
        }
    }
    let color = if is_indexed { png::ColorType::Indexed } else { png::ColorType::Grayscale };
    write_png(folder, name, SIZE, color, png::BitDepth::Eight, &pixels);
}

fn write_png(
    folder: &TempDir,
    name: &str,
    (width, height): (u32, u32),
    color: png::ColorType,
    depth: png::BitDepth,
    data: &[u8],
) {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_depth(depth);
    encoder.set_color(color);
    if color == png::ColorType::Indexed {
        // Colours that say nothing: all alike.
        encoder.set_palette(vec![200; 3 << depth as u32]);
    }
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    write(folder, name, bytes);
}

fn coco_scene(image: &str) -> String {
    format!(
        r#"{{"images": [{{"id": 7, "file_name": "{image}", "width": 64, "height": 48}}],
            "annotations": [
                {{"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 8, 20, 20], "iscrowd": 0, "difficult": 1,
                  "segmentation": [[1, 2, 3, 4]]}},
                {{"id": 2, "image_id": 7, "category_id": 3, "bbox": [40, 20, 24.0, 24], "iscrowd": 1, "truncated": true,
                  "original_category": "cat"}}],
            "categories": [{{"id": 3, "name": "dog"}}]}}"#
    )
}

fn open(folder: &TempDir) -> Dataset {
    Dataset::open(folder.path(), None, &Options::default()).unwrap()
}

fn open_split(folder: &TempDir, split: &str) -> Dataset {
    Dataset::open(folder.path(), None, &Options { split: Some(split.into()) }).unwrap()
}

fn refusal(folder: &TempDir, format: Option<Format>, split: Option<&str>) -> String {
    Dataset::open(folder.path(), format, &Options { split: split.map(str::to_owned) }).unwrap_err().to_string()
}

fn ids(dataset: &Dataset) -> Vec<&str> {
    dataset.items.iter().map(|item| item.id.as_str()).collect()
}

fn corners(frame: &FrameTruth) -> Vec<[f64; 4]> {
    frame.boxes.iter().map(|found| found.bbox).collect()
}

fn classes(frame: &FrameTruth) -> Vec<Option<&str>> {
    frame.boxes.iter().map(|found| found.class.as_deref()).collect()
}

/// Exactly one failure for each of these, and each says so.
fn assert_failures(dataset: &Dataset, expected: &[&str]) {
    let failures = &dataset.failures;
    assert_eq!(failures.len(), expected.len(), "{failures:#?}");
    for part in expected {
        assert!(failures.iter().any(|line| line.contains(part)), "{part:?} is not in {failures:#?}");
    }
    assert!(failures.iter().all(|line| !line.contains('\n')), "{failures:#?}");
}

/// The scene, once in each format.
fn scenes() -> BTreeMap<&'static str, TempDir> {
    let folders = || tempfile::tempdir().unwrap();
    let voc = folders();
    write_picture(&voc, "JPEGImages/a.jpg");
    write(&voc, "Annotations/a.xml", VOC_SCENE);
    let coco = folders();
    write_picture(&coco, "images/a.jpg");
    write(&coco, "annotations.json", coco_scene("a.jpg"));
    let yolo = folders();
    write_picture(&yolo, "images/a.jpg");
    write(&yolo, "labels/a.txt", "0 0.3125 0.375 0.3125 0.416666666667\n1 0.8125 0.666666666667 0.375 0.5\n");
    write(&yolo, "data.yaml", "path: ../x\nnc: 2\nnames: [dog, cat]\n");
    let clips = folders();
    write(&clips, "a.mp4", "a video");
    write(&clips, "a.boxes.json", r#"{"clip": "a.mp4", "note": "", "frames": [[[10, 8, 30, 28], [40, 20, 64, 44]]]}"#);
    let davis = folders();
    write_picture(&davis, "JPEGImages/480p/a/00000.jpg");
    write_mask(&davis, "Annotations/480p/a/00000.png", [1, 2], true);
    let mot = folders();
    write_picture(&mot, "a/img1/000001.jpg");
    write(&mot, "a/gt/gt.txt", "1,1,11,9,20,20,1,1,1.0\n1,2,41,21,24,24,0,3,0.5\n");
    [("voc", voc), ("coco", coco), ("yolo", yolo), ("clips", clips), ("davis", davis), ("mot", mot)].into()
}

#[test]
fn the_same_scene_reads_the_same_in_every_format() {
    for (name, folder) in scenes() {
        let format: Format = name.parse().unwrap();
        for format in [None, Some(format)] {
            let dataset = Dataset::open(folder.path(), format, &Options::default()).unwrap();
            assert_failures(&dataset, &[]);
            assert_eq!(dataset.items.len(), 1, "{name}");
            let item = &dataset.items[0];
            assert_eq!(item.id.trim_end_matches(".jpg"), "a", "{name}");
            assert_eq!(item.frames.len(), 1, "{name}");
            assert!(item.frames[0].is_annotated && item.is_exhaustive, "{name}");
            let found = corners(&item.frames[0]);
            assert_eq!(found.len(), 2, "{name}");
            for (found, expected) in found.iter().flatten().zip([DOG, CAT].iter().flatten()) {
                assert!((found - expected).abs() < 1e-6, "{name}: {found:?}");
            }
            let file = match &item.media {
                Media::Still(path) | Media::Video(path) => path,
                Media::Sequence(paths) => &paths[0],
            };
            assert!(file.is_file(), "{name}: {}", file.display());
        }
    }
}

#[test]
fn what_else_is_known_of_an_object_is_kept() {
    let scenes = scenes();
    let boxes = |name: &str| open(&scenes[name]).items[0].frames[0].boxes.clone();
    let plain = TruthBox {
        bbox: DOG,
        class: Some("dog".into()),
        is_difficult: false,
        is_truncated: false,
        is_crowd: false,
        track: None,
    };
    let voc = boxes("voc");
    assert_eq!(voc[0], TruthBox { is_difficult: true, ..plain.clone() });
    assert_eq!(voc[1], TruthBox { bbox: CAT, class: Some("cat".into()), is_truncated: true, ..plain.clone() });
    let coco = boxes("coco");
    assert_eq!(coco[0], TruthBox { is_difficult: true, ..plain.clone() });
    let crowd = TruthBox { is_truncated: true, is_crowd: true, ..plain.clone() };
    assert_eq!(coco[1], TruthBox { bbox: CAT, class: Some("cat".into()), ..crowd });
    let clips = boxes("clips");
    assert_eq!(clips[0], TruthBox { class: None, ..plain.clone() });
    let davis = boxes("davis");
    assert_eq!(davis[1], TruthBox { bbox: CAT, class: None, track: Some(2), ..plain.clone() });
    let mot = boxes("mot");
    assert_eq!(mot[0], TruthBox { class: Some("pedestrian".into()), track: Some(1), ..plain.clone() });
    let ignored = TruthBox { class: Some("car".into()), track: Some(2), is_crowd: true, ..plain };
    assert_eq!(mot[1], TruthBox { bbox: CAT, ..ignored });
    assert_eq!(classes(&open(&scenes["yolo"]).items[0].frames[0]), [Some("dog"), Some("cat")]);
}

/// Adds pictures and VOC annotations of these names.
fn voc_of(annotations: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, xml) in annotations {
        write_picture(&folder, &format!("JPEGImages/{name}.jpg"));
        write(&folder, &format!("Annotations/{name}.xml"), xml);
    }
    folder
}

fn voc_object(bounds: [&str; 4]) -> String {
    let [xmin, ymin, xmax, ymax] = bounds;
    format!(
        "<object><name>x</name><bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox></object>"
    )
}

#[test]
fn voc_takes_a_split_and_reports_what_is_wrong() {
    let objects = [
        ["1", "1", "64", "48"],       // all of it
        ["-5", "3", "9.5", "100"],    // cut to the picture
        ["70", "1", "80", "9"],       // outside
        ["9", "1", "8", "9"],         // no area
        ["NaN", "1", "8", "9"],       //
        ["1e400", "1", "1e400", "9"], // infinite
        ["one", "1", "8", "9"],       //
    ]
    .map(voc_object)
    .concat();
    let entities = "<!DOCTYPE a [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]><annotation>&b;</annotation>";
    let deep = "<a>".repeat(50_000);
    let folder = voc_of(&[
        ("odd", &format!("<annotation>{objects}<object><name>y</name></object></annotation>")),
        ("bomb", entities),
        ("deep", &deep),
        ("empty", "<annotation/>"),
        ("html", "<html/>"),
        ("truncated", &VOC_SCENE[..200]),
        ("huge", ""),
        ("latin", ""),
        ("good", VOC_SCENE),
    ]);
    write(&folder, "Annotations/latin.xml", b"<annotation><folder>caf\xe9</folder></annotation>");
    fs::File::create(folder.path().join("Annotations/huge.xml")).unwrap().set_len(1 << 40).unwrap();
    write_picture(&folder, "JPEGImages/bare.jpg");
    write(&folder, "Annotations/gone.xml", VOC_SCENE);

    let dataset = open(&folder);
    assert_eq!(ids(&dataset), ["empty", "good", "odd"]);
    assert_eq!(corners(&dataset.items[2].frames[0]), [[0.0, 0.0, 64.0, 48.0], [0.0, 2.0, 9.5, 48.0]]);
    assert!(dataset.items[0].frames[0].is_annotated && dataset.items[0].frames[0].boxes.is_empty());
    assert_failures(
        &dataset,
        &[
            "odd.xml: object 3: box [69.0, 0.0, 80.0, 9.0] lies outside the picture of 64x48",
            "odd.xml: object 4: box [8.0, 0.0, 8.0, 9.0] has no area",
            "odd.xml: object 5: box [NaN",
            "odd.xml: object 6: box [inf",
            "odd.xml: object 7: xmin is \"one\"",
            "odd.xml: object 8: there is no <bndbox>",
            "bomb.xml",
            "deep.xml",
            "html.xml: it holds <html>",
            "truncated.xml",
            "huge.xml: it has 1099511627776 bytes",
            "latin.xml: it is not UTF-8",
            "bare.xml",
            "gone.xml: there is no picture gone",
        ],
    );

    write(&folder, "ImageSets/Main/trainval.txt", "good\nempty  1\r\n\nnone\n../../secret\n/etc/passwd\ngood\n");
    let dataset = open_split(&folder, "trainval");
    assert_eq!(ids(&dataset), ["empty", "good"]);
    let secret = "\"../../secret.xml\" leads out of this folder";
    assert_failures(&dataset, &["no picture none", secret, "\"/etc/passwd.xml\" leads out", "good is listed twice"]);
    assert!(refusal(&folder, None, Some("test")).contains("ImageSets/Main/test.txt"));
    assert!(refusal(&folder, None, Some("../../x")).contains("leads out of this folder"));
}

#[test]
fn coco_keeps_what_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.jpg", "deep/a.jpg", "unsized.jpg"] {
        write_picture(&folder, &format!("images/{name}"));
    }
    write(&folder, "secret.jpg", "");
    let json = r#"{"info": {"x": [[[{}]]]}, "images": [
        {"id": 2, "file_name": "b.jpg", "width": 64, "height": 48},
        {"id": 1, "file_name": "deep/a.jpg", "width": 64, "height": 48},
        {"id": 2, "file_name": "other.jpg", "width": 64, "height": 48},
        {"id": 3, "file_name": "b.jpg", "width": 64, "height": 48},
        {"id": 4, "file_name": "missing\n.jpg", "width": 64, "height": 48},
        {"id": 5, "file_name": "../secret.jpg", "width": 64, "height": 48},
        {"id": 6, "file_name": "unsized.jpg"},
        {"id": "seven", "file_name": "b.jpg"}],
      "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1.5, 2, 3, 4.25], "iscrowd": 0},
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]},
        {"id": 3, "image_id": 99, "category_id": 1, "bbox": [1, 2, 3, 4]},
        {"id": 4, "image_id": 4, "category_id": 1, "bbox": [1, 2, 3, 4]},
        {"id": 5, "image_id": 2, "category_id": 1, "bbox": [-10, -10, 100, 100]},
        {"id": 6, "image_id": 2, "category_id": 1, "bbox": [1, 2, -3, 4]},
        {"id": 7, "image_id": 2, "category_id": 1, "bbox": [1, 2, 3]},
        {"id": 8, "image_id": 2, "category_id": 1, "bbox": [1, 2, 1e999, 4]},
        {"id": 9, "image_id": 2, "category_id": 1, "bbox": [1, 2, 3, "4"]},
        {"id": 10, "image_id": 6, "category_id": 1, "bbox": [60, 40, 10, 10]},
        null]}"#;
    write(&folder, "annotations.json", json);
    let dataset = open(&folder);
    assert_eq!(ids(&dataset), ["b.jpg", "deep/a.jpg", "unsized.jpg"]);
    let found: Vec<_> = dataset.items.iter().map(|item| corners(&item.frames[0])).collect();
    assert_eq!(found, [[[0.0, 0.0, 64.0, 48.0]], [[1.5, 2.0, 4.5, 6.25]], [[60.0, 40.0, 64.0, 48.0]]]);
    assert_eq!(classes(&dataset.items[0].frames[0]), [Some("1")]);
    assert_failures(
        &dataset,
        &[
            "image 2 (other.jpg) is there twice",
            "image 3 (b.jpg) is there twice",
            "there is no picture missing .jpg",
            "\"../secret.jpg\" leads out of this folder",
            "image 7 (counted from 0): invalid type",
            "its id 1 is there twice",
            "an annotation of image 99: there is no such image",
            "has no area",
            "annotation 6 (counted from 0)",
            "annotation 7 (counted from 0)",
            "annotation 8 (counted from 0)",
            "annotation 10 (counted from 0)",
            "category 1 has no name",
        ],
    );
    let file = folder.path().join("annotations.json");
    assert_eq!(ids(&Dataset::open(&file, None, &Options::default()).unwrap()), ids(&dataset));

    for unusable in ["", "[]", "{\"images\": [NaN]}", "{\"images\": [], \"annotations\": []}", &"[".repeat(100_000)] {
        fs::write(&file, unusable).unwrap();
        assert!(
            refusal(&folder, None, None).contains("annotations.json") || unusable.ends_with("[]}"),
            "{unusable:.40}"
        );
    }
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    assert!(refusal(&folder, None, None).contains("1099511627776 bytes"));
}

#[test]
fn coco_finds_the_file_and_the_pictures_of_a_split() {
    let folder = tempfile::tempdir().unwrap();
    for (split, name) in [("train2017", "t.jpg"), ("val2017", "v.jpg")] {
        write_picture(&folder, &format!("{split}/{name}"));
        write(&folder, &format!("annotations/instances_{split}.json"), coco_scene(name));
        write(&folder, &format!("annotations/captions_{split}.json"), "{}");
    }
    assert_eq!(ids(&open_split(&folder, "val2017")), ["v.jpg"]);
    assert_eq!(ids(&open_split(&folder, "train2017")), ["t.jpg"]);
    let several = refusal(&folder, None, None);
    assert!(several.contains("instances_train2017, instances_val2017 (choose a split)"), "{several}");
    assert!(refusal(&folder, None, Some("test")).contains("\"test\""));
    let file = folder.path().join("annotations/instances_val2017.json");
    assert_eq!(ids(&Dataset::open(&file, None, &Options::default()).unwrap()), ["v.jpg"]);
}

#[test]
fn yolo_reads_splits_names_outlines_and_reports_lines() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["images/val/a.jpg", "images/val/none.jpg", "images/train/b.jpg"] {
        write_picture(&folder, name);
    }
    write(&folder, "images/val/broken.jpg", "no picture");
    let lines = "1 0.5 0.5 1 1\n0 0.25 0.25 0.75 0.5 0.5 0.75\n\n0 1 1 0.5 0.5\n0 0.5 0.5 0 0.1\n0 NaN 0.5 1 1\n\
                 x 1 1 1 1\n0 1 1 1\n9 0.5 0.5 0.5 0.5\n0 7 7 1 1\n0 nan 0 1 0 1 1\n";
    write(&folder, "labels/val/a.txt", lines);
    write(&folder, "labels/val/orphan.txt", "");
    write(&folder, "labels/train/b.txt", b"\xff\xfe");
    write(&folder, "data.yaml", "names:\n  0: cat\n  1: dog\n");
    let dataset = open_split(&folder, "val");
    assert_eq!(ids(&dataset), ["a.jpg", "none.jpg"]);
    let frame = &dataset.items[0].frames[0];
    let expected =
        [[0.0, 0.0, 64.0, 48.0], [16.0, 12.0, 48.0, 36.0], [48.0, 36.0, 64.0, 48.0], [16.0, 12.0, 48.0, 36.0]];
    assert_eq!(corners(frame), expected);
    assert_eq!(classes(frame), [Some("dog"), Some("cat"), Some("cat"), Some("9")]);
    assert_eq!(dataset.items[1].frames[0], FrameTruth { is_annotated: true, boxes: vec![] });
    assert_failures(
        &dataset,
        &[
            "broken.jpg",
            "line 5: box [32.0, 21.6",
            "line 6: \"NaN\" (expected a number)",
            "line 7: class \"x\"",
            "line 8: 3 numbers after the class",
            "line 9: class 9 has no name",
            "line 10: box [416.0, 312.0, 480.0, 360.0] lies outside",
            "line 11: \"nan\"",
            "orphan.txt: there is no picture",
        ],
    );
    let all = open(&folder);
    assert_eq!(ids(&all), ["val/a.jpg", "val/none.jpg"]);
    assert!(all.failures.iter().any(|line| line.contains("train/b.txt: it is not UTF-8")));

    // Where the names are no use, numbers are.
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b]\n\
                d: &d [*c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e, *e]\n\
                names: [*f]\n";
    for names in ["names: 3", "names: [a", bomb, &format!("names: {}", "[".repeat(100_000))] {
        write(&folder, "data.yaml", names);
        let dataset = open_split(&folder, "val");
        assert!(dataset.failures[0].contains("data.yaml: "), "{:?}", dataset.failures);
        assert_eq!(classes(&dataset.items[0].frames[0])[0], Some("1"));
    }
    write(&folder, "data.yaml", "names: []");
    assert_eq!(classes(&open_split(&folder, "val").items[0].frames[0])[0], Some("1"));
    fs::remove_file(folder.path().join("data.yaml")).unwrap();
    write(&folder, "classes.txt", "zero\none\n");
    assert_eq!(classes(&open_split(&folder, "val").items[0].frames[0])[0], Some("one"));
    assert!(refusal(&folder, None, Some("test")).contains("images/test"));
    assert!(refusal(&folder, None, Some("../val")).contains("leads out"));

    let other = tempfile::tempdir().unwrap();
    write_picture(&other, "valid/images/a.jpg");
    write(&other, "valid/labels/a.txt", "0 0.5 0.5 1 1");
    assert_eq!(ids(&open_split(&other, "valid")), ["a.jpg"]);
    assert!(refusal(&other, None, None).contains("choose a split"));
}

#[test]
fn clips_say_which_frames_and_objects_are_annotated() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "b.mkv", "alone.mp4"] {
        write(&folder, name, "");
    }
    let frames = r#"[[], null, [[-1, -2, 5, 6]], [[5, 5, 5, 9], [1, 2, 3]], 7, [[0.5, 1, 2, 3]]]"#;
    write(&folder, "a.boxes.json", format!(r#"{{"exhaustive": false, "frames": {frames}}}"#));
    write(&folder, "b.boxes.json", r#"{"clip": "b.mkv", "frames": []}"#);
    write(&folder, "out.boxes.json", r#"{"clip": "../../etc/passwd", "frames": []}"#);
    write(&folder, "gone.boxes.json", r#"{"frames": []}"#);
    write(&folder, "bad.boxes.json", r#"{"frames": [[[NaN, 1, 2, 3]]]}"#);
    let dataset = open(&folder);
    assert_eq!(ids(&dataset), ["a", "b"]);
    assert_eq!(dataset.items.iter().map(|item| item.is_exhaustive).collect::<Vec<_>>(), [false, true]);
    assert_eq!(dataset.items[1].media, Media::Video(folder.path().join("b.mkv")));
    let frames = &dataset.items[0].frames;
    assert_eq!(
        frames.iter().map(|frame| frame.is_annotated).collect::<Vec<_>>(),
        [true, false, true, true, false, true]
    );
    let found: Vec<_> = frames.iter().flat_map(corners).collect();
    assert_eq!(found, [[0.0, 0.0, 5.0, 6.0], [0.5, 1.0, 2.0, 3.0]]);
    assert_failures(
        &dataset,
        &[
            "a.boxes.json: frame 3 (counted from 0): box [5.0",
            "a.boxes.json: frame 3 (counted from 0): invalid length 3",
            "a.boxes.json: frame 4 (counted from 0): invalid type",
            "\"../../etc/passwd\" leads out",
            "gone.boxes.json: there is no clip",
            "bad.boxes.json: ",
            "alone.mp4: there are no boxes",
        ],
    );
    assert!(refusal(&folder, None, Some("val")).contains("no splits"));
}

#[test]
fn davis_masks_become_boxes_with_identities() {
    let folder = tempfile::tempdir().unwrap();
    let mask = |sequence: &str, frame: u32| format!("Annotations/480p/{sequence}/{frame:05}.png");
    for sequence in ["one", "gray", "several", "bits", "odd", "rgb"] {
        for frame in 0..3 {
            write_picture(&folder, &format!("JPEGImages/480p/{sequence}/{frame:05}.jpg"));
        }
    }
    for frame in 0..3 {
        // 2016: one foreground, of both animals.
        write_mask(&folder, &mask("gray", frame), [255, 255], false);
        write_mask(&folder, &mask("one", frame), [1, 1], true);
    }
    // The dog leaves; 255 beside numbers is no object.
    write_mask(&folder, &mask("several", 0), [1, 2], true);
    write_mask(&folder, &mask("several", 1), [0, 2], true);
    write_mask(&folder, &mask("several", 2), [255, 0], true);
    // Two bits a pixel: 3 at x 4 to 7 of row 5, 1 at the last pixel.
    let mut rows = vec![0; 16 * 48];
    rows[5 * 16 + 1] = 0xff;
    rows[47 * 16 + 15] = 0x01;
    write_png(&folder, &mask("bits", 0), SIZE, png::ColorType::Indexed, png::BitDepth::Two, &rows);
    // In colour: one foreground, or objects that cannot be told from shades of one.
    let mut colors = vec![0; 64 * 48 * 3];
    colors[..6].copy_from_slice(&[128, 0, 0, 128, 0, 0]);
    write_png(&folder, &mask("rgb", 0), SIZE, png::ColorType::Rgb, png::BitDepth::Eight, &colors);
    colors[3..6].copy_from_slice(&[0, 128, 0]);
    write_png(&folder, &mask("rgb", 1), SIZE, png::ColorType::Rgb, png::BitDepth::Eight, &colors);
    write_mask(&folder, &mask("rgb", 2), [0, 0], true);
    // Another size, no PNG at all, and one more frame of nothing.
    write_png(&folder, &mask("odd", 0), (8, 8), png::ColorType::Grayscale, png::BitDepth::Eight, &[1; 64]);
    write(&folder, &mask("odd", 1), "no PNG");
    write_mask(&folder, &mask("odd", 2), [0, 0], true);
    // A header that claims 60000×60000 pixels.
    let mut header = Vec::new();
    let mut encoder = png::Encoder::new(&mut header, 60_000, 60_000);
    encoder.set_color(png::ColorType::Grayscale);
    drop(encoder.write_header().unwrap());
    write_picture(&folder, "JPEGImages/480p/large/00000.jpg");
    write(&folder, &mask("large", 0), header);

    let dataset = open(&folder);
    assert_eq!(ids(&dataset), ["bits", "gray", "odd", "one", "rgb", "several"]);
    let tracked = |index: usize, frame: usize| -> Vec<(u64, [f64; 4])> {
        dataset.items[index].frames[frame].boxes.iter().map(|found| (found.track.unwrap(), found.bbox)).collect()
    };
    let both = [10.0, 8.0, 64.0, 44.0];
    assert_eq!(tracked(0, 0), [(1, [63.0, 47.0, 64.0, 48.0]), (3, [4.0, 5.0, 8.0, 6.0])]);
    assert_eq!((tracked(1, 2), tracked(3, 2)), (vec![(255, both)], vec![(1, both)]));
    assert_eq!(tracked(4, 0), [(255, [0.0, 0.0, 2.0, 1.0])]);
    assert_eq!((tracked(5, 0), tracked(5, 1)), (vec![(1, DOG), (2, CAT)], vec![(2, CAT)]));
    assert_eq!(tracked(5, 2), []);
    let annotated = |index: usize| dataset.items[index].frames.iter().map(|f| f.is_annotated).collect::<Vec<_>>();
    assert_eq!((annotated(0), annotated(2)), (vec![true, false, false], vec![false, false, true]));
    assert_failures(
        &dataset,
        &[
            "bits: 2 of 3 pictures have no mask",
            "odd/00000.png: it has 8x8 pixels (expected 64x48)",
            "odd/00001.png",
            "rgb/00001.png: it has several colours",
            "large/00000.png",
            "large: there is no mask",
        ],
    );

    write(&folder, "ImageSets/2017/val.txt", "one\n../../secret\n");
    let dataset = open_split(&folder, "val");
    assert_eq!(ids(&dataset), ["one"]);
    assert_failures(&dataset, &["\"../../secret\" leads out"]);
    let line = "/JPEGImages/480p/gray/00000.jpg /Annotations/480p/gray/00000.png\n";
    write(&folder, "ImageSets/480p/train.txt", line.repeat(3));
    assert_eq!(ids(&open_split(&folder, "train")), ["gray"]);
    assert!(refusal(&folder, None, Some("test")).contains("2017/test.txt"));
}

#[test]
fn mot_counts_from_one_and_reports_lines() {
    let folder = tempfile::tempdir().unwrap();
    for frame in 1..=3 {
        write_picture(&folder, &format!("train/S/frames/{frame:06}.jpg"));
    }
    write(&folder, "train/S/seqinfo.ini", "[Sequence]\nname=S\nimDir=frames\nseqLength=3\n");
    let lines = "1,5,1,1,64,48,1,1,1\n3,5,-9,-9,20,20,1,1,1\n3,6,1,1,5,5,1,-1,-1,-1\n0,1,1,1,5,5,1,1,1\n4,1,1,1,5,5,1,1,1\n\
                 3,5,1,1,5,5,1,1,1\n3,7,100,1,5,5,1,1,1\n3,8,1,1,-5,5,1,1,1\n3,9,1,1,nan,5,1,1,1\n3,9,1,1\nx,y\n";
    write(&folder, "train/S/gt/gt.txt", lines);
    write(&folder, "train/out/seqinfo.ini", "imDir=../../..\n");
    write(&folder, "train/out/gt/gt.txt", "");
    write_picture(&folder, "train/bare/img1/000001.jpg");
    let dataset = open_split(&folder, "train");
    assert_eq!(ids(&dataset), ["S"]);
    let frames = &dataset.items[0].frames;
    assert_eq!(
        frames.iter().map(corners).collect::<Vec<_>>(),
        [vec![[0.0, 0.0, 64.0, 48.0]], vec![], vec![[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 5.0, 5.0]]]
    );
    assert!(frames.iter().all(|frame| frame.is_annotated));
    assert_eq!(classes(&frames[2]), [Some("pedestrian"), None]);
    assert_failures(
        &dataset,
        &[
            "line 4: there is no picture of frame 0",
            "line 5: there is no picture of frame 4",
            "line 6: object 5 is in frame 3 twice",
            "line 7: box [99.0",
            "line 8: box [0.0, 0.0, -5.0, 5.0] has no area",
            "line 9: box [0.0, 0.0, NaN",
            "line 10: 4 columns (expected at least 7)",
            "line 11: column 1 is \"x\"",
            "\"../../..\" leads out",
            "bare/gt/gt.txt: ",
        ],
    );
    assert!(refusal(&folder, None, None).contains("choose a split"));
    let alone = Dataset::open(&folder.path().join("train/S"), Some(Format::Mot), &Options::default()).unwrap();
    assert_eq!(ids(&alone), ["S"]);
}

#[test]
fn what_is_no_data_set_is_refused_with_what_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let empty = refusal(&folder, None, None);
    for sign in ["JPEGImages/", "annotations.json", "labels/", "*.boxes.json", "480p", "gt/gt.txt"] {
        assert!(empty.contains(sign), "{sign}: {empty}");
    }
    for format in Format::ALL {
        let text = refusal(&folder, Some(format), None);
        assert!(text.contains(&folder.path().display().to_string()), "{format}: {text}");
        assert_eq!(format.to_string().parse(), Ok(format));
        assert!(Dataset::open(&folder.path().join("none"), Some(format), &Options::default()).is_err(), "{format}");
    }
    assert_eq!("vco".parse::<Format>().unwrap_err(), "no format \"vco\" (expected voc, coco, yolo, clips, davis, mot)");

    write_picture(&folder, "images/a.jpg");
    write(&folder, "labels/a.txt", "0 0.5 0.5 1 1");
    write(&folder, "annotations/instances.json", coco_scene("a.jpg"));
    let both = refusal(&folder, None, None);
    assert!(both.contains("coco") && both.contains("yolo") && both.contains("say which"), "{both}");
    let yolo = Dataset::open(folder.path(), Some(Format::Yolo), &Options::default()).unwrap();
    assert_eq!(corners(&yolo.items[0].frames[0]), [[0.0, 0.0, 64.0, 48.0]]);
    let coco = Dataset::open(folder.path(), Some(Format::Coco), &Options::default()).unwrap();
    assert_eq!(corners(&coco.items[0].frames[0]), [DOG, CAT]);
}

#[test]
fn failures_without_end_are_counted_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    write_picture(&folder, "images/a.jpg");
    let line = format!("{} 1 1 1 1\n", "\u{1b}[31m".repeat(300));
    write(&folder, "labels/a.txt", line.repeat(1500));
    let dataset = open(&folder);
    assert_eq!(dataset.failures.len(), 1001);
    assert_eq!(dataset.failures[1000], "and 500 more");
    assert!(dataset.failures.iter().all(|line| line.chars().count() <= 400 && !line.contains('\u{1b}')));
}

#[cfg(unix)]
#[test]
fn a_pipe_and_a_circle_of_links_do_not_hold_it_up() {
    let folder = tempfile::tempdir().unwrap();
    write_picture(&folder, "images/a.jpg");
    write_picture(&folder, "images/b.jpg");
    write(&folder, "labels/a.txt", "0 0.5 0.5 1 1");
    std::os::unix::fs::symlink("..", folder.path().join("images/up")).unwrap();
    std::os::unix::fs::symlink("..", folder.path().join("labels/up")).unwrap();
    let pipe = folder.path().join("labels/b.txt");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let dataset = open(&folder);
    assert_eq!(ids(&dataset), ["a.jpg"]);
    assert_failures(&dataset, &["labels/b.txt: it is no file"]);
}

#[test]
fn a_picture_on_its_side_is_measured_upright() {
    let folder = tempfile::tempdir().unwrap();
    write_picture(&folder, "images/a.jpg");
    let path = folder.path().join("images/a.jpg");
    // Exif, big-endian, with one entry: orientation (0x112), one short, 6 (turn right to see it).
    let tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut jpeg = fs::read(&path).unwrap();
    let mut segment = vec![0xff, 0xe1, 0, (2 + 6 + tiff.len()) as u8];
    segment.extend(b"Exif\0\0");
    segment.extend(tiff);
    jpeg.splice(2..2, segment);
    fs::write(&path, jpeg).unwrap();
    write(&folder, "labels/a.txt", "0 0.5 0.5 1 1");
    assert_eq!(corners(&open(&folder).items[0].frames[0]), [[0.0, 0.0, 48.0, 64.0]]);
    assert_eq!(picture::decode(&path).unwrap().dimensions(), (48, 64));
}
