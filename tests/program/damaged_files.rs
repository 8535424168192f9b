//! Damage inside a file costs as little as it can and is told: how many frames, where, and in what must be whole; and nothing that is whole is
//! called damaged.

use crate::support::clips::{Clip, X264, make, pan, probe};
use crate::support::program::{mostream, outcome, records_in};
use mostream::stream::ingest::Span;
use mostream::stream::pictures::VideoPictures;
use mostream::stream::preflight::Source;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const SIZE: (u32, u32) = (320, 240);
const FRAMES: u32 = 50;
const FRAME_NS: u64 = 40_000_000;
const H264: &str = "-c:v libx264 -preset veryfast -crf 20 -pix_fmt yuv420p -g 25 -bf 2";

fn clip(folder: &Path, name: &str, arguments: &str) -> Clip {
    pan(folder.join(name), SIZE, FRAMES, arguments)
}

/// When each frame is shown, and what is wrong with the whole.
fn read(path: &Path, span: Span) -> (Vec<u64>, Option<String>) {
    let mut video = VideoPictures::open(&Source::new(path).unwrap(), span).unwrap();
    let mut times = Vec::new();
    while let Some(frame) = video.next(&|| false).unwrap() {
        times.push(frame.pts_ns);
    }
    (times, video.warning().map(str::to_owned))
}

/// Turns bytes of the clip over, the same ones for a number, where its pictures are.
fn turned_over(whole: &[u8], number: usize) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let at = whole.len() / 8 + number * 7919 * 31 % (whole.len() * 3 / 4);
    bytes[at..].iter_mut().take(60).enumerate().for_each(|(step, byte)| *byte ^= (step * 37 + number * 11 + 1) as u8);
    bytes
}

/// Whether ffmpeg finds something wrong with the video.
fn is_wrong(path: &Path) -> bool {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(path).args(["-map", "0:v", "-f", "null", "-"]);
    let said = String::from_utf8(ffmpeg.output().unwrap().stderr).unwrap();
    // That a picture is not there any more when it is to be forgotten shows in no frame.
    said.lines().any(|line| !line.contains("mmco:"))
}

/// Where damage is told to begin, in seconds.
fn told_at(warning: &str) -> f64 {
    let (_, place) = warning.split_once("are damaged or missing, the first at ").unwrap_or_else(|| panic!("{warning}"));
    place.trim_end_matches(" s").parse().unwrap()
}

/// What ffmpeg tells of pictures of each codec and container is told, and of whole ones nothing is.
#[test]
fn what_another_decoder_finds_damaged_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("a.mp4", H264),
        ("a.mkv", H264),
        ("a.ts", H264),
        ("b.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=25"),
        ("a.avi", "-c:v mpeg4 -q:v 4 -bf 2"),
        ("b.ts", "-c:v mpeg2video -q:v 4 -bf 2"),
    ] {
        let path = clip(folder.path(), name, arguments).path;
        let whole = std::fs::read(&path).unwrap();
        assert_eq!((read(&path, Span::default()).1, is_wrong(&path)), (None, false), "{name}");
        let (mut found, mut told) = (0, 0);
        for number in 0..8 {
            std::fs::write(&path, turned_over(&whole, number)).unwrap();
            let (times, warning) = read(&path, Span::default());
            assert!(times.len() >= FRAMES as usize / 2, "{name} {number}: {} frames", times.len());
            assert!(warning.is_some() || !is_wrong(&path), "{name} {number}: not told");
            found += usize::from(is_wrong(&path));
            told += usize::from(warning.is_some());
        }
        // H.265 has few codes that cannot be.
        assert!((found > 0 || name == "b.mp4") && told >= found, "{name}: {told} told, {found} found");
    }
}

