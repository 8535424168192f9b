//! What `make demo` shows: every object of the drawn clip is boxed, and nothing else.

use crate::support::pixel_box;
use crate::support::program::{PROGRAM, example, records, stderr};
use std::process::Command;

/// A second in the middle, 25 frames per second.
const START_SECONDS: usize = 6;
const FRAMES: usize = 25;

#[test]
fn every_drawn_object_is_boxed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("demo.mp4");
    assert!(Command::new(example("draw_demo_clip")).arg(&clip).status().unwrap().success());
    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("demo.boxes.json")).unwrap()).unwrap();

    let ran = Command::new(PROGRAM)
        .args(["run", "--quiet", "--records", "-", "--duration", &(START_SECONDS + 1).to_string()])
        .arg(&clip)
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    let found = records(&ran.stdout);
    assert_eq!(found.len(), (START_SECONDS + 1) * FRAMES);
    let drawn = truth["frames"].as_array().unwrap().iter();
    for (record, drawn) in found.iter().zip(drawn).skip(START_SECONDS * FRAMES) {
        let mut drawn: Vec<[u32; 4]> = serde_json::from_value(drawn.clone()).unwrap();
        assert_eq!(record.objects.len(), drawn.len(), "frame {}", record.frame);
        for object in &record.objects {
            let overlap = |bbox: &[u32; 4]| pixel_box(*bbox).iou(&pixel_box(object.bbox));
            let best = (0..drawn.len()).max_by(|&a, &b| overlap(&drawn[a]).total_cmp(&overlap(&drawn[b]))).unwrap();
            assert!(overlap(&drawn[best]) >= 0.6, "frame {}: {:?} for {:?}", record.frame, object.bbox, drawn[best]);
            drawn.remove(best);
        }
    }
}
