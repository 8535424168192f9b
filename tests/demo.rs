//! What `make demo` shows: every object of the drawn clip is boxed, and nothing else.

mod support;

use mostream::geometry::PixelBox;
use std::path::Path;
use std::process::Command;
use support::validate_line;

/// A second in the middle, 25 frames per second.
const START_SECONDS: usize = 6;
const FRAMES: usize = 25;

#[test]
fn every_drawn_object_is_boxed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("demo.mp4");
    let program = Path::new(env!("CARGO_BIN_EXE_mostream"));
    let draw = program.with_file_name("examples").join("draw_demo_clip");
    assert!(Command::new(draw).arg(&clip).status().unwrap().success());
    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("demo.boxes.json")).unwrap()).unwrap();

    let ran = Command::new(program)
        .args(["run", "--quiet", "--records", "-", "--duration", &(START_SECONDS + 1).to_string()])
        .arg(&clip)
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    let lines = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(lines.lines().count(), (START_SECONDS + 1) * FRAMES);
    let drawn = truth["frames"].as_array().unwrap().iter();
    for (line, drawn) in lines.lines().zip(drawn).skip(START_SECONDS * FRAMES) {
        let record = validate_line(line).unwrap();
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

fn pixel_box([xmin, ymin, xmax, ymax]: [u32; 4]) -> PixelBox {
    PixelBox { xmin, ymin, xmax, ymax }
}
