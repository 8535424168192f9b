//! Live pictures that would be broken: packets are lost, key frames never come, lines are interlaced. The test picture is upright
//! bars that go sideways, so that every row of a whole frame is like the next.

use crate::support::camera::{Running, free_port};
use gstreamer_video::prelude::*;
use mostream::record::SourceState;
use mostream::stream::camera::{Camera, CameraOptions};
use mostream::stream::feed::{Event, Feed, StateChange};
use mostream::stream::frame::Frame;
use mostream::stream::ingest::Span;
use mostream::stream::pictures::VideoPictures;
use mostream::stream::preflight::Source;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::hash::BuildHasher;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BARS: &str = "videotestsrc is-live=true pattern=smpte horizontal-speed=4 \
                    ! video/x-raw,format=I420,width=320,height=240,framerate=25/1";
/// Several slices a frame.
const ENCODE: &str = "x264enc tune=zerolatency speed-preset=ultrafast threads=4";
const PAY: &str = "rtph264pay config-interval=1 mtu=300";

fn open(input: &str) -> Camera {
    open_with(input, 100, Duration::from_secs(2))
}

/// Key frames are waited for as long as frames are.
fn open_with(input: &str, latency_ms: u32, stall_after: Duration) -> Camera {
    let options = CameraOptions {
        latency_ms,
        stall_after,
        first_frame_after: Duration::from_secs(4) + Duration::from_millis(latency_ms.into()),
        ..CameraOptions::default()
    };
    Camera::open(OsStr::new(input), "camera".into(), options).unwrap()
}

fn next(camera: &mut Camera) -> Event {
    let start = Instant::now();
    camera.next(&|| start.elapsed() > Duration::from_secs(60)).unwrap()
}

/// The next change of state.
fn change(camera: &mut Camera) -> StateChange {
    loop {
        if let Event::State(change) = next(camera) {
            return change;
        }
    }
}

fn frame(camera: &mut Camera) -> Frame {
    for _ in 0..100 {
        if let Event::Frame(frame) = next(camera) {
            return frame;
        }
    }
    panic!("no frame comes");
}

/// Its bytes, as one number.
fn pixels(frame: &Frame) -> u64 {
    let video = gstreamer_video::VideoFrameRef::from_buffer_ref_readable(&frame.buffer, &frame.info).unwrap();
    let (width, stride) = (frame.info.width() as usize, video.plane_stride()[0] as usize);
    let rows: Vec<&[u8]> = video.plane_data(0).unwrap().chunks(stride).map(|row| &row[..width]).collect();
    std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::new().hash_one(rows)
}

/// How much the rows of the bars differ, at most, in grey values: next to each other, and the second next.
fn unevenness(frame: &Frame) -> [u8; 2] {
    let video = gstreamer_video::VideoFrameRef::from_buffer_ref_readable(&frame.buffer, &frame.info).unwrap();
    let (width, height) = (frame.info.width() as usize, frame.info.height() as usize);
    let (stride, plane) = (video.plane_stride()[0] as usize, video.plane_data(0).unwrap());
    let row = |y: usize| &plane[y * stride..][..width];
    let differ = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    [1, 2].map(|step| (height / 8..height / 2).map(|y| differ(row(y), row(y + step))).max().unwrap())
}

/// What a [`relay`] loses: nothing, key frames, all from the last packet of a frame to the second slice of every second
/// key frame, or every so many packets.
const NOTHING: u64 = 0;
const KEY_FRAMES: u64 = u64::MAX;
const INTO_KEY_FRAMES: u64 = u64::MAX - 1;

/// Passes RTP packets of H.264 on to a port, but for what it `loses`. Where to send, and where it goes.
fn relay(loses: Arc<AtomicU64>) -> (u16, u16) {
    let near = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (from, to) = (near.local_addr().unwrap().port(), free_port());
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        let mut count = 0u64;
        let (mut last, mut key_frames, mut time, mut is_cut) = (Vec::new(), 0u64, [0; 4], false);
        while let Ok(length) = near.recv(&mut packet) {
            count += 1;
            // The type of the unit, which may be in parts.
            let is_part = packet[12] & 31 == 28;
            let kind = packet[12 + usize::from(is_part)] & 31;
            let [is_first_part, begins_picture] =
                [packet[13], packet[13 + usize::from(is_part)]].map(|byte| byte & 0x80 != 0);
            let is_lost = match loses.load(Ordering::Relaxed) {
                NOTHING => false,
                KEY_FRAMES => kind == 5,
                INTO_KEY_FRAMES => {
                    // Parameter sets may come twice.
                    if kind == 7 && time != packet[4..8] {
                        time.copy_from_slice(&packet[4..8]);
                        key_frames += 1;
                        is_cut = key_frames.is_multiple_of(2);
                        last.truncate(if is_cut { 0 } else { usize::MAX });
                    } else if kind == 5 && !begins_picture && (is_first_part || !is_part) {
                        is_cut = false;
                    }
                    is_cut
                }
                one_in => count.is_multiple_of(one_in),
            };
            // What comes after it may take it along.
            if !last.is_empty() {
                near.send_to(&last, ("127.0.0.1", to)).ok();
            }
            last = if is_lost { Vec::new() } else { packet[..length].to_vec() };
        }
    });
    (from, to)
}

