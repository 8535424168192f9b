//! `mostream run` as its users meet it: what it writes, how it stops, how it fails.

use crate::support::clips::{Clip, X264, make, probe};
use crate::support::program::{
    PROGRAM, files_in, mostream, outcome, records, records_in, signal, stderr, until, whole_lines,
};
use crate::support::{of_any_run, validate_line};
use mostream::record::{Every, FrameRecord};
use mostream::stream::feed::{Event, Feed, Files};
use mostream::stream::ingest::Span;
use mostream::stream::preflight::Source;
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("run");
    command
}

fn clip(folder: &Path, frames: u32) -> Clip {
    make(folder.join("clip.mp4"), (160, 120), frames, true, X264)
}

/// Runs with records on stdout and no word on stderr.
fn records_of(input: &Path, arguments: &[&str]) -> Vec<FrameRecord> {
    let ran = program().arg(input).args(["--quiet", "--records", "-"]).args(arguments).output().unwrap();
    assert_eq!((ran.status.code(), stderr(&ran).as_str()), (Some(0), ""), "{arguments:?}");
    records(&ran.stdout)
}

#[test]
fn without_flags_a_video_and_its_records_are_written_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 8);
    let ran = program().arg(&clip.path).current_dir(&folder).output().unwrap();
    let told = stderr(&ran);
    assert_eq!(ran.status.code(), Some(0), "{told}");
    assert!(told.contains("clip.boxes.mp4") && told.contains("clip.boxes.jsonl"), "{told}");
    let written = records(&std::fs::read(folder.path().join("clip.boxes.jsonl")).unwrap());
    assert_eq!(written.len(), 8);
    assert_eq!(probe(&folder.path().join("clip.boxes.mp4")).pts_ns.len(), 8);
    // The annotated video is made from what the records say, and does not change it.
    let again = records_of(&clip.path, &[]);
    let runs = [&written, &again].map(|records| records[0].run.clone());
    assert_ne!(runs[0], runs[1]);
    for (records, run) in [&written, &again].into_iter().zip(&runs) {
        assert!(records.iter().all(|record| record.run == *run) && run.len() == 16, "{run}");
    }
    let of_any_run = |records: Vec<FrameRecord>| Vec::from_iter(records.into_iter().map(of_any_run));
    assert_eq!(of_any_run(written), of_any_run(again));
}

#[test]
fn the_last_lines_say_what_was_found_and_where_and_how_only_where_that_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 8);
    let told = |flags: &[&str]| {
        let ran = program()
            .arg(&clip.path)
            .args(["--force", "--cue", "appearance"])
            .args(flags)
            .current_dir(&folder)
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
        let records = records(&std::fs::read(folder.path().join("clip.boxes.jsonl")).unwrap());
        let counts = Vec::from_iter(records.iter().map(|record| record.objects.len()).filter(|count| *count > 0));
        (stderr(&ran), counts)
    };
    let (plain, counts) = told(&[]);
    let lines = Vec::from_iter(plain.lines());
    let [.., found, video, lines_of_records] = &lines[..] else { panic!("{plain}") };
    assert!(counts.len() > 4, "{counts:?}");
    assert!(found.starts_with(&format!("mostream: objects in {} of 8 frames, ", counts.len())), "{found}");
    let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    let each = if mean == 1.0 { "one each".to_owned() } else { format!("{mean:.1} each on average") };
    assert!(found.ends_with(&each), "{found}: {each}");
    assert_eq!([*video, *lines_of_records], ["mostream: clip.boxes.mp4", "mostream: clip.boxes.jsonl"]);
    let how = ["frames per second", "decoded by", "the model ran on cpu", "drawn in place"];
    how.iter().for_each(|word| assert!(!plain.contains(word), "{plain}"));

    let (verbose, _) = told(&["--verbose"]);
    how.iter().for_each(|word| assert!(verbose.contains(word), "{verbose}"));
    assert!(verbose.ends_with(&format!("{found}\n{video}\n{lines_of_records}\n")), "they come last: {verbose}");
    assert_eq!(told(&["--quiet"]).0, "");
    // The same of a file, which the command line goes before.
    let config = format!("verbose = true\nforce = true\n[[source]]\ninput = {:?}\n", clip.path);
    std::fs::write(folder.path().join("c.toml"), config).unwrap();
    let of_file = |flags: &[&str]| {
        stderr(&program().args(["--config", "c.toml"]).args(flags).current_dir(&folder).output().unwrap())
    };
    assert!(of_file(&[]).contains("decoded by"));
    assert_eq!(of_file(&["--quiet"]), "");
    let both = program().args(["clip.mp4", "-q", "-v"]).current_dir(&folder).output().unwrap();
    assert!(
        both.status.code() == Some(2) && stderr(&both).contains("'--quiet' cannot be used with '--verbose'"),
        "{}",
        stderr(&both)
    );
}

