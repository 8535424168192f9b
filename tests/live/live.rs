//! `mostream run` on cameras and on many sources: a real RTSP server that comes and goes, ffprobe on what is written.

use crate::support::camera::{RtspCamera, free_port};
use crate::support::clips::{make, probe};
use crate::support::program::{self, PROGRAM, stderr, until, whole_lines};
use crate::support::{strict_line, validate_line};
use mostream::record::{FrameRecord, SourceState, StateRecord};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A line of a record file.
enum Line {
    Frame(Box<FrameRecord>),
    State(StateRecord),
}

fn lines(path: &Path) -> Vec<Line> {
    let lines = whole_lines(path);
    let lines = lines.iter().inspect(|line| drop(strict_line(line).unwrap()));
    lines
        .map(|line| match serde_json::from_str::<StateRecord>(line) {
            Ok(state) => Line::State(state),
            Err(_) => Line::Frame(Box::new(validate_line(line).unwrap())),
        })
        .collect()
}

fn frames(path: &Path, source: &str) -> Vec<FrameRecord> {
    let of_source = |line| match line {
        Line::Frame(record) if record.source == source => Some(*record),
        _ => None,
    };
    lines(path).into_iter().filter_map(of_source).collect()
}

fn states(path: &Path, source: &str) -> Vec<SourceState> {
    let of_source = |line| match line {
        Line::State(record) if record.source == source => Some(record.state),
        _ => None,
    };
    lines(path).into_iter().filter_map(of_source).collect()
}

/// The program in a folder, small enough to keep up.
fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program::mostream(folder, &["run", "--size", "64x48", "--method", "lost"]);
    command.args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Ends the program as a user or a supervisor does; its exit code, and all it said.
fn end(child: Child, signal: &str) -> (Option<i32>, String) {
    program::signal(&child, signal);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_camera_goes_and_comes_back_while_another_source_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("r.jsonl");
    let (port, other) = (free_port(), RtspCamera::start(free_port(), &[]));
    let door = format!("door=rtsp://me:s3cret-w0rd@127.0.0.1:{port}/live");
    let yard = format!("yard={}", other.url());
    let arguments = ["--records", "r.jsonl", "-o", "{name}.mp4", "--stall-after", "1s", &door, &yard];
    let child = program(folder.path(), &arguments).spawn().unwrap();
    // It is not there yet, and keeps nobody waiting.
    until("the other camera", || frames(&records, "yard").len() > 20);
    let server = RtspCamera::start(port, &[]);
    until("the camera", || frames(&records, "door").len() > 20);
    drop(server);
    until("word that it is gone", || {
        states(&records, "door").ends_with(&[SourceState::Lost])
            || states(&records, "door").contains(&SourceState::Stalled)
    });
    let (before, yard_before) = (frames(&records, "door").len(), frames(&records, "yard").len());
    let _server = RtspCamera::start(port, &["--size", "160x120"]);
    until("the camera again", || frames(&records, "door").len() > before + 20);
    let (code, said) = end(child, "INT");
    assert_eq!(code, Some(130), "{said}");

    let door = frames(&records, "door");
    assert!(door.iter().enumerate().all(|(index, record)| record.frame == index as u64), "frames count on");
    assert!(door.windows(2).all(|pair| pair[0].pts_ns < pair[1].pts_ns), "time goes on");
    let gaps: Vec<&FrameRecord> = door.iter().filter(|record| record.live.unwrap().gap_ns.is_some()).collect();
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].width, gaps[0].height), (160, 120));
    assert!(door.iter().any(|record| record.inferred && !record.objects.is_empty()), "something is found");
    assert!(frames(&records, "yard").len() > yard_before + 20, "the other camera went on");
    for name in ["door", "yard"] {
        let written = probe(&folder.path().join(format!("{name}.mp4")));
        assert_eq!(written.pts_ns.len(), frames(&records, name).len(), "{name}: every frame is in the video");
    }
    let written = std::fs::read_to_string(&records).unwrap();
    let parsed: Vec<Value> = written.lines().map(|line| strict_line(line).unwrap()).collect();
    for name in ["door", "yard"] {
        let of_source: Vec<&Value> = parsed.iter().filter(|line| line["source"] == name).collect();
        // A reader of the first lines of version 1 knows frames by their objects, and everything else by its state.
        let (frames, others): (Vec<&Value>, Vec<&Value>) =
            of_source.iter().partition(|line| line["objects"].is_array());
        assert_eq!(frames.len(), self::frames(&records, name).len());
        assert!(others.iter().all(|line| line["state"].is_string()), "{others:?}");
        let last = of_source.last().unwrap();
        assert_eq!(
            (&last["kind"], &last["state"], &last["frames"]),
            (&"end".into(), &"ended".into(), &frames.len().into())
        );
        assert_eq!(others.iter().filter(|line| line["kind"] == "end").count(), 1);
    }
    assert!(parsed.iter().all(|line| line["run"] == parsed[0]["run"]), "one run");
    let everything = said + &written;
    assert!(!everything.contains("s3cret"), "{everything}");
}

