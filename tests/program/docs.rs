//! What README and docs tell people to type, typed: every block runs, or says in `PASSED_OVER` why it cannot here.

use crate::support::camera::RtspCamera;
use crate::support::program::{self, PROGRAM, golden, until};
use crate::support::scene::{self, Shape, Texture, Thing};
use crate::support::{OPEN_SCHEMA, clips};
use mostream::picture::{RgbImage, write_jpeg};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Lines that do not run here, by how they begin, and why. Whatever is not among them runs.
const PASSED_OVER: [(&str, &str); 23] = [
    ("make ", "builds and tests all of this: `demo.rs` runs the demo"),
    ("cargo ", "builds"),
    ("install -", "writes to the system's folders, as root"),
    ("podman ", "needs Podman, and builds"),
    ("python3 -m venv", "makes an environment for a device that is not here"),
    (".venv-", "fetches a device's libraries"),
    ("export LD_LIBRARY_PATH=", "a device's libraries are not here"),
    ("mostream run street.mp4 --device openvino", "needs the OpenVINO build of ONNX Runtime"),
    ("mostream run street.mp4 --device cuda", "needs a GPU"),
    ("mostream warmup street.mp4 --device tensorrt", "needs a GPU"),
    ("mostream doctor ", "says which of a device's libraries are there: `doctor.rs` runs it"),
    ("mostream run cam", "needs a webcam"),
    ("mostream model pull", "needs the network: `pull.rs` has a server"),
    ("mostream model default recommended", "is of what was pulled: `model_cli.rs` chooses another"),
    ("journalctl ", "needs the service"),
    ("curl ", "needs a page at port 8600: `web.rs` and `control.rs` ask one"),
    ("token=", "of a page at port 8600"),
    ("mostream eval VOCdevkit", "needs VOC's 2 GB: `eval.rs` draws a set, and the readers' tests one of each layout"),
    ("mostream eval coco", "needs COCO's pictures"),
    ("mostream eval clips", "needs annotated clips: `eval.rs` draws some"),
    ("mostream eval scenes", "needs scenes of 240 s: `eval.rs` draws short ones"),
    ("mostream eval still", "needs a scene of an hour"),
    ("e /var/lib", "a line of systemd-tmpfiles"),
];

/// A block of code: its language, the line it begins at, and what it holds.
struct Block {
    file: String,
    line: usize,
    language: String,
    text: String,
}

