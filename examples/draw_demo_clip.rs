//! Draws the demo clip: textured objects that come to an empty lawn before a still camera, where some stop and others go on; 640×480,
//! 25 fps, 12 s, with a tone.
//!
//! `draw_demo_clip CLIP.mp4` also writes the true boxes to `CLIP.boxes.json`:
//! `{"frames": [[[xmin, ymin, xmax, ymax], …], …]}`, half-open, in frame pixels.

#![expect(clippy::print_stdout, reason = "it says what it drew")]

#[path = "../tests/support/scene.rs"]
mod scene;

use gstreamer::prelude::*;
use gstreamer::{self as gst, ClockTime};
use gstreamer_app::AppSrc;
use scene::{Shape, Texture, Thing};
use std::error::Error;
use std::f32::consts::TAU;
use std::path::PathBuf;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
const FPS: u64 = 25;
const FRAMES: u64 = 300;
const AUDIO_RATE: u64 = 48_000;
const SAMPLES_PER_BUFFER: u64 = AUDIO_RATE / FPS;

fn main() -> Result<(), Box<dyn Error>> {
    let clip = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: draw_demo_clip CLIP.mp4")?);
    if let Some(folder) = clip.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let unfinished = clip.with_extension("mp4.part");

    gst::init()?;
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=pictures format=time block=true max-bytes=8000000 \
           caps=video/x-raw,format=RGB,width={WIDTH},height={HEIGHT},framerate={FPS}/1 \
           ! videoconvert ! video/x-raw,format=I420 ! {} ! h264parse ! mux. \
         audiotestsrc num-buffers={FRAMES} samplesperbuffer={SAMPLES_PER_BUFFER} freq=330 volume=0.1 \
           ! audio/x-raw,rate={AUDIO_RATE},channels=1 ! audioconvert ! {} ! aacparse ! mux. \
         mp4mux name=mux ! filesink name=file",
        installed(&["x264enc speed-preset=fast pass=qual quantizer=20", "openh264enc bitrate=4000000"])?,
        installed(&["avenc_aac", "voaacenc", "fdkaacenc"])?,
    ))?
    .downcast::<gst::Pipeline>()
    .map_err(|_| "not a pipeline")?;
    let named = |name: &str| pipeline.by_name(name).ok_or_else(|| format!("no element {name}"));
    named("file")?.set_property("location", unfinished.to_str().ok_or("the path of the clip is not UTF-8")?);
    let pictures = named("pictures")?.downcast::<AppSrc>().map_err(|_| "not an appsrc")?;

    pipeline.set_state(gst::State::Playing)?;
    let ground = scene::ground(WIDTH, HEIGHT);
    let mut boxes = Vec::new();
    for frame in 0..FRAMES {
        let picture = scene::draw(&ground, WIDTH, HEIGHT, &things(frame as f32 / FPS as f32));
        // What is still outside has no pixel.
        boxes.push(picture.boxes.into_iter().filter(|[xmin, _, xmax, _]| xmin < xmax).collect::<Vec<_>>());
        let mut buffer = gst::Buffer::from_slice(picture.rgb);
        let timed = buffer.make_mut();
        timed.set_pts(ClockTime::from_seconds(frame) / FPS);
        timed.set_duration(ClockTime::SECOND / FPS);
        // Refused once the pipeline has failed: the bus says why.
        if pictures.push_buffer(buffer).is_err() {
            break;
        }
    }
    let _ = pictures.end_of_stream();
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    let end = bus.timed_pop_filtered(ClockTime::NONE, &[gst::MessageType::Eos, gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null)?;
    if let Some(gst::MessageView::Error(error)) = end.as_ref().map(|message| message.view()) {
        return Err(error.error().into());
    }

    std::fs::write(clip.with_extension("boxes.json"), serde_json::json!({ "frames": boxes }).to_string())?;
    std::fs::rename(&unfinished, &clip)?;
    println!("{}: {FRAMES} frames, {} objects", clip.display(), things(0.0).len());
    Ok(())
}

/// The first of these (element and properties) whose element is installed.
fn installed<'a>(choices: &[&'a str]) -> Result<&'a str, String> {
    let there = |choice: &&&str| choice.split(' ').next().is_some_and(|name| gst::ElementFactory::find(name).is_some());
    choices
        .iter()
        .find(there)
        .copied()
        .ok_or_else(|| format!("none of these GStreamer elements is installed: {choices:?}"))
}

/// What the clip shows at a time in seconds: one after the other they come in from the side they are nearest to; nothing touches.
fn things(time: f32) -> [Thing; 6] {
    let mut things = at_their_places(time);
    let sides = [[-1.0, 0.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]];
    for (number, (thing, side)) in things.iter_mut().zip(sides).enumerate() {
        let share = ((time - 1.0 - 0.4 * number as f32) / 2.0).clamp(0.0, 1.0);
        let away = 1.0 - share * share * (3.0 - 2.0 * share);
        thing.centre = [0, 1].map(|axis| thing.centre[axis] + 240.0 * away * side[axis]);
    }
    things
}

fn at_their_places(time: f32) -> [Thing; 6] {
    let wave = |period: f32, phase: f32| (TAU * (time / period + phase)).sin();
    let thing = |shape, texture, colours, centre, radius, turn| Thing { shape, texture, colours, centre, radius, turn };
    [
        thing(
            Shape::Star,
            Texture::Checks,
            [[236.0, 196.0, 40.0], [196.0, 64.0, 24.0]],
            [104.0 + 24.0 * wave(6.0, 0.0), 110.0 + 35.0 * wave(4.0, 0.25)],
            66.0,
            0.5 * time,
        ),
        thing(
            Shape::Ellipse,
            Texture::Stripes,
            [[228.0, 228.0, 236.0], [40.0, 70.0, 190.0]],
            [330.0 + 22.0 * wave(5.0, 0.3), 105.0 + 30.0 * wave(6.0, 0.5)],
            72.0,
            0.6 * wave(8.0, 0.0),
        ),
        thing(Shape::Square, Texture::Dots, [[176.0, 36.0, 60.0], [250.0, 226.0, 214.0]], [540.0, 112.0], 68.0, 0.2),
        thing(Shape::Blob, Texture::Noise, [[122.0, 60.0, 168.0], [222.0, 150.0, 232.0]], [112.0, 360.0], 72.0, 0.0),
        thing(
            Shape::Square,
            Texture::Stripes,
            [[20.0, 150.0, 160.0], [236.0, 244.0, 240.0]],
            [325.0 + 35.0 * wave(7.0, 0.6), 362.0 + 30.0 * wave(3.5, 0.0)],
            58.0,
            -0.4 * time,
        ),
        thing(
            Shape::Ellipse,
            Texture::Checks,
            [[246.0, 246.0, 240.0], [36.0, 36.0, 44.0]],
            [536.0 + 20.0 * wave(4.0, 0.0), 352.0 + 36.0 * wave(6.0, 0.25)],
            64.0,
            1.2 * wave(10.0, 0.0),
        ),
    ]
}
