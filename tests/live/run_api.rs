//! The door: runs started from a spec by a program, sources that come and go, and the file that says the same as the flags.

use crate::support::clips::{make, probe};
use crate::support::program::until;
use crate::support::scene::{self, Shape, Texture, Thing};
use crate::support::site::get;
use mostream::analyzer::{Analyzer, ModelSize};
use mostream::backbone::{Checkpoint, Feature, SessionOptions};
use mostream::engine::sink::Message;
use mostream::fit::{Colour, PictureView, PixelFormat, Plane};
use mostream::geometry::PixelBox;
use mostream::localize::{Localizer, Method};
use mostream::record::{Every, FrameRecord, SourceState};
use mostream::run::spec::keys_of;
use mostream::run::{Observe, Options, Run, RunError, RunSpec, Shared, SourceOptions, SourceSpec};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// A camera in this machine's own memory, of so many frames a second.
fn pipeline(fps: u32) -> String {
    format!(
        "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=160,height=120,framerate={fps}/1 \
         ! appsink name=frames"
    )
}

/// A spec of small pictures for the model, whose results are only observed.
fn spec(folder: &Path, sources: Vec<SourceSpec>) -> RunSpec {
    let mut spec = RunSpec { sources, ..RunSpec::default() };
    spec.shared.size = "64x48".parse().ok();
    spec.shared.method = Some(Method::Lost);
    spec.shared.records = Some(folder.join("r.jsonl"));
    spec
}

fn observed(observe: Observe) -> Options {
    Options { observe, ..Options::default() }
}

/// As they are in a file, without which run they are of.
fn frames(file: &Path) -> Vec<FrameRecord> {
    let text = std::fs::read_to_string(file).unwrap();
    let records = text.lines().filter_map(|line| serde_json::from_str::<FrameRecord>(line).ok());
    records.map(|record| FrameRecord { run: String::new(), ..record }).collect()
}

fn program(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mostream")).current_dir(folder).args(arguments).output().unwrap()
}

#[test]
fn files_give_a_program_the_records_that_the_command_line_writes_and_pictures_where_it_wants_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, frames) in [("a.mp4", 12), ("b.mp4", 7)] {
        make(at(name), (160, 120), frames, true, "-c:v libx264 -pix_fmt yuv420p");
    }
    let wrote = program(
        folder.path(),
        &["run", "one=a.mp4", "two=b.mp4", "--records", "c.jsonl", "--size", "64x48", "--method", "lost"],
    );
    assert!(wrote.status.success(), "{}", String::from_utf8_lossy(&wrote.stderr));
    let wanted = frames(&at("c.jsonl"));
    assert_eq!(wanted.len(), 19);
    assert!(wanted.iter().any(|record| !record.objects.is_empty()));

    for observe in [Observe::Records, Observe::Pictures] {
        let named = |name: &str, file: &str| SourceSpec::new(at(file)).named(name);
        let spec = spec(folder.path(), vec![named("one", "a.mp4"), named("two", "b.mp4")]);
        let run = Run::start(spec, observed(observe)).unwrap();
        let mut seen = Vec::new();
        for message in run.messages() {
            let Message::Frame { record, picture } = message else { continue };
            assert_eq!(picture.is_some(), observe == Observe::Pictures);
            if let Some(picture) = picture {
                assert_eq!((picture.info.width(), picture.info.height()), (160, 120));
            }
            seen.push(FrameRecord { run: String::new(), ..FrameRecord::clone(&record) });
        }
        let outcome = run.join().unwrap();
        let ended = outcome.sources.iter().map(|ended| (ended.name.as_str(), ended.frames, ended.faults.len()));
        assert_eq!(ended.collect::<BTreeSet<_>>(), BTreeSet::from([("one", 12, 0), ("two", 7, 0)]));
        let of = |records: &[FrameRecord], name: &str| {
            Vec::from_iter(records.iter().filter(|record| record.source == name).cloned())
        };
        for name in ["one", "two"] {
            assert_eq!(of(&seen, name), of(&wanted, name));
            assert_eq!(of(&frames(&at("r.jsonl")), name), of(&wanted, name), "the file is whole");
        }
    }
}