#[test]
fn frames_have_the_wall_clock_of_their_container_where_it_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // 13:59:30 UTC, told in the two ways.
    const BEGUN: u64 = 1_614_607_170_000_000_000;
    for (name, time) in
        [("a.mp4", "2021-03-01T13:59:30Z"), ("b.mkv", "2021-03-01T15:59:30+02:00"), ("c.mov", "2021-03-01T13:59:30Z")]
    {
        let dated = make(at(name), (160, 120), 30, true, &format!("{X264} -metadata creation_time={time}"));
        let part = &["--start", "0.4", "--duration", "0.4"];
        for (arguments, frames) in [(&[][..], 30), (part, 10)] {
            let records = records_of(&dated.path, arguments);
            assert_eq!(records.len(), frames, "{name} {arguments:?}");
            for record in records {
                assert_eq!(record.captured_unix_ns, Some(BEGUN + record.pts_ns), "{name}, frame {}", record.frame);
                assert_eq!(record.live, None);
            }
        }
    }
    // In a source of several files each has its own, while the source's time goes on.
    let files = ["a.mp4", "b.mkv"].map(|name| Source::new(at(name)).unwrap());
    let mut feed = Files::new(files.into(), Span::default());
    let events = std::iter::from_fn(|| feed.next(&|| false));
    let frames = events.filter_map(|event| if let Event::Frame(frame) = event { Some(frame) } else { None });
    let times: Vec<_> = frames.map(|frame| (frame.pts_ns, frame.captured_unix_ns)).collect();
    assert_eq!(times.len(), 60);
    assert_eq!(times[30], (30 * 40_000_000, Some(BEGUN)));
    for name in ["plain.mp4", "plain.mkv"] {
        let plain = make(at(name), (160, 120), 3, true, &format!("{X264} -fflags +bitexact"));
        assert!(records_of(&plain.path, &[]).iter().all(|record| record.captured_unix_ns.is_none()), "{name}");
    }
}

const APPEARANCE: &[&str] = &["--cue", "appearance"];

#[test]
fn between_inferences_the_boxes_hold_and_the_record_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 8);
    let (all, some) =
        (records_of(&clip.path, APPEARANCE), records_of(&clip.path, &[APPEARANCE, &["--every", "3"]].concat()));
    assert_eq!(some.len(), 8);
    for (index, record) in some.iter().enumerate() {
        assert_eq!(record.inferred, index % 3 == 0);
        assert_eq!((record.pts_ns, record.frame), (all[index].pts_ns, index as u64));
        assert_eq!(record.objects, all[index - index % 3].objects, "frame {index}");
    }
}

#[test]
fn auto_asks_as_often_as_there_is_time_for_and_the_record_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 30);
    let found = records_of(&clip.path, &["--every", "auto"]);
    assert!(found.iter().map(|record| record.frame).eq(0..30), "every frame has its record");
    assert!(found[0].inferred && found.iter().all(|record| record.every == Some(Every::Auto)));
    let all = |every: &str| records_of(&clip.path, &["--every", every]);
    assert!(all("3").iter().all(|record| record.every == Some(Every::Frames(3))));
    assert!(all("1").iter().all(|record| record.every.is_none()));
    for wrong in ["often", "0"] {
        let ran = program().args(["clip.mp4", "--every", wrong]).output().unwrap();
        assert!(ran.status.code() == Some(2) && stderr(&ran).contains(&format!("'{wrong}'")), "{}", stderr(&ran));
    }
}

#[test]
fn a_part_of_the_video_keeps_its_time_stamps() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 50);
    let all = records_of(&clip.path, &["--every", "100"]);
    let video = folder.path().join("part.mp4");
    let arguments = ["--every", "100", "--start", "0:00.8", "--duration", "0.4", "-o", video.to_str().unwrap()];
    let part: Vec<u64> = records_of(&clip.path, &arguments).iter().map(|record| record.pts_ns).collect();
    let wanted = all.iter().map(|record| record.pts_ns).filter(|pts| (800_000_000..1_200_000_000).contains(pts));
    assert_eq!(part, wanted.collect::<Vec<_>>());
    assert_eq!(probe(&video).pts_ns.len(), part.len());
}

