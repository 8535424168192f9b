//! Frames in a device's memory, with elements that stand for a Jetson's: who decodes, what reaches the CPU, and that records do not
//! change with it.
//!
//! A program of its own: the elements are there for all of a process, and `run` prefers them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is not as it should be")]

#[path = "../support/mod.rs"]
mod support;

mod nvidia;

use gstreamer_video::VideoFormat;
use mostream::backbone::{Backbone, Checkpoint, Feature, Model, SessionOptions};
use mostream::engine::status::Board;
use mostream::engine::{self, Cue, Input, Task};
use mostream::geometry::PixelBox;
use mostream::localize::Localizer;
use mostream::publish::records::{Lines, Records};
use mostream::record::FrameRecord;
use mostream::stream::camera::{Camera, CameraOptions};
use mostream::stream::decoder::{Decoder, Decoding, ModelSize};
use mostream::stream::feed::{Event, Feed, Files};
use mostream::stream::frame::Frame;
use mostream::stream::ingest::Span;
use mostream::stream::preflight::Source;
use mostream::stream::source::{self, FrameSource};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};
use support::clips::make;

const FULL: (u32, u32) = (640, 480);
const MODEL: (u32, u32) = (160, 120);

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(nvidia::install);
}

fn small() -> Option<ModelSize> {
    Some(Arc::new(|width, height| {
        assert_eq!((width, height), FULL, "asked for the frame's own size");
        MODEL
    }))
}

fn opened(path: &Path, decoder: Option<&str>, model_size: Option<ModelSize>) -> (Frame, Box<dyn FrameSource>) {
    let decoding = Decoding { decoder: decoder.map(str::to_owned), model_size };
    let (_, mut frames) = source::open_with(&Source::new(path).unwrap(), Span::default(), &decoding).unwrap();
    (frames.next(&|| false).unwrap().unwrap(), frames)
}

fn buffer_size(frame: &Frame) -> (u32, u32) {
    (frame.info.width(), frame.info.height())
}

