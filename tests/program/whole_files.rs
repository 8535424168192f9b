//! What a file holds is what is read of it, the whole of it or a part, in every container, from a disk or from a web server; and what it
//! lacks of what it should hold is told.

use crate::support::clips::{Clip, X264, pan};
use crate::support::program::{fails, files_in, mostream, records, signal, stderr, until, whole_lines};
use crate::support::server::{Request, Server, respond, serve};
use mostream::picture::RgbImage;
use mostream::record::FrameRecord;
use mostream::stream::ingest::Span;
use mostream::stream::pictures::VideoPictures;
use mostream::stream::preflight::Source;
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;

const SIZE: (u32, u32) = (160, 120);
const FRAMES: u32 = 60;
const FRAME_NS: u64 = 40_000_000;
const SINE: &str = "-f lavfi -i sine=frequency=440:duration=2.4 -g 12";
/// With pictures that are shown in another order than they are decoded in.
const H264: &str = "-c:v libx264 -preset veryfast -crf 20 -pix_fmt yuv420p -bf 3";
const H265: &str = "-c:v libx265 -preset ultrafast -x265-params log-level=none:bframes=3";
const MPEG4: &str = "-c:v mpeg4 -q:v 4 -bf 2";
const MPEG2: &str = "-c:v mpeg2video -q:v 4 -bf 2";

fn clip(folder: &Path, name: &str, arguments: &str) -> Clip {
    pan(folder.join(name), SIZE, FRAMES, &format!("{SINE} {arguments}"))
}

/// When each frame of a part of a video is shown, in nanoseconds, and its picture; and what is wrong with the whole.
fn read(input: &str, start_ns: u64, duration_ns: Option<u64>) -> (Vec<(u64, RgbImage)>, Option<String>) {
    let source = Source::new(input).unwrap();
    let mut video = VideoPictures::open(&source, Span { start_ns, duration_ns }).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = video.next(&|| false).unwrap() {
        assert_eq!(frame.index, frames.len() as u64);
        frames.push((frame.pts_ns, video.picture(&frame, (64, 48)).unwrap()));
    }
    (frames, video.warning().map(str::to_owned))
}

/// The whole has every frame that was drawn at its time, and each part has the frames that the whole has there.
#[track_caller]
fn check(input: &str) {
    let (all, warning) = read(input, 0, None);
    assert_eq!((all.len(), warning), (FRAMES as usize, None), "{input}");
    let first = all[0].0;
    for (index, (pts_ns, _)) in all.iter().enumerate() {
        let drawn = first + FRAME_NS * index as u64;
        assert!(pts_ns.abs_diff(drawn) <= 5_000_000, "{input}: frame {index} at {pts_ns} ns, drawn for {drawn}");
    }
    for (from, to) in [(0, 5), (3, 9), (25, 26), (31, 60)] {
        // In the middle of a frame, which is shown from there on.
        let start_ns = if from == 0 { 0 } else { all[from].0 + FRAME_NS / 4 };
        let length_ns = all[to - 1].0 + FRAME_NS / 2 - start_ns.max(first);
        let (part, warning) = read(input, start_ns, Some(length_ns));
        assert_eq!((part.len(), warning), (to - from, None), "{input}: {from} to {to}");
        for (index, ((pts_ns, picture), (whole_ns, whole))) in part.iter().zip(&all[from..]).enumerate() {
            let whole_ns = *whole_ns.max(&start_ns);
            assert!(pts_ns.abs_diff(whole_ns) <= 2_000_000, "{input}: {pts_ns} ns, {whole_ns} in the whole");
            assert!(picture == whole, "{input}: frame {} of the part from {from} is another", from + index);
        }
    }
}

macro_rules! containers {
    ($($test:ident: $name:literal, $($arguments:expr),*;)*) => {
        $(#[test] fn $test() {
            let folder = tempfile::tempdir().unwrap();
            check(clip(folder.path(), $name, &[$($arguments),*].join(" ")).path.to_str().unwrap());
        })*
    };
}