#[test]
fn every_method_writes_valid_records_with_masks_and_timings() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 2);
    for method in ["most", "lost", "tokencut", "dino-seg"] {
        let found = records_of(&clip.path, &["--method", method, "--masks", "--timings"]);
        assert_eq!(found.len(), 2);
        for record in found {
            let timings = record.timings_us.unwrap();
            let has_past = timings.motion > 0 && timings.scene > 0;
            assert!(timings.inference > 0 && has_past == (method == "most"), "{method}: {timings:?}");
            assert!(method == "most" || record.objects.len() == 1, "{method}: {:?}", record.objects);
            assert!(record.objects.iter().all(|object| object.mask.is_some()));
        }
    }
    let paper = records_of(&clip.path, &["--paper"]);
    let single = records_of(&clip.path, &["--cue", "appearance"]);
    assert!(single.iter().zip(&paper).all(|(kept, all)| kept.objects.len() <= all.objects.len()));
}

#[test]
fn a_trace_tells_each_threads_work_and_each_frames_way() {
    const FRAMES: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), FRAMES as u32);
    let run = |trace: &str| {
        let flags = ["--records", "r.jsonl", "-o", "o.mp4", "--quiet", "--trace", trace];
        program().arg(&clip.path).args(flags).current_dir(&folder).output().unwrap()
    };
    assert_eq!(outcome(&run("t.json")), (Some(0), String::new()));
    let text = std::fs::read_to_string(folder.path().join("t.json")).unwrap();
    let events: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).cloned().collect::<Vec<_>>();
    let (work, begun, ended) = (of("X"), of("b"), of("e"));
    let frames =
        |events: &[serde_json::Value]| Vec::from_iter(events.iter().map(|e| e["args"]["frame"].as_u64().unwrap()));
    assert_eq!(frames(&begun), Vec::from_iter(0..FRAMES as u64));
    let time = |event: &serde_json::Value, of: &str| event[of].as_f64().unwrap();
    for (begun, ended) in begun.iter().zip(&ended) {
        assert!(begun["id"] == ended["id"] && time(begun, "ts") < time(ended, "ts"), "{begun} {ended}");
        let frame = &begun["args"]["frame"];
        // Its work is a part of its way.
        let of_it = |name: &str| {
            let of_it = work.iter().filter(|work| work["name"] == name && work["args"]["frame"] == *frame);
            let [of_it] = of_it.collect::<Vec<_>>()[..] else { panic!("{name} of {frame}: {text}") };
            assert!(time(of_it, "ts") + time(of_it, "dur") <= time(ended, "ts"), "{of_it} {ended}");
            time(of_it, "dur")
        };
        // Whole microseconds.
        assert!(of_it("look") + of_it("know") <= time(ended, "ts") - time(begun, "ts") + 1.0, "{begun} {ended}");
    }
    let names: HashSet<&str> = work.iter().map(|work| work["name"].as_str().unwrap()).collect();
    assert_eq!(names, HashSet::from(["look", "fit", "infer", "find", "know", "send", "write"]));
    let threads: HashSet<u64> = of("M").iter().filter_map(|event| event["tid"].as_u64()).collect();
    assert!(work.iter().all(|work| threads.contains(&work["tid"].as_u64().unwrap())), "{text}");

    let input = clip.path.to_str().unwrap();
    for (trace, code, word) in [
        (input, 2, "is the input"),
        ("r.jsonl", 2, "both"),
        ("none/t.json", 4, "none/t.json"),
        ("/dev/full", 4, "--trace"),
    ] {
        let (got, told) = outcome(&run(trace));
        assert!(
            got == Some(code) && told.contains(word) && told.trim_end().lines().count() == 1,
            "{trace}: {got:?} {told}"
        );
    }
}

