//! Data sets: the same scene reads the same in every format, and what is wrong costs what it is about, and a line.

mod clips;
mod stills;

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

#[test]
fn what_is_no_data_set_is_refused_with_what_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let empty = refusal(&folder, None, None);
    for sign in ["JPEGImages/", "annotations.json", "labels/", "*.boxes.json", "*.events.json", "480p", "gt/gt.txt"] {
        assert!(empty.contains(sign), "{sign}: {empty}");
    }
    for format in Format::ALL {
        let text = refusal(&folder, Some(format), None);
        assert!(text.contains(&folder.path().display().to_string()), "{format}: {text}");
        assert_eq!(format.to_string().parse(), Ok(format));
        assert!(Dataset::open(&folder.path().join("none"), Some(format), &Options::default()).is_err(), "{format}");
    }
    assert_eq!(
        "vco".parse::<Format>().unwrap_err(),
        "no format \"vco\" (expected voc, coco, yolo, clips, events, davis, mot)"
    );

    // A folder of data sets says which there are.
    for year in ["VOC2007", "VOC2012"] {
        write_picture(&folder, &format!("kit/{year}/JPEGImages/a.jpg"));
        write(&folder, &format!("kit/{year}/Annotations/a.xml"), VOC_SCENE);
    }
    let kit = folder.path().join("kit");
    for format in [None, Some(Format::Voc)] {
        let text = Dataset::open(&kit, format, &Options::default()).unwrap_err().to_string();
        let both = format!("give {0}/VOC2007 or {0}/VOC2012", kit.display());
        assert!(text.contains(&both), "{text}");
    }
    let text = Dataset::open(&kit, Some(Format::Mot), &Options::default()).unwrap_err().to_string();
    assert!(!text.contains("VOC2007 or"), "{text}");

    write_picture(&folder, "images/a.jpg");
    write(&folder, "labels/a.txt", "0 0.5 0.5 1 1");
    write(&folder, "annotations/instances.json", coco_scene("a.jpg"));
    let both = refusal(&folder, None, None);
    assert!(both.contains("coco") && both.contains("yolo") && both.contains("--format"), "{both}");
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