/// Every block of README and docs.
fn blocks() -> Vec<Block> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md")];
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    files.extend(docs.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    files.sort();
    let mut blocks: Vec<Block> = Vec::new();
    for path in files {
        let (mut open, file) = (None::<Block>, path.file_name().unwrap().to_str().unwrap().to_owned());
        for (number, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            match (line.strip_prefix("```"), open.take()) {
                (Some(_), Some(block)) => blocks.push(block),
                (Some(language), None) => {
                    let (language, text) = (language.to_owned(), String::new());
                    open = Some(Block { file: file.clone(), line: number + 1, language, text });
                }
                (None, Some(block)) => open = Some(Block { text: block.text + line + "\n", ..block }),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{file}: a block does not end");
    }
    blocks
}

fn of_language(language: &str) -> impl Iterator<Item = Block> {
    blocks().into_iter().filter(move |block| block.language == language)
}

/// The lines of a shell block, each whole, that are to run.
fn commands(block: &Block) -> Vec<String> {
    let whole = block.text.replace("\\\n", " ");
    let is_run = |line: &&str| !line.is_empty() && !PASSED_OVER.iter().any(|(start, _)| line.starts_with(start));
    whole.lines().map(str::trim).filter(is_run).map(str::to_owned).collect()
}

fn disc(x: f32) -> Thing {
    Thing {
        shape: Shape::Blob,
        texture: Texture::Dots,
        colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
        centre: [x, 50.0],
        radius: 26.0,
        turn: 0.3,
    }
}

/// What the docs name, drawn: a clip of 100 s, folders of clips and of photos, a photo, a checkpoint, named groups.
fn inputs(folder: &Path) {
    let at = |name: &str| folder.join(name);
    for folder in ["videos", "footage", "photos"] {
        std::fs::create_dir(at(folder)).unwrap();
    }
    let (width, height) = (160, 120);
    let ground = scene::ground(width, height);
    let pictures = (0..100).map(|frame| scene::draw(&ground, width, height, &[disc(50.0 + (frame % 2) as f32 * 50.0)]));
    clips::film_at(1.0, at("street.mp4"), (width, height), pictures, clips::X264);
    clips::make(at("videos/a.mp4"), (width, height), 4, true, clips::X264);
    for name in ["yard.mp4", "videos/b.mp4", "footage/a.mp4", "footage/b.mp4"] {
        std::fs::copy(at("videos/a.mp4"), at(name)).unwrap();
    }
    let photo = |name: &str, kind: &str, variant: u32, (width, height): (u32, u32)| {
        let rgb = crate::support::of_kind(kind, variant, (width, height));
        write_jpeg(&at(name), &RgbImage::from_raw(width, height, rgb).unwrap(), 95).unwrap();
    };
    for variant in 0..4 {
        for kind in ["ball", "star", "blob"] {
            photo(&format!("photos/{kind}{variant}.jpg"), kind, variant, (192, 144));
        }
    }
    photo("photo.jpg", "ball", 0, (320, 240));
    std::fs::copy(golden("families/dino_training.pth"), at("checkpoint.pth")).unwrap();
}

/// The program under its name, at a small size where none is said, and with a page at a port that is free. Groups are of one object a photo,
/// so that three kinds make three.
fn program_in(folder: &Path) -> PathBuf {
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let script = format!(
        "#!/usr/bin/env bash\ndeclare -a all; size=--size=64x48\nfor one; do\n  case $one in --web) one=--web=127.0.0.1:0;; \
         discover) size=--method=tokencut;; \
         --size*|--config|--name|import|export|list|default|localize|features|sources) size=;; esac\n  all+=(\"$one\")\ndone\n\
         exec {PROGRAM:?} \"${{all[@]}}\" $size\n"
    );
    std::fs::write(bin.join("mostream"), script).unwrap();
    std::fs::set_permissions(bin.join("mostream"), std::fs::Permissions::from_mode(0o755)).unwrap();
    bin
}

/// A shell in the folder that finds the program there.
fn shell(folder: &Path, bin: &Path, line: &str) -> Command {
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", line]).current_dir(folder).env("PATH", path);
    command.env("XDG_STATE_HOME", folder.join(".state")).env("MOSTREAM_MODELS", folder.join(".models"));
    command
}

#[test]
fn every_command_runs() {
    let all = tempfile::tempdir().unwrap();
    inputs(all.path());
    let bin = program_in(all.path());
    let groups = shell(all.path(), &bin, "mostream discover photos -o found --groups 3 -q").output().unwrap();
    assert!(groups.status.success(), "{}", program::stderr(&groups));
    let camera = RtspCamera::start(crate::support::camera::free_port(), &[]);
    let mut ran = 0;
    for block in of_language("sh") {
        // A block is what one person types in one folder.
        let folder = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").args(["-r"]).arg(all.path().join(".")).arg(folder.path()).status().unwrap();
        assert!(copied.success());
        if commands(&block).iter().any(|line| line.contains("discover footage")) {
            std::fs::remove_dir_all(folder.path().join("found")).unwrap();
        }
        let settings = format!("records = \"r.jsonl\"\n[[source]]\nname = \"door\"\ninput = \"{}\"\n", camera.url());
        std::fs::write(folder.path().join("cameras.toml"), settings).unwrap();
        for line in commands(&block) {
            let place = format!("{}:{}: {line}", block.file, block.line);
            let local =
                line.replace("rtsp://10.0.0.7/stream", &camera.url()).replace("rtsp://10.0.0.8/stream", &camera.url());
            let is_live = local.contains("rtsp://") || local.contains("cameras.toml");
            let mut command = shell(folder.path(), &bin, &if is_live { format!("exec {local}") } else { local });
            if !is_live {
                let done = command.output().unwrap();
                assert!(done.status.success(), "{place}: {}", program::stderr(&done));
            } else {
                let told = std::fs::File::create(folder.path().join("told")).unwrap();
                let mut child = command.stdout(Stdio::null()).stderr(told).spawn().unwrap();
                let said = || std::fs::read_to_string(folder.path().join("told")).unwrap();
                until(&place, || said().contains(": live") || child.try_wait().unwrap().is_some());
                program::signal(&child, "INT");
                assert_eq!(child.wait().unwrap().code(), Some(130), "{place}: {}", said());
            }
            ran += 1;
        }
    }
    assert!(ran >= 20, "only {ran} commands were found");
}

#[test]
fn nothing_is_passed_over_that_is_not_there() {
    let blocks = blocks();
    for (start, _) in PASSED_OVER {
        let is_there = blocks.iter().any(|block| block.text.lines().any(|line| line.trim().starts_with(start)));
        assert!(is_there, "no line begins with {start:?} any more");
    }
    let known = ["sh", "toml", "json", "rust", "ini", "yaml", "text", ""];
    for Block { file, line, language, .. } in &blocks {
        assert!(known.contains(&language.as_str()), "{file}:{line}: nothing looks after blocks of {language:?}");
    }
}

#[test]
fn every_record_keeps_to_the_schema() {
    let lines =
        Vec::from_iter(of_language("json").flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>()));
    assert!(lines.len() >= 4);
    for line in lines {
        let value: Value = serde_json::from_str(&line).unwrap();
        let faults = Vec::from_iter(OPEN_SCHEMA.iter_errors(&value).map(|error| error.to_string()));
        assert!(faults.is_empty(), "{line}: {faults:?}");
    }
}

#[test]
fn every_config_file_is_one() {
    let folder = tempfile::tempdir().unwrap();
    for secret in ["door", "mqtt", "hook"] {
        std::fs::write(folder.path().join(format!("{secret}.secret")), "me:s3cret\n").unwrap();
    }
    let mut checked = 0;
    for Block { file, line, text, .. } in of_language("toml") {
        let here = folder.path().to_str().unwrap();
        let text = text.replace("/var/lib/mostream", here).replace("/etc/mostream", here).replace(":8600", ":0");
        // A part of a source's tables stands for itself.
        let head = if text.contains("[[source]]") {
            ""
        } else {
            "[[source]]\nname = \"yard\"\ninput = \"rtsp://10.0.0.8/stream\"\n"
        };
        std::fs::write(folder.path().join("c.toml"), format!("{head}{text}")).unwrap();
        let done = program::mostream(folder.path(), &["config", "check", "c.toml"]).output().unwrap();
        assert!(done.status.success(), "{file}:{line}: {}", program::stderr(&done));
        checked += 1;
    }
    assert!(checked >= 2);
}