/// Starts a run that takes a while and reads its first `lines` records.
fn started(folder: &Path, lines: usize) -> (Child, Vec<u8>, BufReader<std::process::ChildStdout>) {
    let clip = clip(folder, 400);
    let mut child = program()
        .arg(&clip.path)
        .args(["--records", "-", "-o"])
        .arg(folder.join("out.mp4"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut read = Vec::new();
    for _ in 0..lines {
        out.read_until(b'\n', &mut read).unwrap();
    }
    (child, read, out)
}

#[test]
fn ctrl_c_finishes_the_video_with_as_many_frames_as_records() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, mut read, mut out) = started(folder.path(), 5);
    signal(&child, "INT");
    std::io::Read::read_to_end(&mut out, &mut read).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let written = records(&read);
    assert!((5..400).contains(&written.len()), "{} records", written.len());
    assert_eq!(probe(&folder.path().join("out.mp4")).pts_ns.len(), written.len());
    assert_eq!(files_in(folder.path()), ["clip.mp4", "out.mp4"]);
}

/// Starts a run that takes a while, with records in a file, and waits for the first of them.
fn recording(folder: &Path) -> Child {
    let clip = clip(folder, 400);
    // Whatever the tests were started with.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", PROGRAM, "run"]);
    command.arg(&clip.path).args(["--quiet", "--records", "r.jsonl"]).current_dir(folder);
    let child = command.spawn().unwrap();
    let part = folder.join(partial("r.jsonl", &child));
    until("four records", || whole_lines(&part).len() > 3);
    child
}

fn partial(name: &str, child: &Child) -> String {
    format!("{name}.{}.part", child.id())
}

#[test]
fn a_signal_that_comes_twice_at_once_ends_the_records_whole() {
    // As `timeout` sends it: to the process, and to its group.
    for signals in
        ["kill -TERM $0; kill -TERM $0", "kill -INT $0; sleep 0.05; kill -TERM $0", "kill -TERM $0", "kill -HUP $0"]
    {
        let folder = tempfile::tempdir().unwrap();
        let mut child = recording(folder.path());
        assert!(Command::new("sh").args(["-c", signals, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signals}");
        assert_eq!(files_in(folder.path()), ["clip.mp4", "r.jsonl"], "{signals}");
        assert!((4..400).contains(&records_in(&folder.path().join("r.jsonl")).len()));
    }
}

#[test]
fn a_closed_terminal_is_no_reason_to_end_for_who_asked_to_ignore_it() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 60);
    let (run, name) = (PROGRAM, clip.path.display());
    // As `nohup` does.
    let line = format!("trap '' HUP; exec {run} run {name} --quiet --records r.jsonl");
    let mut child = Command::new("sh").args(["-c", &line]).current_dir(&folder).spawn().unwrap();
    let part = folder.path().join(partial("r.jsonl", &child));
    until("four records", || whole_lines(&part).len() > 3);
    signal(&child, "HUP");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(records_in(&folder.path().join("r.jsonl")).len(), 60);
}

#[test]
fn a_run_whose_words_nobody_reads_any_more_ends_its_files_whole() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 400);
    let mut command = program();
    command.arg(&clip.path).args(["--records", "r.jsonl", "-o", "out.mp4"]).current_dir(&folder);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    let part = folder.path().join(partial("r.jsonl", &child));
    until("four records", || whole_lines(&part).len() > 3);
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let written = records_in(&folder.path().join("r.jsonl")).len();
    assert_eq!(probe(&folder.path().join("out.mp4")).pts_ns.len(), written);
}

#[test]
fn a_run_whose_words_nobody_takes_waits_for_nobody_and_ends_when_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 30);
    // A pipe that is full before the run begins, and stays so.
    let full = "mkfifo words; exec 3<>words; head -c 65536 /dev/zero >&3; exec \"$@\" 2>&3";
    let run = |arguments: &[&str]| {
        let mut shell = Command::new("sh");
        shell.args(["-c", full, "sh", PROGRAM, "run"]).args(arguments).current_dir(&folder);
        shell.spawn().unwrap()
    };
    let mut file = run(&[clip.path.to_str().unwrap(), "--log-json", "--records", "r.jsonl"]);
    assert_eq!(file.wait().unwrap().code(), Some(0));
    assert_eq!(records_in(&folder.path().join("r.jsonl")).len(), 30);
    std::fs::remove_file(folder.path().join("words")).unwrap();
    let live = "videotestsrc is-live=true ! video/x-raw,width=64,height=48 ! appsink name=frames";
    let mut camera = run(&[live, "--log-json", "--records", "live.jsonl", "--size", "64x48"]);
    until("a record", || whole_lines(&folder.path().join("live.jsonl")).len() > 2);
    signal(&camera, "TERM");
    assert_eq!(camera.wait().unwrap().code(), Some(130));
}