#[test]
fn a_camera_that_is_given_up_is_named_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let input = format!("rtsp://user:s3cret@127.0.0.1:{}/cam", free_port());
    let output = program(folder.path(), &["--retry-for", "1s", "--records", "r.jsonl", &input]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "no frame ever came");
    let said = stderr(&output);
    assert!(said.contains("rtsp://127.0.0.1:") && said.contains("ended") && !said.contains("s3cret"), "{said}");
    let written = lines(&folder.path().join("r.jsonl"));
    let is_end = |line: &Line| matches!(line, Line::State(record) if record.state == SourceState::Ended);
    assert!(written.last().is_some_and(is_end));

    // The next run goes on in the file, under another name, and each has its end.
    program(folder.path(), &["--retry-for", "1s", "--records", "r.jsonl", &input]).output().unwrap();
    let text = std::fs::read_to_string(folder.path().join("r.jsonl")).unwrap();
    let parsed: Vec<Value> = text.lines().map(|line| strict_line(line).unwrap()).collect();
    let ends: Vec<&Value> = parsed.iter().filter(|line| line["kind"] == "end").collect();
    let by_run: Vec<&[Value]> = parsed.chunk_by(|one, next| one["run"] == next["run"]).collect();
    assert_eq!((by_run.len(), ends.len()), (2, 2), "{text}");
    for (run, end) in by_run.iter().zip(&ends) {
        assert_eq!(run.last(), Some(*end));
        assert!(end["frames"] == 0 && end["why"].is_string(), "{end}");
    }
}

#[test]
fn what_is_written_before_a_kill_can_be_played() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("r.jsonl");
    let server = RtspCamera::start(free_port(), &[]);
    let input = format!("cam1={}", server.url());
    let arguments = ["--records", "r.jsonl", "-o", "a.mp4", "--segment", "2s", &input];
    let child = program(folder.path(), &arguments).spawn().unwrap();
    until("five seconds", || frames(&records, "cam1").len() > 125);
    end(child, "KILL");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "mp4"));
    assert!(files.len() >= 2, "{files:?}");
    let played: usize = files.iter().map(|file| probe(file).pts_ns.len()).sum();
    let written = frames(&records, "cam1").len();
    assert!(played + 50 >= written, "{played} of {written} frames at 25 per second");
}

#[test]
fn folders_and_files_are_sources_too_and_none_of_their_frames_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let stills = folder.path().join("stills");
    std::fs::create_dir(&stills).unwrap();
    for name in ["a.png", "b.png"] {
        make(stills.join(name), (160, 120), 1, false, "-frames:v 1");
    }
    std::fs::write(stills.join("c.png"), b"no picture").unwrap();
    make(folder.path().join("wide.mp4"), (320, 120), 9, true, "-c:v libx264 -pix_fmt yuv420p");
    let arguments = ["--records", "r.jsonl", "stills", "wide=wide.mp4"];
    let output = program(folder.path(), &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let records = folder.path().join("r.jsonl");
    let still = |name: &str| frames(&records, &format!("stills/{name}"));
    assert_eq!((still("a.png").len(), still("b.png").len()), (1, 1));
    let wide = frames(&records, "wide");
    assert_eq!(wide.len(), 9);
    assert!(wide.iter().all(|record| record.inferred && record.width == 320));
    assert!(stderr(&output).contains("c.png"), "the broken picture is named");
}

#[test]
fn a_file_names_the_sources_and_a_wrong_line_is_named() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path().join("a.mp4"), (160, 120), 5, true, "-c:v libx264 -pix_fmt yuv420p");
    let check = |text: &str| {
        std::fs::write(folder.path().join("c.toml"), text).unwrap();
        program::outcome(&program::mostream(folder.path(), &["config", "check", "c.toml"]).output().unwrap())
    };
    let good = "records = \"r.jsonl\"\nsize = \"64x48\"\nevery = 2\n\n[[source]]\nname = \"clip\"\ninput = \"a.mp4\"\n";
    assert_eq!(check(good).0, Some(0));
    let run = Command::new(PROGRAM).args(["run", "--config", "c.toml"]).current_dir(&folder).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    let inferred: Vec<bool> = frames(&folder.path().join("r.jsonl"), "clip").iter().map(|r| r.inferred).collect();
    assert_eq!(inferred, [true, false, true, false, true]);

    for (text, line, word) in [
        ("every = 2\nevry = 3\n[[source]]\ninput = \"a\"\n", 2, "evry"),
        ("[[source]]\ninput = \"a\"\n\n[[source]]\nevery = \"often\"\ninput = \"b\"\n", 5, "often"),
        ("min-score = 7\n[[source]]\ninput = \"a\"\n", 1, "min-score"),
        ("web = true\n\n[[source]]\nname = \"x\"\n", 3, "input"),
        ("records = \"a\"\n", 1, "source"),
        ("a = \n", 1, ""),
    ] {
        let (code, said) = check(text);
        assert_eq!(code, Some(2), "{text}: {said}");
        assert!(said.contains(&format!("c.toml:{line}: ")) && said.contains(word), "{text}: {said}");
    }
}