containers! {
    mp4: "a.mp4", H264, "-c:a aac";
    mp4_index_first: "a.mp4", H265, "-c:a aac -movflags +faststart";
    mp4_in_fragments: "a.mp4", H264, "-c:a aac -movflags +frag_keyframe+empty_moov";
    mov: "a.mov", MPEG4, "-c:a pcm_s16le";
    three_gp: "a.3gp", H264, "-c:a aac";
    matroska: "a.mkv", H265, "-c:a aac";
    webm: "a.webm", "-c:v libvpx -deadline realtime -b:v 1M -c:a libvorbis";
    ogg: "a.ogv", "-c:v libtheora -q:v 6 -c:a libvorbis";
    asf: "a.wmv", "-c:v wmv2 -q:v 4 -c:a wmav2";
    flv: "a.flv", H264, "-c:a aac";
    mxf: "a.mxf", MPEG2, "-an";
    transport_stream_h264: "a.ts", H264, "-c:a aac";
    transport_stream_h265: "a.ts", H265, "-c:a aac";
    transport_stream_mpeg2: "a.m2ts", MPEG2, "-c:a mp2";
    program_stream: "a.vob", MPEG2, "-c:a ac3";
    program_stream_without_audio: "a.mpg", MPEG2, "-an -f vob";
    program_stream_mpeg1: "a.mpg", "-c:v mpeg1video -q:v 4 -bf 2 -c:a mp2";
    avi_mpeg4: "a.avi", MPEG4, "-c:a libmp3lame";
    avi_mpeg4_without_b_frames: "a.avi", "-c:v mpeg4 -q:v 4 -an";
    avi_mpeg2: "a.avi", MPEG2, "-an";
    avi_h264: "a.avi", H264, "-c:a libmp3lame";
    avi_jpeg: "a.avi", "-c:v mjpeg -q:v 4 -c:a pcm_s16le";
    bare_h264: "a.h264", H264, "-an";
    bare_mpeg2: "a.m2v", MPEG2, "-an";
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    mostream(folder, &["run"]).args(arguments).output().unwrap()
}

/// Records on stdout, and what is told on stderr.
#[track_caller]
fn records_of(folder: &Path, arguments: &[&str], code: i32) -> (Vec<FrameRecord>, String) {
    let ran = run(folder, &[&["--quiet", "--records", "-", "--size", "64x48"], arguments].concat());
    let told = stderr(&ran);
    assert_eq!(ran.status.code(), Some(code), "{arguments:?}: {told}");
    (records(&ran.stdout), told)
}

#[test]
fn what_cannot_be_sought_is_read_up_to_the_start_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments, is_said) in [("a.vob", MPEG2, true), ("a.mp4", H264, false)] {
        clip(folder.path(), name, &format!("{arguments} -c:a ac3"));
        let ran = run(folder.path(), &[name, "--start", "1.5", "--records", "r.jsonl", "-o", "o.mp4"]);
        assert!(ran.status.success());
        assert_eq!(stderr(&ran).contains("read from its beginning up to 1.500 s"), is_said, "{}", stderr(&ran));
        fails(&run(folder.path(), &[name, "--start", "99", "-q", "--records", "-"]), 3, &[name, "before the start"]);
    }
    let inspected = mostream(folder.path(), &["inspect", "a.vob@1.5", "-o", "p.html"]).output().unwrap();
    assert!(inspected.status.success() && stderr(&inspected).contains("1.500 s"), "{}", stderr(&inspected));
}

/// Keeps the first part of a clip's bytes.
fn cut(clip: &Clip, part: f64) {
    let bytes = std::fs::read(&clip.path).unwrap();
    std::fs::write(&clip.path, &bytes[..(bytes.len() as f64 * part) as usize]).unwrap();
}

