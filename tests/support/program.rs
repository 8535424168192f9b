//! The program: how it is started, waited for and ended, and what it wrote.

use super::validate_line;
use mostream::record::FrameRecord;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mostream");

/// The program in a folder.
pub fn mostream(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    // What it keeps between runs is the test's own.
    command.env("XDG_STATE_HOME", folder.join(".state")).env_remove("STATE_DIRECTORY");
    command.current_dir(folder).args(arguments);
    command
}

/// Another program of this project, from `examples`.
pub fn example(name: &str) -> PathBuf {
    Path::new(PROGRAM).with_file_name("examples").join(name)
}

/// These tests again, in a process of their own in which only the one of that name runs; its module is `module_path!()`.
pub fn alone(module: &str, test: &str) -> Command {
    let module = module.split_once("::").map_or("", |(_, inner)| inner);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("{module}::{test}"), "--nocapture"]);
    command
}

/// What it said on stderr.
pub fn stderr(ran: &Output) -> String {
    String::from_utf8_lossy(&ran.stderr).into_owned()
}

/// The exit code, and what it said on stderr.
pub fn outcome(ran: &Output) -> (Option<i32>, String) {
    (ran.status.code(), stderr(ran))
}

/// Asserts that it failed with this code, nothing on stdout, and one line on stderr in which all these words are.
#[track_caller]
pub fn fails(ran: &Output, code: i32, words: &[&str]) {
    let error = stderr(ran);
    assert_eq!(ran.status.code(), Some(code), "{error}");
    assert!(ran.stdout.is_empty(), "{error}");
    assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    words.iter().for_each(|word| assert!(error.contains(word), "{error:?} does not say {word:?}"));
}

/// Sends it `INT`, `TERM` or another signal.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success(), "{name}");
}

/// Waits, as long as a test may.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The records of frames, and nothing else, as the program writes them.
#[track_caller]
pub fn records(text: &[u8]) -> Vec<FrameRecord> {
    let text = std::str::from_utf8(text).unwrap();
    text.lines().map(|line| validate_line(line).unwrap()).collect()
}

/// The same of a file.
#[track_caller]
pub fn records_in(path: &Path) -> Vec<FrameRecord> {
    records(&std::fs::read(path).unwrap())
}

/// The lines of a file that are whole; none where it is not there yet.
pub fn whole_lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::to_owned).collect()
}

/// The names in a folder, sorted.
pub fn files_in(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// A file of `tests/golden`.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}
