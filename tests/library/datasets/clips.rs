//! Data sets of clips: videos with boxes beside them, DAVIS, MOT.

use super::*;

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
fn clips_say_whose_the_boxes_are() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "a.mp4", "");
    write(
        &folder,
        "a.boxes.json",
        r#"{"frames": [[[9, 9, 29, 49], [12, 9, 32, 49]], null, [[9, 9, 29, 49], [60, 9, 80, 49]]]}"#,
    );
    // MOT counts frames and pixels from 1; nobody looked at the second frame.
    let lines = [
        "1,7,13,10,20,40,1,-1,-1,-1",
        "1,3,10,10,20,40,1,-1,-1,-1",
        "2,3,10,10,20,40,1,-1,-1,-1",
        "3,3,11,10.4,20,40,1,-1,-1,-1",
        "3,3,61,10,20,40,1,-1,-1,-1",
        "3,8,200,10,20,40,1,-1,-1,-1",
        "4,3,10,10,20,40,1,-1,-1,-1",
        "word",
    ];
    write(&folder, "a.mot.txt", lines.join("\n"));
    let dataset = open(&folder);
    let tracks: Vec<_> =
        dataset.items[0].frames.iter().flat_map(|frame| &frame.boxes).map(|truth| truth.track).collect();
    assert_eq!(tracks, [Some(3), Some(7), Some(3), None]);
    let expected = [
        "line 5: object 3 is in frame 3 twice",
        "line 6: frame 3 has no such box",
        "line 7: there is no frame 4",
        "line 8: column 1 is \"word\"",
    ];
    assert_failures(&dataset, &expected);
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