/// Pages of Ogg have checksums: its demuxer leaves out those that are wrong, without a word.
#[test]
fn pages_that_are_left_out_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), "a.ogv", "-c:v libtheora -q:v 6").path;
    let (times, warning) = read(&path, Span::default());
    assert_eq!((times.len(), warning, is_wrong(&path)), (FRAMES as usize, None, false));
    let mut bytes = std::fs::read(&path).unwrap();
    let pages: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, four)| *four == b"OggS").map(|(at, _)| at).collect();
    // Pages of a frame, and of several.
    for page in [pages.len() / 2, pages.len() / 2 + 1] {
        bytes[pages[page] + 1000] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        bytes[pages[page] + 1000] ^= 1;
        assert!(is_wrong(&path));
        let (times, warning) = read(&path, Span::default());
        let gap = times.windows(2).find(|two| two[1] - two[0] > FRAME_NS).unwrap();
        let missing = FRAMES as usize - times.len();
        assert!(missing > 0 && (gap[1] - gap[0]) / FRAME_NS == missing as u64 + 1, "{times:?}");
        let warning = warning.unwrap();
        assert!(warning.contains(&format!(": {missing} of its frames")), "{warning}");
        assert!((told_at(&warning) - (gap[0] + FRAME_NS) as f64 / 1e9).abs() < 0.001, "{warning}");
    }
}

/// A key frame of the second half is damaged: where that is, is told; what is asked for before it is whole.
#[test]
fn where_damage_is_is_told_and_what_lies_elsewhere_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), "a.mkv", &H264.replace("-g 25 -bf 2", "-g 25 -bf 0 -x264opts no-scenecut")).path;
    let listed = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time,pos,size,flags", "-of", "json"])
        .arg(&path)
        .output()
        .unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let packets = listed["packets"].as_array().unwrap();
    let number = |packet: &Value, key: &str| packet[key].as_str().unwrap().parse::<f64>().unwrap();
    let key = packets.iter().filter(|packet| packet["flags"].as_str().unwrap().starts_with('K')).nth(1).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let (from, length) =
        (number(key, "pos") as usize + number(key, "size") as usize / 3, number(key, "size") as usize / 3);
    // Not all that is changed is damage to a decoder.
    let is_found = (1..50).any(|factor| {
        let mut bytes = whole.clone();
        bytes[from..from + length].iter_mut().enumerate().for_each(|(step, byte)| *byte ^= (step * factor * 37) as u8);
        std::fs::write(&path, bytes).unwrap();
        is_wrong(&path)
    });
    assert!(is_found);
    let (times, warning) = read(&path, Span::default());
    let warning = warning.unwrap();
    assert_eq!(times.len(), FRAMES as usize);
    assert!((told_at(&warning) - number(key, "pts_time")).abs() <= 0.04, "{warning}");
    let before = Span { start_ns: 0, duration_ns: Some(15 * FRAME_NS) };
    assert_eq!(read(&path, before).1, None);
    let across = Span { start_ns: 10 * FRAME_NS, duration_ns: Some(30 * FRAME_NS) };
    assert!(read(&path, across).1.is_some());
}

/// The pictures of a video that are JPEGs, of which libraries make something however little is there.
#[test]
fn pictures_of_a_video_of_which_a_part_is_missing_are_told() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("a.avi", "-c:v mjpeg -q:v 3"),
        ("a.mkv", "-c:v mjpeg -q:v 3"),
        ("b.avi", "-c:v mjpeg -q:v 3 -huffman default"),
    ] {
        let path = clip(folder.path(), name, arguments).path;
        assert_eq!(read(&path, Span::default()).1, None, "{name}");
        let whole = std::fs::read(&path).unwrap();
        let starts: Vec<usize> =
            whole.windows(3).enumerate().filter(|(_, three)| *three == b"\xff\xd8\xff").map(|(at, _)| at).collect();
        let end = |start: usize| start + whole[start..].windows(2).position(|two| two == b"\xff\xd9").unwrap();
        let [from, to] = [starts[20], end(starts[20])];
        let middle = from + (to - from) / 2;
        // Zeros; and an end in the middle of it.
        let mut zeroed = whole.clone();
        zeroed[middle..to].fill(0);
        let mut ended = whole.clone();
        ended[middle..middle + 2].copy_from_slice(b"\xff\xd9");
        for bytes in [zeroed, ended] {
            std::fs::write(&path, bytes).unwrap();
            let warning = read(&path, Span::default()).1.unwrap_or_else(|| panic!("{name}: not told"));
            assert!(warning.contains(" 1 of its frames"), "{warning}");
            assert!((told_at(&warning) - 0.8).abs() <= 0.04, "{warning}");
        }
    }
}