#[test]
fn what_is_cut_off_is_used_and_told() {
    for (name, arguments) in [
        ("a.mp4", format!("{H264} -c:a aac -movflags +faststart")),
        ("a.mp4", format!("{H264} -an -movflags +frag_keyframe+empty_moov")),
        ("a.mov", format!("{MPEG4} -c:a aac -movflags +faststart")),
        ("a.mkv", format!("{H265} -c:a aac")),
        ("a.webm", "-c:v libvpx -deadline realtime -b:v 1M -c:a libvorbis".into()),
        ("a.avi", format!("{MPEG4} -c:a libmp3lame")),
        ("a.flv", format!("{H264} -an")),
        ("a.wmv", "-c:v wmv2 -q:v 4 -c:a wmav2".into()),
        ("a.ogv", "-c:v libtheora -q:v 6 -c:a libvorbis".into()),
        ("a.ts", format!("{H264} -c:a aac")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (at, clip) = (folder.path(), clip(folder.path(), name, &arguments));
        let (whole, told) = records_of(at, &[name, "--strict"], 0);
        assert_eq!((whole.len(), told.as_str()), (FRAMES as usize, ""), "{name} {arguments}");
        assert!(whole.iter().all(|record| record.shortfall.is_none()), "{name}");

        cut(&clip, 0.6);
        let (left, told) = records_of(at, &[name], 0);
        assert!((10..FRAMES as usize).contains(&left.len()), "{name} {arguments}: {} frames", left.len());
        assert!(told.lines().count() == 1 && told.contains(name) && told.contains("ends early"), "{name}: {told}");
        let last = left.last().unwrap();
        let shortfall = last.shortfall.as_ref().unwrap();
        assert!(told.contains(&shortfall.why), "{told}");
        assert!(shortfall.found_ns >= last.pts_ns && shortfall.declared_ns.is_none_or(|ns| ns > shortfall.found_ns));
        assert_eq!(left.iter().filter(|record| record.shortfall.is_some()).count(), 1, "{name}");
        records_of(at, &[name, "--strict"], 7);
        // What is asked for is there.
        let (part, told) = records_of(at, &[name, "--strict", "--duration", "0.4"], 0);
        assert!(part.len() >= 5 && told.is_empty() && part.iter().all(|record| record.shortfall.is_none()), "{told}");
    }
}

#[test]
fn a_training_set_marks_what_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (name, part) in [("cut.mkv", 0.6), ("whole.mkv", 1.0)] {
        cut(&clip(at, name, &format!("{H264} -c:a aac")), part);
    }
    let ran = mostream(at, &["label", "cut.mkv", "whole.mkv", "-o", "set", "--size", "64x48", "-q"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(3), "{}", stderr(&ran));
    let failures = std::fs::read_to_string(at.join("set/failures.txt")).unwrap();
    assert!(
        failures.lines().count() == 1 && failures.contains("cut.mkv") && failures.contains(" s of the "),
        "{failures}"
    );
}

#[test]
fn a_file_cut_off_before_its_index_says_so() {
    let folder = tempfile::tempdir().unwrap();
    cut(&clip(folder.path(), "a.mp4", &format!("{X264} -an")), 0.9);
    fails(&run(folder.path(), &["a.mp4", "--records", "-", "-q"]), 3, &["a.mp4", "cut off", " bytes of the "]);
}

/// A server that knows ranges, and one that does not; both say how long the file is.
fn servers(file: &Path) -> [Server; 2] {
    let bytes = std::fs::read(file).unwrap();
    let plain = bytes.clone();
    let ranged = move |_: usize, request: &Request, stream: &mut TcpStream| {
        serve(request, stream, &bytes, "\"same\"", usize::MAX);
    };
    let plain = move |_: usize, _: &Request, stream: &mut TcpStream| {
        respond(stream, "200 OK", &[("Content-Length", &plain.len().to_string())], &plain);
    };
    [Server::start(ranged), Server::start(plain)]
}

#[test]
fn a_file_behind_a_web_server_is_read_as_one_on_a_disk() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        // Without audio, which may reach further than the last frames.
        ("last.mp4", format!("{H264} -an")),
        ("first.mov", format!("{H264} -an -movflags +faststart")),
        ("a.mkv", format!("{H265} -c:a aac")),
        ("a.avi", format!("{MPEG4} -c:a libmp3lame")),
        ("a.ts", format!("{H264} -c:a aac")),
        ("a.vob", format!("{MPEG2} -c:a ac3")),
    ] {
        let clip = clip(folder.path(), name, &arguments);
        for server in servers(&clip.path) {
            check(&format!("{}/{name}", server.address()));
        }
    }
}

