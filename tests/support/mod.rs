//! What the tests share. Each test uses its own part of it.
#![expect(dead_code, reason = "each program uses its own part")]

#[cfg(feature = "cli")]
pub mod brokers;
pub mod browser;
pub mod camera;
pub mod certificate;
pub mod clips;
#[cfg(feature = "cli")]
pub mod feed;
#[cfg(feature = "cli")]
pub mod log;
pub mod play;
pub mod program;
pub mod proxy;
pub mod scene;
pub mod server;
#[cfg(feature = "cli")]
pub mod site;

use jsonschema::Validator;
use mostream::geometry::PixelBox;
use mostream::record::FrameRecord;
use scene::{Shape, Texture, Thing};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// `docs/record.schema.json`: what a reader may meet.
pub static OPEN_SCHEMA: LazyLock<Validator> = LazyLock::new(|| validator(&published_schema()));

/// Its strict twin, what the program writes today: no field and no kind of line but those that are specified, each with its kind and run.
pub static STRICT_SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let mut schema = published_schema();
    close(&mut schema);
    let kinds = &mut schema["$defs"];
    kinds["other"] = json!(false);
    for kind in ["frame", "state", "end", "event"] {
        kinds[kind]["required"].as_array_mut().unwrap().extend([json!("kind"), json!("run")]);
    }
    validator(&schema)
});

/// What a Python script with the tools of `tools/setup.sh` prints, as JSON, of what it is given on its standard input.
pub fn python(script: &str, input: &Value) -> Value {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let mut command = Command::new(python);
    let mut child = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "Python failed: run tools/setup.sh");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn published_schema() -> Value {
    serde_json::from_str(include_str!("../../docs/record.schema.json")).unwrap()
}

fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::meta::validate(schema).unwrap();
    jsonschema::validator_for(schema).unwrap()
}

/// Allows no object a property that the schema does not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(parts) => {
            parts.values_mut().for_each(close);
            if parts.get("type") == Some(&json!("object")) {
                parts.insert("additionalProperties".into(), json!(false));
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(close),
        _ => {}
    }
}

/// A line of any kind, as the program writes it.
pub fn strict_line(line: &str) -> Result<Value, String> {
    let value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    STRICT_SCHEMA.validate(&value).map_err(|error| format!("{}: {error}", error.instance_path()))?;
    Ok(value)
}

/// The record as any run of the program writes it.
pub fn of_any_run(record: FrameRecord) -> FrameRecord {
    FrameRecord { run: String::new(), ..record }
}

/// Reads the line of a frame; says what is wrong with it where it breaks the strict schema, or where its numbers contradict each other in a
/// way that a schema cannot express.
pub fn validate_line(line: &str) -> Result<FrameRecord, String> {
    let record: FrameRecord = serde_json::from_value(strict_line(line)?).map_err(|error| error.to_string())?;

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

/// A box of four numbers.
pub fn pixel_box([xmin, ymin, xmax, ymax]: [u32; 4]) -> PixelBox {
    PixelBox { xmin, ymin, xmax, ymax }
}

/// A picture of one thing of a kind, `ball`, `star` or whatever else (a blob); `variant` moves and turns it. `[height, width, 3]`.
pub fn of_kind(kind: &str, variant: u32, (width, height): (u32, u32)) -> Vec<u8> {
    let (shape, texture, colours) = match kind {
        "ball" => (Shape::Ellipse, Texture::Stripes, [[228.0, 228.0, 236.0], [40.0, 70.0, 190.0]]),
        "star" => (Shape::Star, Texture::Checks, [[236.0, 196.0, 40.0], [196.0, 64.0, 24.0]]),
        _ => (Shape::Blob, Texture::Noise, [[122.0, 60.0, 168.0], [222.0, 150.0, 232.0]]),
    };
    let v = variant as f32;
    let centre = [80.0 + 8.0 * (v % 4.0), 64.0 + 10.0 * (v % 3.0)];
    let thing = Thing { shape, texture, colours, centre, radius: 44.0 + v % 2.0, turn: 0.15 * v };
    scene::draw(&scene::ground(width, height), width, height, &[thing]).rgb
}