#[test]
fn a_file_at_the_limit_of_its_size_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 200);
    let (run, name) = (PROGRAM, clip.path.display());
    // In blocks of 512 bytes.
    let line = format!("ulimit -f 40; exec {run} run {name} --quiet --every 50 -o out.mp4");
    let out = Command::new("sh").args(["-c", &line]).current_dir(&folder).output().unwrap();
    let error = stderr(&out);
    assert_eq!(out.status.code(), Some(4), "{error}");
    assert!(error.contains("out.mp4: "), "{error}");
}

#[test]
fn a_killed_run_leaves_the_records_it_had_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = recording(folder.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let left = std::fs::read(folder.path().join(partial("r.jsonl", &child))).unwrap();
    assert!(left.ends_with(b"\n") && records(&left).len() > 3);
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_leaves_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 400);
    let mut command = program();
    command.arg(&clip.path).args(["--every", "1000", "--masks", "--records", "-", "-o", "out.mp4"]);
    let mut child = command.current_dir(&folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Nobody reads the records: what it has written stops growing, and it cannot end.
    let written = |child: &Child| std::fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap();
    let mut before = String::new();
    until("it waits for its reader", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = written(&child);
        let count: u64 = now.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap();
        std::mem::replace(&mut before, now.clone()) == now && count > 60_000
    });
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(1000));
    assert!(child.try_wait().unwrap().is_none());
    signal(&child, "INT");
    until("its end", || child.try_wait().unwrap().is_some());
    let left = partial("out.mp4", &child);
    assert_eq!(files_in(folder.path()), ["clip.mp4", &left]);
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(String::from_utf8_lossy(&stderr).contains(&format!("{left} is unfinished")));
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_run_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 60);
    let mut child = program()
        .arg(&clip.path)
        .args(["--quiet", "--records", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    validate_line(line.trim_end()).unwrap();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!((status.code(), String::from_utf8_lossy(&stderr).as_ref()), (Some(0), ""));
}

/// One line that names `named`, this exit code, and no file but those that were there.
fn fails(command: &mut Command, folder: &Path, code: i32, named: &str) {
    let before = files_in(folder);
    let ran = command.current_dir(folder).arg("--quiet").output().unwrap();
    let told = stderr(&ran);
    assert_eq!(ran.status.code(), Some(code), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains(named), "{named} is not named: {told}");
    assert_eq!(files_in(folder), before, "{told}");
}

#[test]
fn what_cannot_be_used_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    clip(at, 30);
    std::fs::create_dir(at.join("folder")).unwrap();
    std::fs::write(at.join("text.txt"), "no video\n").unwrap();
    std::fs::write(at.join("empty.mp4"), "").unwrap();
    let tone = "-v error -f lavfi -i sine=duration=1 tone.wav";
    assert!(Command::new("ffmpeg").args(tone.split(' ')).current_dir(at).status().unwrap().success());

    assert!(Command::new("mkfifo").arg(at.join("pipe")).status().unwrap().success());

    for input in ["missing.mp4", "folder", "text.txt", "empty.mp4", "pipe", "tone.wav", "http://127.0.0.1:9/video.mp4"]
    {
        fails(program().args([input, "-o", "out.mp4", "--records", "out.jsonl"]), at, 3, input);
    }
    let long_tone = format!("-f lavfi -i sine=duration=5 {X264} -c:a aac");
    make(at.join("brief.mp4"), (160, 120), 4, false, &long_tone);
    fails(program().args(["brief.mp4", "-o", "out.mp4"]), at, 3, "shorter than a fifth");
    fails(program().args(["clip.mp4", "--start", "99"]), at, 3, "before the start");
    for output in ["nowhere/out.mp4", "out.avi", "folder"] {
        fails(program().args(["clip.mp4", "-o", output]), at, 4, output);
    }
    make(at.join("tiny.mkv"), (8, 120), 2, false, "-c:v ffv1");
    fails(program().args(["tiny.mkv", "-o", "out.mp4"]), at, 4, "8x120");
    assert_eq!(records_of(&at.join("tiny.mkv"), &[]).len(), 2, "without a video to write, any size will do");
    fails(program().args(["clip.mp4", "--records", "nowhere/out.jsonl"]), at, 4, "nowhere/out.jsonl");
    fails(program().args(["clip.mp4", "--records", "/dev/full"]), at, 4, "/dev/full");
    fails(
        program().args(["clip.mp4", "--display"]).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY"),
        at,
        4,
        "--display",
    );
    fails(program().args(["clip.mp4", "-o", "clip.mp4"]), at, 2, "clip.mp4");
    fails(program().args(["clip.mp4", "--model", "text.txt"]), at, 5, "text.txt");
    fails(program().arg("clip.mp4").env("ORT_DYLIB_PATH", "/nowhere/lib.so"), at, 6, "/nowhere/lib.so");
}