#[test]
fn cameras_come_go_and_pause_while_another_runs_and_it_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = SourceSpec::new(pipeline(20)).named("first");
    let run = Run::start(spec(folder.path(), vec![first]), observed(Observe::Records)).unwrap();
    assert!(run.page().is_none(), "nobody asked for a page");
    let mut numbers = Vec::new();
    let mut states = Vec::new();
    // Reads until so many frames of a camera were seen.
    let mut read = |name: &str, mut more: usize| {
        while more > 0 {
            match run.next_message().unwrap() {
                Message::Frame { record, .. } => {
                    more -= usize::from(record.source == name);
                    if record.source == "first" {
                        numbers.push(record.frame);
                    }
                }
                Message::State(state) => states.push((state.source.clone(), state.state)),
                Message::Event(_) | Message::End(_) => {}
            }
        }
    };
    read("first", 5);
    let id = run.snapshot()[0].id;
    for round in 0..3 {
        let added = run.add(SourceSpec::new(pipeline(10)).named("second")).unwrap();
        assert_eq!(added.len(), 1);
        read("second", 3);
        let twice = run.add(SourceSpec::new(folder.path().join("none.mp4")).named("third")).unwrap_err();
        assert!(twice.to_string().contains("none.mp4"), "{round}: {twice}");
        let ended = run.remove(added[0]).unwrap();
        assert!(ended.name == "second" && ended.frames >= 3 && ended.faults.is_empty(), "{ended:?}");
        assert_eq!(run.snapshot().len(), 1);
    }
    assert!(run.pause(id) && run.snapshot()[0].paused);
    assert!(run.resume(id) && !run.snapshot()[0].paused);
    read("first", 10);
    run.stop();
    let outcome = run.join().unwrap();
    assert!(outcome.faults().next().is_none());
    let of_first = Vec::from_iter(states.iter().filter(|(name, _)| name == "first").map(|(_, state)| *state));
    assert!(!of_first[1..].contains(&SourceState::Connecting), "it was connected to once: {of_first:?}");
    let written = Vec::from_iter(frames(&folder.path().join("r.jsonl")));
    let before_pause = numbers.len() - 10;
    assert!(numbers[..before_pause].windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert!(written.iter().filter(|record| record.source == "first").count() >= numbers.len());
}

#[test]
fn a_file_that_is_removed_leaves_a_video_that_is_whole_up_to_there() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    make(at("a.mp4"), (160, 120), 900, true, "-c:v libx264 -preset ultrafast -pix_fmt yuv420p");
    let mut spec = spec(folder.path(), vec![SourceSpec::new(at("a.mp4")).named("a")]);
    spec.each.output = Some(at("boxes-{name}.mp4"));
    // Who does not read on holds the file up.
    let run = Run::start(spec, observed(Observe::Records)).unwrap();
    assert_eq!(run.messages().take(20).count(), 20);
    let ended = run.remove(run.snapshot()[0].id).unwrap();
    assert!((20..900).contains(&ended.frames) && ended.faults.is_empty(), "{ended:?}");
    assert_eq!(probe(&at("boxes-a.mp4")).pts_ns.len() as u64, ended.frames);
    // Its name and its outputs are free again.
    let again = run.add(SourceSpec { options: SourceOptions::default(), ..SourceSpec::new(at("a.mp4")).named("a") });
    run.remove(again.unwrap()[0]).unwrap();
    assert!(run.snapshot().is_empty() && run.is_idle());
    assert!(run.join().unwrap().sources.is_empty());
    assert!(frames(&at("r.jsonl")).len() as u64 >= ended.frames, "records of one run are in one file");
}

