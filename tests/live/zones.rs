//! What a picture is parted into: masks in every picture that leaves the program, ignored areas, and their change while a source runs.

use crate::support::camera::free_port;
use crate::support::clips::{X264, film, luma, make, pan};
use crate::support::program::until;
use crate::support::scene::{self, Shape, Texture, Thing};
use crate::support::site::ask;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use mostream::engine::sink::{Message, Picture};
use mostream::record::FrameRecord;
use mostream::run::{Observe, Options, Run, RunSpec, SourceSpec};
use mostream::zones::{Area, Polygon, Regions};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SIZE: (u32, u32) = (160, 120);

fn polygon(points: &[[f32; 2]]) -> Polygon {
    points.to_vec().try_into().unwrap()
}

/// No side of it is a picture's own row or column.
fn masked() -> Polygon {
    polygon(&[[0.1, 0.13], [0.56, 0.2], [0.5, 0.81], [0.17, 0.7]])
}

/// A camera in this machine's own memory that sees nothing but white.
fn white() -> SourceSpec {
    let (width, height) = SIZE;
    let line = format!(
        "videotestsrc is-live=true pattern=white ! video/x-raw,format=I420,width={width},height={height},framerate=25/1 \
         ! appsink name=frames"
    );
    SourceSpec::new(line).named("door")
}

/// Runs that find nothing: nothing is drawn.
fn spec(folder: &Path, sources: Vec<SourceSpec>) -> RunSpec {
    let mut spec = RunSpec { sources, ..RunSpec::default() };
    spec.shared.size = "64x48".parse().ok();
    spec.shared.min_score = Some(1.0);
    spec.shared.records = Some(folder.join("r.jsonl"));
    spec
}

fn pictures() -> Options {
    Options { observe: Observe::Pictures, ..Options::default() }
}

/// How far each pixel of a picture is inside a polygon, in pixels; negative outside.
fn depths(polygon: &Polygon, (width, height): (u32, u32)) -> Vec<f32> {
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| [x, y]));
    let share = |[x, y]: [u32; 2]| [(x as f32 + 0.5) / width as f32, (y as f32 + 0.5) / height as f32];
    let across = width as f32 / height as f32;
    pixels.map(|at| polygon.depth(share(at), across) * height as f32).collect()
}

/// That a white picture is black where it is masked, and as it was elsewhere, but for what a codec makes of an edge.
#[track_caller]
fn is_masked(what: &str, grey: &[u8]) {
    let depths = depths(&masked(), SIZE);
    assert_eq!(grey.len(), depths.len(), "{what}");
    let most = grey.iter().zip(&depths).filter(|(_, depth)| **depth > 0.5).map(|(grey, _)| *grey).max().unwrap();
    let least = grey.iter().zip(&depths).filter(|(_, depth)| **depth < -8.0).map(|(grey, _)| *grey).min().unwrap();
    assert!(most < 70, "{what}: {most} under the mask");
    assert!(least > 200, "{what}: {least} beside it");
}

/// The first picture that ffmpeg has of this input, `[height, width]`, full range; none where there is nothing.
fn seen(input: &[&str]) -> Option<Vec<u8>> {
    let (width, height) = SIZE;
    let filter = format!("scale={width}:{height},format=gray");
    let command =
        |ffmpeg: &mut Command| ffmpeg.args(["-frames:v", "1", "-vf", &filter, "-f", "rawvideo", "-"]).output();
    let decoded = command(Command::new("ffmpeg").args(["-v", "fatal"]).args(input)).unwrap();
    (decoded.stdout.len() == (width * height) as usize).then_some(decoded.stdout)
}

/// Luma as it is in the picture's memory, `[height, width]`.
fn own_luma(picture: &Picture) -> Vec<u8> {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(&picture.buffer, &picture.info).unwrap();
    let (width, height) = (picture.info.width() as usize, picture.info.height() as usize);
    let rows = frame.plane_data(0).unwrap().chunks(frame.plane_stride()[0] as usize).take(height);
    rows.flat_map(|row| row[..width].to_vec()).collect()
}

