//! Data sets of pictures: VOC, COCO, YOLO.

use super::*;

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