#[test]
fn the_page_lists_sources_as_they_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path(), vec![SourceSpec::new(pipeline(10)).named("door")]);
    spec.shared.web = "127.0.0.1:0".parse().ok();
    let run = Run::start(spec, Options::default()).unwrap();
    let page = run.page().unwrap();
    let ask = |path: &str| get(&format!("http://{page}{path}"), &[]);
    let listed = || {
        let all: serde_json::Value = serde_json::from_str(&ask("/sources").1).unwrap();
        let listed = all["sources"].as_array().unwrap().iter();
        Vec::from_iter(listed.map(|source| (source["number"].as_u64().unwrap(), source["name"].to_string())))
    };
    let named = |names: &[(u64, &str)]| Vec::from_iter(names.iter().map(|(n, name)| (*n, format!("{name:?}"))));
    assert_eq!(listed(), named(&[(0, "door")]));
    run.add(SourceSpec::new(pipeline(10)).named("yard")).unwrap();
    assert_eq!(listed(), named(&[(0, "door"), (1, "yard")]));
    until("pictures", || (0..2).all(|number| ask(&format!("/sources/{number}/picture.jpg")).0 == 200));
    run.remove(run.snapshot()[0].id).unwrap();
    assert_eq!(listed(), named(&[(1, "yard")]));
    assert_eq!((ask("/sources/0/picture.jpg").0, ask("/records?source=door").0), (404, 404));
    assert_eq!(ask("/sources/1/picture.jpg").0, 200);
    assert!(!ask("/metrics").1.contains("door") && ask("/metrics").1.contains("yard"));
    run.add(SourceSpec::new(pipeline(10)).named("door")).unwrap();
    assert_eq!(listed(), named(&[(1, "yard"), (2, "door")]), "no number comes again");
    run.stop();
    run.join().unwrap();
}