#[test]
fn a_disk_that_is_full_is_told_and_nothing_half_written_stays() {
    let folder = tempfile::tempdir().unwrap();
    clip(folder.path(), 30);
    // A limit on the size of files stands in for the end of the disk: 8 KiB.
    let limited = "ulimit -f 8; trap '' XFSZ; exec \"$@\"";
    let mut shell = Command::new("bash");
    shell.args(["-c", limited, "bash", PROGRAM, "run", "clip.mp4", "-o", "out.mp4"]);
    shell.env("MOSTREAM_CACHE", "");
    fails(&mut shell, folder.path(), 4, "out.mp4");
}

#[test]
fn what_a_file_is_called_moves_no_cursor_and_a_secret_is_in_no_field() {
    let folder = tempfile::tempdir().unwrap();
    let said = |arguments: &[&str]| stderr(&program().args(arguments).current_dir(folder.path()).output().unwrap());
    let name = "\u{1b}[2Ja\nmostream: done.mp4";
    let text = said(&[name]);
    assert!(!text.contains('\u{1b}') && text.lines().count() == 1, "{text:?}");
    assert!(text.contains("\\u{1b}[2Ja\\nmostream: done.mp4"), "{text:?}");
    let json: serde_json::Value = serde_json::from_str(&said(&[name, "--log-json"])).unwrap();
    assert!(json["message"].as_str().unwrap().starts_with(name), "{json}");
    assert_eq!((json["level"].as_str(), json["fault"].as_str()), (Some("error"), Some("input")), "{json}");

    let secret = "rtsp://me:s3cret@127.0.0.1:1/x?password=hunter2";
    for more in [&[][..], &["--log-json"]] {
        let text = said(&[&[secret, "--retry-for", "1s", "--records", "r.jsonl"], more].concat());
        assert!(text.contains("127.0.0.1:1") && !text.contains("s3cret") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn missing_plug_ins_are_named_with_their_package() {
    let folder = tempfile::tempdir().unwrap();
    clip(folder.path(), 2);
    let mut command = program();
    command.arg("clip.mp4").env("GST_PLUGIN_SYSTEM_PATH_1_0", "/nowhere");
    command.env("GST_REGISTRY_1_0", std::env::temp_dir().join(format!("mostream-no-plugins-{}", std::process::id())));
    fails(&mut command, folder.path(), 6, "apt-get install");
}

#[test]
fn a_size_below_one_patch_is_refused_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 3);
    let picture = folder.path().join("a.png");
    image::RgbImage::new(64, 48).save(&picture).unwrap();
    for size in ["7x7", "64x7", "1x48"] {
        for (command, input) in [
            (&["run", "--records", "r.jsonl"][..], &clip.path),
            (&["inspect", "-o", "p.html"], &picture),
            (&["label", "-o", "set"], &picture),
            (&["features", "-o", "f.npy"], &picture),
            (&["discover", "-o", "found"], &picture),
            (&["bench"], &clip.path),
            (&["warmup"], &clip.path),
        ] {
            let ran = mostream(folder.path(), command).args(["--size", size]).arg(input).output().unwrap();
            let said = stderr(&ran);
            let is_told = said.lines().count() == 1
                && said.contains(&format!("size {size} is smaller than one patch of 8x8 pixels"));
            assert!(ran.status.code() == Some(2) && is_told, "{command:?} {size}: {said}");
        }
    }
    assert_eq!(files_in(folder.path()).len(), 2);
}

#[test]
fn patches_that_a_picture_has_not_are_told_where_more_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 3);
    let told = |patches: &[&str]| {
        let ran =
            mostream(folder.path(), &["run", "--records", "r.jsonl"]).args(patches).arg(&clip.path).output().unwrap();
        assert_eq!(ran.status.code(), Some(0));
        stderr(&ran).matches("160x120 has 300 patches of 8x8 pixels").count()
    };
    assert_eq!(told(&["--patches", "4800"]), 1);
    assert_eq!((told(&["--patches", "300"]), told(&["--patches", "100"]), told(&[])), (0, 0, 0));
}
