//! What the tests share. Each test uses its own part of it.
#![allow(dead_code)]

pub mod browser;
pub mod clips;
pub mod scene;
#[cfg(feature = "cli")]
pub mod site;

use jsonschema::Validator;
use mostream::record::FrameRecord;
use std::sync::LazyLock;

/// Reads one line of a record file; says what is wrong with it where it breaks `docs/record.schema.json`, or where its numbers
/// contradict each other in a way that a schema cannot express.
pub fn validate_line(line: &str) -> Result<FrameRecord, String> {
    static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
        let schema = serde_json::from_str(include_str!("../../docs/record.schema.json")).unwrap();
        jsonschema::draft202012::meta::validate(&schema).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    });
    let value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    SCHEMA.validate(&value).map_err(|error| format!("{}: {error}", error.instance_path()))?;
    let record: FrameRecord = serde_json::from_value(value).map_err(|error| error.to_string())?;

    let cells = record.grid.rows * record.grid.cols;
    for object in &record.objects {
        let [xmin, ymin, xmax, ymax] = object.bbox;
        if !(xmin < xmax && xmax <= record.width && ymin < ymax && ymax <= record.height) {
            return Err(format!("box {:?} in a frame of {}x{}", object.bbox, record.width, record.height));
        }
        if object.seed.is_some_and(|seed| seed >= cells) || object.patches > cells {
            return Err(format!("seed {:?}, {} patches in a grid of {cells}", object.seed, object.patches));
        }
        if let Some(mask) = &object.mask {
            let on: usize = mask.counts.iter().skip(1).step_by(2).sum();
            let all: usize = mask.counts.iter().sum();
            if (mask.size, all, on) != ([record.grid.rows, record.grid.cols], cells, object.patches) {
                return Err(format!("mask of {:?}, {on} of {all} patches, for {object:?}", mask.size));
            }
        }
    }
    Ok(record)
}