/// Frames that a decoder gives up are missing.
#[test]
fn frames_that_are_missing_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), "a.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 1M -g 25").path;
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(read(&path, Span::default()), ((0..u64::from(FRAMES)).map(|frame| frame * FRAME_NS).collect(), None));
    let mut lost = 0;
    for number in 0..8 {
        std::fs::write(&path, turned_over(&whole, number)).unwrap();
        let (times, warning) = read(&path, Span::default());
        lost += usize::from(times.len() < FRAMES as usize);
        assert!(warning.is_some() || times.len() == FRAMES as usize, "{number}: {} frames", times.len());
    }
    assert!(lost > 0);
}

/// Several files at once: it is told of the one that is damaged, in its last record, and only there.
#[test]
fn of_several_files_the_damaged_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir(at.join("in")).unwrap();
    for name in ["a.mp4", "b.mp4", "c.mp4", "d.mp4"] {
        clip(at, &format!("in/{name}"), X264);
    }
    let whole = std::fs::read(at.join("in/c.mp4")).unwrap();
    let mut bytes = (0..50).map(|number| turned_over(&whole, number));
    let damaged = bytes.find(|bytes| {
        std::fs::write(at.join("in/c.mp4"), bytes).unwrap();
        is_wrong(&at.join("in/c.mp4"))
    });
    assert!(damaged.is_some());
    let run = |more: &[&str]| {
        let arguments =
            [&["run", "in", "--size", "64x48", "--every", "5", "-q", "--force", "--records", "r.jsonl"][..], more]
                .concat();
        outcome(&mostream(at, &arguments).output().unwrap())
    };
    let (code, told) = run(&[]);
    assert!(code == Some(0) && told.lines().count() == 1 && told.contains("in/c.mp4: "), "{code:?} {told}");
    told_at(told.trim_end());
    let short: Vec<_> =
        records_in(&at.join("r.jsonl")).into_iter().filter(|record| record.shortfall.is_some()).collect();
    assert!(short.len() == 1 && short[0].frame == u64::from(FRAMES) - 1, "{short:?}");
    assert_eq!(run(&["--strict"]).0, Some(7));
}

/// A training set marks it; what is replaced by a whole file is read again, and marked no more.
#[test]
fn a_training_set_marks_damage_until_the_file_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let path = clip(at, "a.mkv", H264).path;
    make(at.join("b.mkv"), SIZE, FRAMES, true, H264);
    let whole = std::fs::read(&path).unwrap();
    let label = |set: &str| {
        outcome(
            &mostream(
                at,
                &["label", "a.mkv", "b.mkv", "-o", set, "--every", "0.4", "--size", "64x48", "-q", "--val", "0"],
            )
            .output()
            .unwrap(),
        )
    };
    let journal = |set: &str| std::fs::read_to_string(at.join(set).join(".mostream/label.jsonl")).unwrap();
    assert_eq!(label("whole").0, Some(0));
    let damaged = (0..50).map(|number| turned_over(&whole, number)).find(|bytes| {
        std::fs::write(&path, bytes).unwrap();
        is_wrong(&path)
    });
    for (set, bytes) in [("damaged", &damaged.unwrap()[..]), ("cut", &whole[..whole.len() * 6 / 10])] {
        std::fs::write(&path, bytes).unwrap();
        for _ in 0..2 {
            let (code, told) = label(set);
            assert!(code == Some(3) && told.contains("a.mkv: ") && told.lines().count() == 1, "{code:?} {told}");
            assert_eq!(
                std::fs::read_to_string(at.join(set).join("failures.txt")).unwrap(),
                told.replace("mostream: ", "")
            );
        }
        let before = journal(set);
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(label(set), (Some(0), String::new()));
        assert!(!at.join(set).join("failures.txt").exists());
        // What was right is as it was, and the mended one as in a set that never knew it otherwise.
        let of = |text: &str, clip: &str| {
            text.lines()
                .filter(|line| line.contains(&format!("\"clip\":\"{clip}")))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&journal(set), "b-"), of(&before, "b-"));
        assert_eq!(of(&journal(set), "a-"), of(&journal("whole"), "a-"));
        let images = |set: &str| std::fs::read_dir(at.join(set).join("images/train")).unwrap().count();
        assert_eq!(images(set), journal(set).matches("\"picture\":").count());
    }
}

