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
use std::ops::Range;
use std::path::Path;
use std::process::Command;
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

/// What a [`relay`] loses: nothing, key frames, or every so many packets.
const NOTHING: u64 = 0;
const KEY_FRAMES: u64 = u64::MAX;

/// Passes RTP packets of H.264 on to a port, but for what it `loses`. Where to send, and where it goes.
fn relay(loses: Arc<AtomicU64>) -> (u16, u16) {
    let near = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (from, to) = (near.local_addr().unwrap().port(), free_port());
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        let mut count = 0u64;
        while let Ok(length) = near.recv(&mut packet) {
            count += 1;
            let is_lost = match loses.load(Ordering::Relaxed) {
                NOTHING => false,
                KEY_FRAMES => Packet(&packet[..length]).kind() == 5,
                one_in => count.is_multiple_of(one_in),
            };
            if !is_lost {
                // What comes after it may take it along.
                near.send_to(&packet[..length], ("127.0.0.1", to)).ok();
            }
        }
    });
    (from, to)
}

/// One of RTP, of H.264.
struct Packet<'a>(&'a [u8]);

impl Packet<'_> {
    /// The type of the unit, which may be in parts.
    fn kind(&self) -> u8 {
        self.0[12 + usize::from(self.is_part())] & 31
    }

    fn is_part(&self) -> bool {
        self.0[12] & 31 == 28
    }

    /// Whether a slice begins here that is not the first of its picture.
    fn begins_later_slice(&self) -> bool {
        let begins_picture = self.0[13 + usize::from(self.is_part())] & 0x80 != 0;
        matches!(self.kind(), 1 | 5) && !begins_picture && (!self.is_part() || self.0[13] & 0x80 != 0)
    }

    fn ends_picture(&self) -> bool {
        self.0[1] & 0x80 != 0
    }
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
    loses.store(499, Ordering::Relaxed);
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

/// Rows of packets, as a busy machine loses them: in the first frame of all, from the last packet of a frame into the key frame
/// after it, and anywhere. What comes is read from a file, so that nothing else is lost.
#[test]
fn no_row_of_lost_packets_spoils_a_frame() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("packets");
    let bars = BARS.replace("is-live=true", "num-buffers=120");
    let line =
        format!("-q {bars} ! {ENCODE} key-int-max=25 ! {PAY} ! rtpstreampay ! filesink location={}", file.display());
    assert!(Command::new("gst-launch-1.0").args(line.split_whitespace()).status().unwrap().success());
    let bytes = std::fs::read(&file).unwrap();
    // RFC 4571: each after its length.
    let (mut packets, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((length, more)) = rest.split_first_chunk() {
        let packet;
        (packet, rest) = more.split_at(usize::from(u16::from_be_bytes(*length)));
        packets.push(packet);
    }
    // The last picture is left as it is: nothing comes after it that could tell.
    let end = packets.iter().rposition(|packet| Packet(packet).kind() == 7).unwrap();
    let through = |lost: &[Range<usize>]| {
        let kept = packets.iter().enumerate().filter(|(at, _)| !lost.iter().any(|row| row.contains(at)));
        let framed =
            kept.flat_map(|(_, packet)| [&u16::try_from(packet.len()).unwrap().to_be_bytes()[..], packet].concat());
        std::fs::write(&file, framed.collect::<Vec<u8>>()).unwrap();
        let mut camera = open(&format!(
            "filesrc location={} ! application/x-rtp-stream,media=video,clock-rate=90000,encoding-name=H264 ! rtpstreamdepay \
             ! rtpjitterbuffer ! decodebin ! video/x-raw ! appsink name=frames sync=false",
            file.display()
        ));
        let mut seen = Vec::new();
        while let Some(event) = camera.next(&|| false) {
            match event {
                Event::Frame(frame) => seen.push(pixels(&frame)),
                Event::State(change) if matches!(change.state, SourceState::Lost | SourceState::Ended) => break,
                Event::State(_) => {}
            }
        }
        (seen, camera.broken())
    };
    let (whole, none) = through(&[]);
    assert_eq!((whole.len(), none), (120, 0));
    let known: HashSet<u64> = whole.into_iter().collect();
    let is_later = |at: &usize| Packet(packets[*at]).begins_later_slice();
    let first = (0..).find(is_later).unwrap();
    let into_key_frames =
        (1..end).filter(|at| Packet(packets[at - 1]).ends_picture() && Packet(packets[*at]).kind() == 7);
    let mut rows: Vec<Vec<Range<usize>>> =
        into_key_frames.map(|at| std::iter::once(at - 1..(at..).find(is_later).unwrap()).collect()).collect();
    rows.push(std::iter::once(first..first + 1).collect());
    // Primes spread them.
    rows.extend((1..=20).map(|turn| {
        let starts = (1..=3).map(|row| turn * 7919 * row % end);
        starts.map(|at| at..end.min(at + 1 + turn * at % 100)).collect()
    }));
    for lost in rows {
        let (seen, kept_back) = through(&lost);
        let broken = seen.iter().filter(|frame| !known.contains(frame)).count();
        assert_eq!(broken, 0, "of {} frames, without {lost:?}", seen.len());
        assert!(kept_back > 0 && seen.len() > 10, "{} frames, {kept_back} kept back, without {lost:?}", seen.len());
    }
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