#[test]
fn the_decoder_is_chosen_and_told_and_the_pipeline_printed_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path().join("a.mp4"), (160, 120), 5, true, "-c:v libx264 -pix_fmt yuv420p");
    let said = |arguments: &[&str]| {
        let output = program(folder.path(), arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = said(&["--print-pipeline", "--decoder", "openh264dec", "a.mp4"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("a.mp4: filesrc ! ") && out.contains(" ! openh264dec ! video/x-raw,format=I420"), "{out}");
    assert!(!folder.path().join("a.boxes.mp4").exists(), "nothing was run");
    let (code, out, err) = said(&["--print-pipeline", "door=rtsp://me:s3cret@10.0.0.7/x", "clip=a.mp4", "--web"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("door: rtspsrc ") && out.contains("clip: filesrc ") && !out.contains("s3cret"), "{out}");
    let (code, _, err) = said(&["--decoder", "nosuchdec", "a.mp4"]);
    assert!(code == Some(6) && err.contains("nosuchdec") && err.contains("avdec_h264"), "{code:?} {err}");
    let (code, _, err) = said(&["--decoder", "openh264dec", "--records", "-", "a.mp4", "--verbose"]);
    assert!(code == Some(0) && err.contains("decoded by openh264dec"), "{err}");
    let config = "decoder = \"avdec_h264\"\nrecords = \"c.jsonl\"\n[[source]]\ninput = \"a.mp4\"\n[[source]]\nname = \"b\"\n\
                  input = \"a.mp4\"\ndecoder = \"openh264dec\"\n";
    std::fs::write(folder.path().join("c.toml"), config).unwrap();
    let of_config = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["run", "--config", "c.toml"]).args(more).current_dir(&folder).output().unwrap()
    };
    let out = String::from_utf8(of_config(&["--print-pipeline"]).stdout).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].contains("avdec_h264") && lines[1].contains("b: ") && lines[1].contains("openh264dec"), "{out}");
    for more in ["--masks", "--every=2", "--paper", "--patches=300", "a.mp4"] {
        assert_eq!(of_config(&[more]).status.code(), Some(2), "{more} belongs into the file");
    }
}

#[test]
fn metrics_name_the_decoder_of_a_camera_and_count_the_pictures_of_each_device() {
    let folder = tempfile::tempdir().unwrap();
    let (server, port) = (RtspCamera::start(free_port(), &[]), free_port());
    let (input, web) = (format!("door={}", server.url()), format!("--web=127.0.0.1:{port}"));
    let arguments = [
        "--cue",
        "time",
        "--no-scene",
        "--device",
        "cpu",
        "--decoder",
        "openh264dec",
        &web,
        "--records",
        "r.jsonl",
        &input,
    ];
    let child = program(folder.path(), &arguments).spawn().unwrap();
    // Frames that come while the model opens have records, too.
    let records = folder.path().join("r.jsonl");
    until("an inferred frame", || frames(&records, "door").iter().any(|record| record.inferred));
    let mut answer = ureq::get(format!("http://127.0.0.1:{port}/metrics")).call().unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    let wanted = "mostream_decoder_info{source=\"door\",decoder=\"openh264dec\",memory=\"system\"} 1\n";
    assert!(text.contains(wanted), "{text}");
    let past = text.lines().find_map(|line| line.strip_prefix("mostream_past_bytes{source=\"door\"} ")).unwrap();
    assert!((1e5..20e6).contains(&past.parse::<f64>().unwrap()), "{past} bytes");
    let of_device = |name: &str| {
        let series = format!("mostream_device_{name}{{device=\"cpu\",precision=\"fp32\",session=\"0\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse::<f64>().unwrap()
    };
    assert!(of_device("pictures_total") >= 1.0 && of_device("busy_seconds_total") > 0.0, "{text}");
    assert!(of_device("runs_total") <= of_device("pictures_total") && of_device("batch") == 1.0, "{text}");
    end(child, "INT");
}