#[test]
fn nothing_under_a_mask_is_in_any_picture_that_leaves_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (push, rtsp) = (format!("udp://127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let clip = ["-f lavfi -i color=white:size=160x120:rate=25 -map 1:v -frames:v 40 ", X264].concat();
    make(at("white.mp4"), SIZE, 1, false, &clip);

    let (mut door, mut clip) = (white(), SourceSpec::new(at("white.mp4")).named("clip"));
    door.options.output = Some(at("{name}.mp4"));
    door.options.segment = Some(Duration::from_secs(1));
    door.options.push = Some(push.clone());
    clip.options.output = Some(at("{name}.mp4"));
    let mut spec = spec(folder.path(), vec![door, clip]);
    spec.each.mask = Some(vec![Area { polygon: masked() }]);
    spec.shared.web = "127.0.0.1:0".parse().ok();
    spec.shared.rtsp_out = rtsp.parse().ok();
    let run = Run::start(spec, pictures()).unwrap();
    let page = run.page().unwrap();
    // A run's own pictures, as they are in memory.
    let mut left = [("door", 10), ("clip", 40)];
    for message in run.messages() {
        let Message::Frame { record, picture: Some(picture) } = message else { continue };
        let luma = own_luma(&picture);
        is_masked("a picture of the run", &luma);
        let mut covered = luma.into_iter().zip(depths(&masked(), SIZE)).filter(|(_, depth)| *depth > 0.0);
        assert!(covered.all(|(luma, _)| luma == 16));
        left.iter_mut().filter(|(name, _)| *name == record.source).for_each(|(_, frames)| *frames -= 1);
        if left.iter().all(|(_, frames)| *frames <= 0) {
            break;
        }
    }
    assert!(left.iter().all(|(_, frames)| *frames <= 0), "{left:?}");
    for path in ["picture.jpg", "snapshot"] {
        let url = format!("http://{page}/sources/0/{path}");
        until(path, || ask(&url, &[]).status() == 200);
        let jpeg = at(path).with_extension("jpg");
        std::fs::write(&jpeg, ask(&url, &[]).body_mut().read_to_vec().unwrap()).unwrap();
        is_masked(path, &luma(&jpeg, 0, SIZE));
    }
    // As a player of whole pictures has it: the encoder's slices come one by one.
    let watched = at("watched.png");
    let line = format!(
        "rtspsrc location=rtsp://{rtsp}/door protocols=tcp ! rtph264depay ! h264parse ! avdec_h264 ! videoconvert ! pngenc snapshot=true \
         ! filesink location={}",
        watched.display()
    );
    until("RTSP", || {
        let played = Command::new("gst-launch-1.0").arg("-q").args(line.split_whitespace()).output().unwrap();
        played.status.success() && std::fs::metadata(&watched).is_ok_and(|png| png.len() > 0)
    });
    is_masked("RTSP", &luma(&watched, 0, SIZE));
    let (mut grey, pushed) = (None, format!("{push}?timeout=5000000"));
    until("the push", || {
        grey = seen(&["-f", "mpegts", "-i", &pushed]);
        grey.is_some()
    });
    is_masked("the push", &grey.unwrap());
    let names = || std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    until("segments", || names().filter(|name| name.to_string_lossy().starts_with("door-")).count() > 2);
    until("the clip's video", || at("clip.mp4").exists());
    run.stop();
    run.join().unwrap();
    is_masked("the clip", &luma(&at("clip.mp4"), 39, SIZE));
    let segments = Vec::from_iter(names().filter(|name| name.to_string_lossy().starts_with("door-")));
    assert!(segments.len() > 2, "{segments:?}");
    segments.iter().for_each(|name| is_masked(&name.to_string_lossy(), &luma(&folder.path().join(name), 0, SIZE)));
}

#[test]
fn what_is_beside_a_mask_is_as_the_decoder_made_it_also_in_frames_that_refer_to_masked_ones() {
    let folder = tempfile::tempdir().unwrap();
    let size = (320, 240);
    // Everything moves, out from under the mask, too, and one frame alone refers to none.
    let path = folder.path().join("pan.mp4");
    pan(path.clone(), size, 40, "-c:v libx264 -preset medium -g 250 -bf 3 -crf 20 -pix_fmt yuv420p");
    let planes = |masks: Vec<Area>| {
        let mut source = SourceSpec::new(&path).named("pan");
        source.options.mask = Some(masks);
        let run = Run::start(spec(folder.path(), vec![source]), pictures()).unwrap();
        let frames = run.messages().filter_map(|message| match message {
            Message::Frame { picture: Some(picture), .. } => Some(own_luma(&picture)),
            _ => None,
        });
        let frames = Vec::from_iter(frames);
        assert!(run.join().unwrap().into_fault().is_none());
        frames
    };
    let (whole, with_mask) = (planes(vec![]), planes(vec![Area { polygon: masked() }]));
    assert_eq!((whole.len(), with_mask.len()), (40, 40));
    let depths = depths(&masked(), size);
    for (frame, (whole, with_mask)) in whole.iter().zip(&with_mask).enumerate() {
        for ((was, is), depth) in whole.iter().zip(with_mask).zip(&depths) {
            if *depth > 0.0 {
                assert_eq!(*is, 16, "frame {frame}");
            } else if *depth < -1.0 {
                assert_eq!(is, was, "frame {frame}, {depth} from the mask");
            }
        }
    }
}

#[test]
fn nothing_is_found_under_a_mask_and_what_stands_in_an_ignored_area_is_no_object() {
    let folder = tempfile::tempdir().unwrap();
    // On a lawn, two discs that go towards each other, after a while without any.
    let size = (320, 240);
    let ground = scene::ground(size.0, size.1);
    let disc = |x: f32, turn: f32| Thing {
        shape: Shape::Blob,
        texture: Texture::Dots,
        colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
        centre: [x, 130.0],
        radius: 36.0,
        turn,
    };
    let picture = |frame: u32| {
        let way = frame.saturating_sub(15) as f32;
        let discs = [disc(50.0 + way, 0.3), disc(270.0 - way, 1.3)];
        scene::draw(&ground, size.0, size.1, if frame < 15 { &[] } else { &discs })
    };
    let clip = film(folder.path().join("a.mp4"), size, (0..60).map(picture), X264);
    let left_half = || polygon(&[[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]);
    let found = |cue: Option<&str>, regions: Regions| {
        let areas = |polygons: Vec<Polygon>| Some(polygons.into_iter().map(|polygon| Area { polygon }).collect());
        let mut source = SourceSpec::new(&clip.path).named("a");
        (source.options.ignore, source.options.mask) = (areas(regions.ignored), areas(regions.masks));
        let mut spec = RunSpec { sources: vec![source], ..RunSpec::default() };
        spec.shared.cue = cue.map(|cue| serde_json::from_value(cue.into()).unwrap());
        let run = Run::start(spec, Options { observe: Observe::Records, ..Options::default() }).unwrap();
        let records = run.messages().filter_map(|message| match message {
            Message::Frame { record, .. } => Some(record),
            _ => None,
        });
        let records = Vec::from_iter(records);
        let middles = |record: &FrameRecord| Vec::from_iter(record.objects.iter().map(|o| (o.bbox[0] + o.bbox[2]) / 2));
        Vec::from_iter(records.iter().flat_map(|record| middles(record)))
    };
    let sides = |middles: Vec<u32>| {
        let of_left = middles.iter().filter(|middle| **middle < size.0 / 2).count();
        (of_left, middles.len() - of_left)
    };
    let of = |ignored: bool, masks: bool| Regions {
        ignored: ignored.then(left_half).into_iter().collect(),
        masks: masks.then(left_half).into_iter().collect(),
        ..Regions::default()
    };
    for cue in [None, Some("appearance")] {
        let (both_left, both_right) = sides(found(cue, of(false, false)));
        assert!(both_left > 5 && both_right > 5, "{cue:?}: {both_left} and {both_right}");
        let (ignored_left, ignored_right) = sides(found(cue, of(true, false)));
        assert!(ignored_left == 0 && ignored_right > 5, "{cue:?}: {ignored_left} and {ignored_right}");
    }
    let (masked_left, masked_right) = sides(found(None, of(false, true)));
    assert!(masked_left == 0 && masked_right > 5, "{masked_left} and {masked_right}");
}

#[test]
fn masks_change_while_a_source_runs_which_loses_neither_its_connection_nor_a_frame() {
    let folder = tempfile::tempdir().unwrap();
    let plain = spec(folder.path(), vec![white()]);
    let mut other = plain.clone();
    other.sources[0].options.mask = Some(vec![Area { polygon: masked() }]);
    let run = Run::start(plain.clone(), pictures()).unwrap();
    let id = run.snapshot()[0].id;
    let middle = (SIZE.1 / 2 * SIZE.0 + SIZE.0 / 3) as usize;
    let shows = |wanted: u8| {
        let next = || match run.next_message() {
            Some(Message::Frame { picture: Some(picture), .. }) => Some(own_luma(&picture)[middle]),
            _ => None,
        };
        until("the mask is laid or taken away", || next() == Some(wanted));
    };
    shows(235);
    let changes = run.reload(&other).unwrap();
    assert_eq!((changes.regions, changes.added, changes.removed), (vec!["door".to_owned()], vec![], vec![]));
    shows(16);
    assert!(run.set_regions(id, Regions::default()));
    shows(235);
    // What the file says is not what is there.
    assert_eq!(run.reload(&other).unwrap().regions, ["door"]);
    shows(16);
    let mut paused = other.clone();
    paused.sources[0].options.paused = Some(true);
    let changes = run.reload(&paused).unwrap();
    assert_eq!((changes.paused, changes.regions.len()), (vec!["door".to_owned()], 0));
    let mut every = paused.clone();
    every.sources[0].options.every = "2".parse().ok();
    every.sources[0].options.paused = None;
    let last = run.snapshot()[0].clone();
    assert_eq!((last.connections, last.id), (1, id));
    assert_eq!(run.reload(&every).unwrap().removed, ["door"], "that needs another connection");
    run.stop();
    run.join().unwrap();
    let text = std::fs::read_to_string(folder.path().join("r.jsonl")).unwrap();
    let numbers = text.lines().filter_map(|line| Some(serde_json::from_str::<FrameRecord>(line).ok()?.frame));
    let first = Vec::from_iter(numbers.take_while(|frame| *frame < last.frames).take(last.frames as usize));
    assert_eq!(first, Vec::from_iter(0..first.len() as u64));
}