/// What cannot be read costs only itself, wherever it stands among the others.
#[test]
fn an_empty_or_unreadable_video_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir(at.join("in")).unwrap();
    for name in ["b.mp4", "d.mp4"] {
        clip(at, &format!("in/{name}"), X264);
    }
    std::fs::write(at.join("in/a.mp4"), "").unwrap();
    std::fs::write(at.join("in/c.mp4"), "this is no video\n".repeat(99)).unwrap();
    std::fs::write(at.join("in/e.png"), "").unwrap();
    let options = ["--size", "64x48", "--every", "5", "-q", "--force"];
    for inputs in [&["in"][..], &["in/a.mp4", "in/b.mp4", "in/c.mp4", "in/d.mp4"]] {
        for name in ["b", "d"] {
            std::fs::remove_file(at.join(format!("{name}.boxes.jsonl"))).ok();
        }
        let (code, told) = outcome(&mostream(at, &[&["run"][..], inputs, &options].concat()).output().unwrap());
        assert_eq!(code, Some(3), "{told}");
        for (name, why) in [("in/a.mp4", "is empty"), ("in/c.mp4", "")] {
            assert_eq!(told.lines().filter(|line| line.contains(name) && line.contains(why)).count(), 1, "{told}");
        }
        for name in ["b", "d"] {
            assert_eq!(records_in(&at.join(format!("{name}.boxes.jsonl"))).len(), FRAMES as usize, "{inputs:?}");
            assert!(at.join(format!("{name}.boxes.mp4")).is_file());
        }
    }
    let (code, told) = outcome(&mostream(at, &[&["run", "in/a.mp4"][..], &options].concat()).output().unwrap());
    assert!(code == Some(3) && told.lines().count() == 1 && told.contains("in/a.mp4: is empty"), "{told}");
    assert!(!at.join("a.boxes.mp4").exists());
}

/// Two videos of other sizes that are joined are one video, of as many frames, at their times.
#[test]
fn another_size_in_mid_file_shifts_no_time_and_loses_no_frame() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    pan(at.join("1.ts"), (160, 120), FRAMES, H264);
    pan(at.join("2.ts"), SIZE, FRAMES, H264);
    pan(at.join("1.webm"), (160, 120), FRAMES, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8");
    pan(at.join("2.webm"), SIZE, FRAMES, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8");
    for (parts, name, how) in [
        ("ts", "a.ts", "-c copy"),
        // Parameter sets before each key frame: the container has those of the first part only.
        ("ts", "a.mkv", "-c copy -bsf:v dump_extra=freq=keyframe"),
        ("ts", "a.mp4", "-c copy -bsf:v dump_extra=freq=keyframe"),
        ("webm", "a.webm", "-c copy"),
    ] {
        std::fs::write(at.join("parts.txt"), format!("file 1.{parts}\nfile 2.{parts}\n")).unwrap();
        let ffmpeg = format!("-v error -y -f concat -i parts.txt {how} {name}");
        assert!(Command::new("ffmpeg").args(ffmpeg.split(' ')).current_dir(at).status().unwrap().success());
        let arguments = [
            "run",
            name,
            "--size",
            "64x48",
            "--every",
            "5",
            "-q",
            "--strict",
            "--force",
            "-o",
            "o.mp4",
            "--records",
            "r.jsonl",
        ];
        assert_eq!(outcome(&mostream(at, &arguments).output().unwrap()), (Some(0), String::new()), "{name}");
        let records = records_in(&at.join("r.jsonl"));
        assert_eq!(records.len(), 2 * FRAMES as usize, "{name}");
        for (index, record) in records.iter().enumerate() {
            let size = if index < FRAMES as usize { (160, 120) } else { SIZE };
            assert_eq!((record.width, record.height), size, "{name}: frame {index}");
            let drawn = records[0].pts_ns + FRAME_NS * index as u64;
            assert!(record.pts_ns.abs_diff(drawn) <= 2_000_000, "{name}: frame {index} at {}", record.pts_ns);
        }
        let written = probe(&at.join("o.mp4"));
        assert_eq!(written.pts_ns.len(), 2 * FRAMES as usize, "{name}");
    }
}