#[test]
fn what_has_a_length_is_a_file_whatever_its_name_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (file, frames, arguments) in [
        ("a.ts", FRAMES, format!("{H264} -c:a aac")),
        ("a.mpg", FRAMES, format!("{MPEG2} -an -f vob")),
        ("a.flv", FRAMES, format!("{H264} -an")),
        ("a.jpg", 1, "-frames:v 1".into()),
    ] {
        let clip = pan(at.join(file), SIZE, frames, &format!("-g 12 {arguments}"));
        for server in servers(&clip.path) {
            for input in [format!("{}/{file}", server.address()), format!("door={}/get?what=this", server.address())] {
                let (read, told) = records_of(at, &[&input], 0);
                assert_eq!((read.len(), told.as_str()), (frames as usize, ""), "{input} {file}");
            }
        }
    }
    assert!(files_in(at).iter().all(|name| !name.contains("boxes")));
}

#[test]
fn what_goes_on_without_a_length_is_a_camera_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), "a.ts", &format!("{H264} -an"));
    let bytes = std::fs::read(&clip.path).unwrap();
    let server = Server::start(move |_, _, stream| respond(stream, "200 OK", &[], &bytes));
    let mut command =
        mostream(folder.path(), &["run", &server.address(), "--records", "r.jsonl", "--size", "64x48", "-q"]);
    let mut child = command.spawn().unwrap();
    let lines = || whole_lines(&folder.path().join("r.jsonl"));
    let times = |state: &str| lines().iter().filter(|line| line.contains(&format!("\"state\":\"{state}\""))).count();
    until("it is live again", || times("live") > 1);
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(times("lost") > 0 && lines().last().unwrap().contains("\"kind\":\"end\""));
}

#[test]
fn what_nobody_reads_is_said_without_advice_that_would_not_help() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // A picture of one black pixel, as icons are.
    let icon =
        [&[0, 0, 1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 32, 0, 48, 0, 0, 0, 22, 0, 0, 0][..], &[40, 0, 0, 0], &[1; 44]].concat();
    std::fs::write(at.join("a.ico"), icon).unwrap();
    for (input, words) in [
        ("rtps://127.0.0.1/s", "did you mean rtsp:// or rtsps://"),
        ("sftp://127.0.0.1/a.mp4", "no scheme that is read"),
        ("htp://127.0.0.1/a.mp4", "did you mean http://"),
        ("rstp://127.0.0.1/s", "did you mean rtsp://"),
        ("httsp://127.0.0.1/a.mp4", "did you mean"),
        ("s3://bucket/a.mp4", "no scheme that is read"),
        ("ftp://127.0.0.1/a.mp4", "no scheme that is read"),
        ("door=gopher://127.0.0.1/a", "no scheme that is read"),
        ("a.ico", "a.ico"),
    ] {
        let ran = run(at, &[input, "--records", "-", "-q"]);
        fails(&ran, 3, &[words]);
        assert!(!stderr(&ran).contains("apt-get") && !stderr(&ran).contains("gstreamer1.0-"), "{}", stderr(&ran));
    }
}