#[test]
fn what_cannot_be_run_is_an_error_that_names_it_and_nothing_has_begun() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    make(at("a.mp4"), (160, 120), 2, true, "-c:v libx264 -pix_fmt yuv420p");
    std::fs::write(at("wrong"), "no colon").unwrap();
    let start = |change: &dyn Fn(&mut RunSpec)| {
        let mut spec = spec(folder.path(), vec![SourceSpec::new(at("a.mp4"))]);
        change(&mut spec);
        Run::start(spec, Options::default()).map(drop).unwrap_err()
    };
    let told = |error: RunError, words: &[&str]| {
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        error
    };
    let spec_error = |error: RunError| assert!(matches!(error, RunError::Spec(_)), "{error:?}");
    spec_error(told(start(&|spec| spec.sources.clear()), &["no [[source]]"]));
    spec_error(told(start(&|spec| spec.shared.min_score = Some(7.0)), &["min-score", "7"]));
    spec_error(told(start(&|spec| spec.each.every = Some(Every::Frames(0))), &["every"]));
    spec_error(told(start(&|spec| spec.shared.web = "0.0.0.0:0".parse().ok()), &["web", "web-token"]));
    let twice = |spec: &mut RunSpec| {
        spec.sources = vec![SourceSpec::new(at("a.mp4")).named("a"), SourceSpec::new(at("a.mp4")).named("a")];
    };
    told(start(&twice), &["\"a\"", "twice"]);
    told(start(&|spec| spec.shared.records = Some(at("a.mp4"))), &["a.mp4", "input"]);
    let credentials = |spec: &mut RunSpec| {
        spec.sources = vec![SourceSpec::new("rtsp://127.0.0.1:1/x")];
        spec.each.credentials = Some(at("wrong"));
    };
    told(start(&credentials), &["wrong", "USER:PASSWORD"]);
    told(start(&|spec| spec.shared.model = Some(at("none.safetensors"))), &["none.safetensors"]);
    assert!(!at("r.jsonl").exists());

    for (text, words) in [
        (r#"{"source": [{"input": "a"}], "evry": 2}"#, ["evry", "every"]),
        (r#"{"source": [{"input": "a", "every": "often"}]}"#, ["every", "often"]),
        (r#"{"source": [{"name": "a"}]}"#, ["input", "source"]),
    ] {
        let error = serde_json::from_str::<RunSpec>(text).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn a_spec_is_plain_data_and_comes_back_from_json() {
    let mut spec = spec(Path::new("out"), vec![SourceSpec::new("a.mp4"), SourceSpec::new("b").named("b")]);
    spec.each.every = Some(Every::Auto);
    spec.sources[1].options.adaptive = Some(true);
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<RunSpec>(&text).unwrap(), spec, "{text}");
}

#[test]
fn a_picture_is_lent_in_any_order_of_colours_and_with_any_stride() {
    let (width, height) = (160, 120);
    let disc = Thing {
        shape: Shape::Blob,
        texture: Texture::Dots,
        colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
        centre: [60.0, 50.0],
        radius: 30.0,
        turn: 0.3,
    };
    let drawn = scene::draw(&scene::ground(width, height), width, height, &[disc]);
    // Each row is followed by what is no part of the picture.
    let rows = |swaps: bool, gap: usize| {
        let mut bytes = Vec::new();
        for row in drawn.rgb.chunks_exact(3 * width as usize) {
            let pixels = row.chunks_exact(3);
            bytes.extend(pixels.flat_map(|p| if swaps { [p[2], p[1], p[0]] } else { [p[0], p[1], p[2]] }));
            bytes.extend(vec![255; gap]);
        }
        bytes
    };
    let checkpoint = Arc::new(Checkpoint::bundled().unwrap());
    let mut analyzer = Analyzer::new(checkpoint, SessionOptions::default(), ModelSize::default());
    let mut found = [(PixelFormat::Rgb, 0), (PixelFormat::Rgb, 7), (PixelFormat::Bgr, 32)].map(|(format, gap)| {
        let bytes = rows(format == PixelFormat::Bgr, gap);
        let plane = [Plane { bytes: &bytes, stride: 3 * width as usize + gap }];
        let picture = PictureView::new(format, (width, height), &plane, Colour::BT601).unwrap();
        let objects = analyzer.analyze(&picture, Feature::Keys).unwrap().detections(&Localizer::default()).unwrap();
        objects.iter().map(|object| (object.bbox, object.score)).collect::<Vec<_>>()
    });
    let [packed, others @ ..] = &mut found;
    let [xmin, ymin, xmax, ymax] = drawn.boxes[0];
    let truth = PixelBox { xmin, ymin, xmax, ymax };
    assert!(packed.iter().any(|(bbox, _)| bbox.iou(&truth) > 0.5), "{packed:?} is not {truth:?}");
    assert!(others.iter().all(|other| other == packed), "{others:?}");
}

/// The long flags of `mostream run`.
fn flags() -> BTreeSet<String> {
    let help = String::from_utf8(program(Path::new("."), &["run", "--help"]).stdout).unwrap();
    let flag = |line: &str| {
        let line = line.trim_start().trim_start_matches(|c: char| c == '-' && !line.trim_start().starts_with("--"));
        let at = line.find("--").filter(|&at| at <= 4)?;
        let name: String = line[at + 2..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        (!name.is_empty()).then_some(name)
    };
    help.lines().filter(|line| line.trim_start().starts_with('-')).filter_map(flag).collect()
}

#[test]
fn every_flag_is_a_key_and_every_key_is_in_the_docs() {
    // Tables are no flags.
    let tables = ["ignore", "line", "mask", "zone"];
    let of_program = ["config", "help", "print-config", "print-pipeline", "version"];
    let flags: BTreeSet<String> = flags().into_iter().filter(|flag| !of_program.contains(&flag.as_str())).collect();
    let keys = [keys_of::<Shared>(), keys_of::<SourceOptions>()].concat();
    assert_eq!(flags, keys.iter().filter(|key| !tables.contains(&key.as_str())).cloned().collect());
    let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md")).unwrap();
    for key in keys {
        assert!(docs.contains(&format!("`{key}`")), "docs/config.md says nothing of {key}");
    }
}

#[test]
fn what_print_config_prints_runs_as_the_flags_did() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    make(at("a.mp4"), (160, 120), 20, true, "-c:v libx264 -pix_fmt yuv420p");
    make(at("b b.mp4"), (160, 120), 20, true, "-c:v libx264 -pix_fmt yuv420p");
    let run = ["run", "first=a.mp4", "b b.mp4", "--records", "r.jsonl", "--size=64x48", "--method", "lost", "--masks"];
    let flags = [&run[..], &["--every", "2", "--start", "0.1", "--duration", "0:0.5", "--min-score", ".05"]].concat();
    let printed = program(folder.path(), &[&flags[..], &["--print-config"]].concat());
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(!at("r.jsonl").exists(), "nothing was run");
    assert!(text.contains("every = 2\n") && text.contains("name = \"first\"\n") && !text.contains("patches"), "{text}");
    std::fs::write(at("c.toml"), &text).unwrap();
    let records = |arguments: &[&str]| {
        let ran = program(folder.path(), arguments);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        frames(&at("r.jsonl"))
    };
    let (of_flags, of_file) = (records(&flags), records(&["run", "--config", "c.toml"]));
    assert!(of_flags.len() > 10 && of_flags.iter().any(|record| !record.objects.is_empty()));
    assert_eq!(of_flags, of_file);

    // Flags that are tables there.
    let tables = ["run", "rtsp://10.0.0.7/x", "--home-assistant", "mqtt://home", "--publish", "mqtt://broker", "--web"];
    let printed = program(folder.path(), &[&tables[..], &["--print-config"]].concat()).stdout;
    std::fs::write(at("t.toml"), &printed).unwrap();
    let again = program(folder.path(), &["run", "--config", "t.toml", "--print-config"]);
    assert_eq!(String::from_utf8(again.stdout).unwrap(), String::from_utf8(printed).unwrap());
    assert!(program(folder.path(), &["config", "check", "t.toml"]).status.success());

    let secret = program(folder.path(), &["run", "rtsp://me:s3cret@10.0.0.7/x", "--print-config"]);
    let text = String::from_utf8(secret.stdout).unwrap();
    assert!(
        text.contains("\"rtsp://10.0.0.7/x\"") && text.contains("credentials") && !text.contains("s3cret"),
        "{text}"
    );
    let empty = program(folder.path(), &["run", "a.mp4", "--segment", "1m", "--print-config"]);
    assert_eq!(empty.status.code(), Some(2), "it would not run");
}

#[test]
fn sighup_reads_the_file_again_and_the_others_do_not_notice() {
    let folder = tempfile::tempdir().unwrap();
    let (config, records, log) =
        (folder.path().join("c.toml"), folder.path().join("r.jsonl"), folder.path().join("log"));
    let head = "records = \"r.jsonl\"\nsize = \"64x48\"\nmethod = \"lost\"\n";
    let source = |name: &str, fps: u32| format!("[[source]]\nname = \"{name}\"\ninput = \"{}\"\n", pipeline(fps));
    let write = |text: String| std::fs::write(&config, text).unwrap();
    write([head, &source("stays", 15), &source("goes", 5), &source("changes", 5)].concat());
    let said = std::fs::File::create(&log).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_mostream"))
        .current_dir(&folder)
        .args(["run", "--config", "c.toml"])
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .unwrap();
    let signal = |signal: &str| {
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    };
    let of = |name: &str| {
        let text = std::fs::read_to_string(&records).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let records = whole.lines().filter_map(|line| serde_json::from_str::<FrameRecord>(line).ok());
        Vec::from_iter(records.filter(|record| record.source == name))
    };
    let says = |word: &str| std::fs::read_to_string(&log).unwrap().contains(word);
    until("all", || ["stays", "goes", "changes"].iter().all(|name| of(name).len() > 3));

    write([head, "masks = true\n", &source("stays", 15), &source("changes", 6), &source("comes", 5)].concat());
    signal("-HUP");
    until("the new one", || !of("comes").is_empty());
    until("it is told", || says("removed goes, changes, added changes, comes"));
    assert!(says("from the next start on: masks"), "{}", std::fs::read_to_string(&log).unwrap());
    let gone = of("goes").len();
    until("the changed one goes on", || of("changes").windows(2).any(|pair| pair[1].frame < pair[0].frame));

    write([head, &source("stays", 15), "[[source]]\nname = \"x\"\n"].concat());
    signal("-HUP");
    until("the fault", || says("nothing has changed: c.toml:"));
    assert!(says("c.toml:7: source 2: it has no input"), "{}", std::fs::read_to_string(&log).unwrap());
    // Of a source that cannot be opened the others are not removed either.
    write([head, &source("stays", 15), &source("comes", 5), "credentials = \"none\"\n"].concat());
    signal("-HUP");
    until("the next fault", || says("nothing has changed: c.toml:10: none: "));
    let before = (of("stays").len(), of("comes").len());
    until("all go on", || of("stays").len() > before.0 + 5 && of("comes").len() > before.1 + 2);
    assert_eq!(of("goes").len(), gone);

    signal("-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let stays = Vec::from_iter(of("stays").iter().map(|record| record.frame));
    assert_eq!(stays, Vec::from_iter(0..stays.len() as u64), "it noticed nothing");
    assert!(of("stays").iter().all(|record| record.run == of("comes")[0].run), "it is one run");
    assert!(says("stays: live") && !says("stays: lost"));
}