/// A sender of one key frame, and what receives from it by the relay, in one pipeline: nothing is sent before it is received.
fn endless((from, to): (u16, u16)) -> String {
    format!(
        "{BARS} ! {ENCODE} key-int-max=100000 ! {PAY} ! udpsink host=127.0.0.1 port={from} sync=false async=false \
         udpsrc address=127.0.0.1 port={to} caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=H264 \
         ! rtpjitterbuffer ! decodebin ! video/x-raw ! appsink name=frames sync=false drop=true"
    )
}

#[test]
fn what_lost_packets_spoil_is_kept_back_until_the_next_key_frame() {
    only_whole_frames_come_where_the_relay_loses(499);
}

#[test]
fn a_key_frame_that_lost_its_beginning_together_with_the_end_of_the_frame_before_is_kept_back() {
    only_whole_frames_come_where_the_relay_loses(INTO_KEY_FRAMES);
}

/// Two hundred of them.
fn only_whole_frames_come_where_the_relay_loses(what: u64) {
    let loses = Arc::new(AtomicU64::new(NOTHING));
    let (from, to) = relay(loses.clone());
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.mkv");
    let _sender = Running::launch(&format!(
        "{BARS} ! {ENCODE} key-int-max=25 ! tee name=both both. ! queue ! {PAY} ! udpsink host=127.0.0.1 port={from} \
         both. ! queue ! h264parse ! matroskamux streamable=true ! filesink buffer-mode=unbuffered location={}",
        whole.display()
    ));
    // Late is not lost, and on a busy machine the next key frame takes a while.
    let mut camera = open_with(&format!("rtp://127.0.0.1:{to}"), 3000, Duration::from_secs(60));
    let mut seen: Vec<u64> = (0..10).map(|_| pixels(&frame(&mut camera))).collect();
    let before = camera.broken();
    loses.store(what, Ordering::Relaxed);
    seen.extend((0..200).map(|_| pixels(&frame(&mut camera))));
    assert!(camera.broken() > before, "nothing was lost");
    // Decoders are exact: a whole frame is one of those that came without a loss.
    let broken = || {
        let known = frames_of(&whole);
        seen.iter().filter(|frame| !known.contains(frame)).count()
    };
    let patience = Instant::now();
    while broken() > 0 && patience.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(broken(), 0, "of {} frames", seen.len());
}

/// The frames of a file that is still being written.
fn frames_of(file: &Path) -> HashSet<u64> {
    let mut pictures = VideoPictures::open(&Source::new(file).unwrap(), Span::default()).unwrap();
    std::iter::from_fn(|| pictures.next(&|| false).ok().flatten()).map(|frame| pixels(&frame)).collect()
}

#[test]
fn a_stream_without_key_frames_does_not_stand_still_for_ever() {
    let loses = Arc::new(AtomicU64::new(KEY_FRAMES));
    let mut camera = open(&endless(relay(loses.clone())));
    let mut seen = Vec::new();
    while seen.last().is_none_or(|change: &StateChange| change.state != SourceState::Live) {
        seen.push(change(&mut camera));
    }
    let states: Vec<SourceState> = seen.iter().map(|change| change.state).collect();
    assert_eq!(states, [SourceState::Connecting, SourceState::Connecting, SourceState::Live], "{seen:?}");
    assert!(seen[1].why.as_ref().unwrap().contains("no key frame"), "{seen:?}");
    assert!(camera.broken() > 0);
    (0..25).for_each(|_| drop(frame(&mut camera)));
    // That none will come is known by now.
    loses.store(29, Ordering::Relaxed);
    (0..50).for_each(|_| assert!(matches!(next(&mut camera), Event::Frame(_))));
}

#[test]
fn after_lost_packets_a_stream_without_key_frames_goes_on() {
    let loses = Arc::new(AtomicU64::new(NOTHING));
    let mut camera = open(&endless(relay(loses.clone())));
    let mut count = 0;
    let why = loop {
        match next(&mut camera) {
            Event::Frame(_) => count += 1,
            Event::State(change) if change.why.is_some() => break change,
            Event::State(_) => {}
        }
        loses.store(if count > 10 { 10 } else { NOTHING }, Ordering::Relaxed);
    };
    assert!(matches!(why.state, SourceState::Live | SourceState::Connecting), "{why:?}");
    assert!(why.why.unwrap().contains("no key frame"));
    (0..30).for_each(|_| drop(frame(&mut camera)));
}

#[test]
fn interlaced_pictures_lose_their_comb() {
    let port = free_port();
    let bars = BARS.replace("25/1", "50/1").replace("horizontal-speed=4", "horizontal-speed=7");
    let _sender = Running::launch(&format!(
        "{bars} ! interlace field-pattern=1:1 ! {ENCODE} key-int-max=25 interlaced=true ! mpegtsmux alignment=7 \
         ! udpsink host=127.0.0.1 port={port}"
    ));
    let source = format!("udpsrc port={port} address=127.0.0.1");
    let combed = |frame: &Frame| {
        let [next, second] = unevenness(frame);
        next > 100 && second < 60
    };
    // As it comes, it has one.
    let mut raw = open(&format!("{source} ! decodebin ! video/x-raw ! appsink name=frames sync=false drop=true"));
    assert!((0..10).all(|_| combed(&frame(&mut raw))), "this is no test");
    drop(raw);
    let mut camera = open(&format!("udp://127.0.0.1:{port}"));
    for _ in 0..25 {
        let frame = frame(&mut camera);
        assert!(unevenness(&frame)[0] < 60, "frame {}: {:?}", frame.index, unevenness(&frame));
    }
}