/// The records of a clip without an annotated video.
fn records(path: &Path, decoder: Option<&str>, model_size: Option<ModelSize>) -> Vec<FrameRecord> {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("r.jsonl");
    let decoding = Decoding { decoder: decoder.map(str::to_owned), model_size };
    let feed = Files::new(vec![Source::new(path).unwrap()], Span::default()).decoded(decoding).unwrap();
    let options = SessionOptions::default();
    let backbone = Backbone::open(&Checkpoint::bundled().unwrap(), Feature::Keys, MODEL.0, MODEL.1, &options).unwrap();
    let models = vec![Arc::new(backbone) as Arc<dyn Model>];
    let localizer = Localizer::default();
    let task = Task {
        model: "test".into(),
        cue: Cue::Appearance,
        localizer,
        groups: None,
        with_masks: false,
        with_timings: false,
    };
    let board = Board::default();
    let sinks = vec![Records::replace(&written, Lines::Frames).sink()];
    let input = Input { sinks, ..Input::new(board.enter("clip".into()), Box::new(feed)) };
    engine::run(&task, vec![input], &models, &board, &AtomicBool::new(false)).unwrap();
    let text = std::fs::read_to_string(written).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn without_pictures_only_the_small_one_reaches_the_cpu_and_records_stay_in_the_frames_own_pixels() {
    install();
    let folder = tempfile::tempdir().unwrap();
    let clip = make(folder.path().join("a.mp4"), FULL, 6, true, "-c:v libx264 -pix_fmt yuv420p -crf 12");

    let (frame, frames) = opened(&clip.path, None, small());
    assert_eq!(frames.decoder(), Some(Decoder { name: "nvv4l2decoder".into(), memory: "NVMM".into() }));
    assert_eq!((buffer_size(&frame), frame.info.format()), (MODEL, VideoFormat::Rgba));
    assert_eq!(frame.display_size(), FULL);
    let line = frames.pipeline().unwrap();
    assert!(line.contains("video/x-raw(memory:NVMM),format=NV12,width=640,height=480"), "{line}");
    let end = "nvvidconv ! video/x-raw,format=RGBA,width=160,height=120,";
    assert!(line.contains(end) && line.ends_with("! appsink"), "{line}");
    assert!(!line.contains("video/x-raw,format=NV12,width=640"), "a whole frame in the CPU's memory: {line}");

    let (device, plain) = (records(&clip.path, None, small()), records(&clip.path, Some("avdec_h264"), None));
    assert_eq!((device.len(), plain.len()), (6, 6));
    for (index, (device, plain)) in device.iter().zip(&plain).enumerate() {
        assert_eq!((device.width, device.height, device.pts_ns), (plain.width, plain.height, plain.pts_ns));
        let as_box = |[xmin, ymin, xmax, ymax]: [u32; 4]| PixelBox { xmin, ymin, xmax, ymax };
        let best = |record: &FrameRecord, of: [u32; 4]| {
            record.objects.iter().map(|object| as_box(object.bbox).iou(&as_box(of))).fold(0.0, f64::max)
        };
        assert!(!plain.objects.is_empty());
        // Another scaler rounds colours otherwise: a box may differ by one patch of 8 pixels, 32 of the frame's.
        assert!(best(device, plain.objects[0].bbox) >= 0.7, "frame {index}: {device:?}, {plain:?}");
        assert!(best(device, clip.boxes[index]) >= 0.5, "frame {index}: the disc itself");
    }
}

#[test]
fn where_pictures_are_drawn_the_whole_one_comes_and_a_named_decoder_is_taken() {
    install();
    let folder = tempfile::tempdir().unwrap();
    let clip = make(folder.path().join("a.mp4"), FULL, 3, true, "-c:v libx264 -pix_fmt yuv420p");
    let (frame, frames) = opened(&clip.path, None, None);
    assert_eq!(frames.decoder().unwrap().name, "nvv4l2decoder");
    assert_eq!((buffer_size(&frame), frame.info.format(), frame.display_size()), (FULL, VideoFormat::Nv12, FULL));

    for (name, format) in [("avdec_h264", VideoFormat::I420), ("openh264dec", VideoFormat::I420)] {
        let (frame, frames) = opened(&clip.path, Some(name), small());
        assert_eq!(frames.decoder(), Some(Decoder { name: name.into(), memory: "system".into() }));
        assert_eq!((buffer_size(&frame), frame.info.format()), (FULL, format));
    }
    // Wide pixels are square in the records, as ever.
    let wide =
        make(folder.path().join("w.mp4"), FULL, 3, true, "-c:v libx264 -pix_fmt yuv420p -vf scale=320:480,setsar=2");
    let (frame, _frames) = opened(&wide.path, None, small());
    assert_eq!((buffer_size(&frame), frame.display_size()), (MODEL, FULL));
}

#[test]
fn interlaced_and_turned_videos_come_whole() {
    install();
    let folder = tempfile::tempdir().unwrap();
    let x264 = "-c:v libx264 -pix_fmt yuv420p";
    let turned = make(folder.path().join("t.mp4"), (480, 640), 3, true, x264).turned(90);
    let (frame, _frames) = opened(&turned.path, None, Some(Arc::new(|_, _| MODEL)));
    assert_eq!((buffer_size(&frame), frame.display_size()), (FULL, FULL));
    let lines = "-vf setfield=tff -flags +ildct+ilme -x264opts tff=1";
    let woven = make(folder.path().join("i.mp4"), FULL, 6, true, &format!("{x264} {lines}"));
    let (frame, _frames) = opened(&woven.path, None, small());
    assert_eq!((buffer_size(&frame), frame.display_size()), (FULL, FULL));
}

#[test]
fn a_decoder_that_is_not_there_or_does_not_fit_is_named_with_those_that_do() {
    install();
    let folder = tempfile::tempdir().unwrap();
    let clip = make(folder.path().join("a.mp4"), FULL, 3, true, "-c:v libx264 -pix_fmt yuv420p");
    let source = Source::new(&clip.path).unwrap();
    let fault = |name: &str| {
        let decoding = Decoding { decoder: Some(name.into()), model_size: None };
        match source::open_with(&source, Span::default(), &decoding) {
            Err(error) => error.to_string(),
            Ok((_, mut frames)) => frames.next(&|| false).err().unwrap().to_string(),
        }
    };
    for (name, why) in [("nosuchdec", "there is no video decoder nosuchdec"), ("x264enc", "no video decoder x264enc")] {
        let said = fault(name);
        assert!(said.contains(why) && said.contains("avdec_h264"), "{said}");
    }
    let said = fault("vp8dec");
    assert!(
        said.contains("vp8dec does not decode video/x-h264") && said.contains("nvv4l2decoder, avdec_h264"),
        "{said}"
    );
    assert!(!said.contains("vp9dec"), "only those for the codec: {said}");
}

#[test]
fn sources_of_a_live_run_tell_their_decoder_too() {
    install();
    let folder = tempfile::tempdir().unwrap();
    let clip = make(folder.path().join("a.mp4"), FULL, 25, true, "-c:v libx264 -pix_fmt yuv420p");
    let decoding = Decoding { decoder: None, model_size: small() };
    let files = Files::new(vec![Source::new(&clip.path).unwrap()], Span::default()).decoded(decoding.clone()).unwrap();
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let camera = format!("udp://127.0.0.1:{port}");
    let options = CameraOptions { decoding, ..CameraOptions::default() };
    let camera = Camera::open(camera.as_ref(), "camera".into(), options).unwrap();
    // Without an end, and with a key frame every 0.4 s for whoever comes late.
    let mut sender = std::process::Command::new("ffmpeg")
        .args(["-v", "quiet", "-re", "-f", "lavfi", "-i", "testsrc=size=640x480:rate=25"])
        .args("-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 10 -f mpegts".split(' '))
        .arg(format!("udp://127.0.0.1:{port}?pkt_size=1316"))
        .stdin(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let start = std::time::Instant::now();
    for mut feed in [Box::new(files) as Box<dyn Feed>, Box::new(camera)] {
        let frame = loop {
            assert!(start.elapsed().as_secs() < 60, "no frame comes");
            match feed.next(&|| false) {
                Some(Event::Frame(frame)) => break frame,
                Some(Event::State(change)) => assert_ne!(change.why, Some(String::new())),
                None => panic!("no frame"),
            }
        };
        assert_eq!((buffer_size(&frame), frame.display_size()), (MODEL, FULL));
        assert_eq!(feed.decoder(), Some(Decoder { name: "nvv4l2decoder".into(), memory: "NVMM".into() }));
    }
    sender.kill().unwrap();
    sender.wait().unwrap();
}
