//! Files, pipes and standard output.

use super::{Sender, at, bodies, letters, says};
use crate::support::program::alone;
use mostream::broker::{Delivered, Failure, Target};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::tempdir;

fn at_path(path: &Path) -> Target {
    at(&format!("file:{}", path.display()))
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn lines_are_appended_to_a_file_wherever_it_was_moved() {
    let folder = tempdir().unwrap();
    let (path, moved) = (folder.path().join("lines"), folder.path().join("moved"));
    let letters = letters(0..5000);
    let mut sender = Sender::new(&at_path(&path));
    sender.check().unwrap();
    sender.deliver_all(&letters[..4000]);
    assert_eq!(lines(&path), bodies(&letters[..4000]));
    std::fs::rename(&path, &moved).unwrap();
    sender.deliver_all(&letters[4000..4500]);
    assert_eq!((lines(&moved).len(), lines(&path)), (4000, bodies(&letters[4000..4500])));

    // After what somebody wrote of a line, there is a new one.
    std::fs::write(&path, "torn").unwrap();
    Sender::new(&at(&format!("file://{}", path.display()))).deliver_all(&letters[..2]);
    assert_eq!(lines(&path), [vec!["torn".to_owned()], bodies(&letters[..2])].concat());
}

#[test]
fn what_is_no_line_is_refused_and_json_is_made_one() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("lines");
    let mut sender = Sender::new(&at_path(&path));
    let mut letters = letters(0..4);
    letters[1].body = b"{\n  \"n\": 1\r\n}".to_vec();
    letters[2].body = vec![0xff, 0xd8];
    letters[3].content_type = "text/plain".into();
    letters[3].body = b"two\nlines".to_vec();
    let Delivered { acknowledged, failure: Some(Failure::Refused(line)) } = sender.deliver(&letters) else { panic!() };
    says(&line, &["/lines", "site/door"]);
    assert_eq!((acknowledged, lines(&path)[1].as_str()), (2, "{   \"n\": 1  }"));
    assert!(matches!(sender.deliver(&letters[3..]).failure, Some(Failure::Refused(_))));
}

#[test]
fn a_folder_that_is_not_there_or_full_is_away() {
    let folder = tempdir().unwrap();
    says(&Sender::new(&at_path(&folder.path().join("none/lines"))).is_away(), &["none/lines", "No such file"]);
    says(&Sender::new(&at_path(folder.path())).is_away(), &["directory"]);
    says(&Sender::new(&at("file:/dev/full")).is_away(), &["/dev/full", "No space left"]);
}

#[test]
fn a_pipe_that_nobody_reads_for_a_while_loses_nothing() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let letters = letters(0..6000);
    let mut sender = Sender::new(&at_path(&path));
    says(&sender.is_away_with(&letters), &["/pipe", "within 2s", "does anybody read it?"]);

    // Somebody reads some, then nothing for longer than anybody waits, then the rest; it sees no end between two writers.
    let pipe = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let (go_on, goes_on) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe).lines().map(Result::unwrap);
        let mut read: Vec<String> = lines.by_ref().take(100).collect();
        goes_on.recv().unwrap();
        read.extend(lines.take(5900));
        read
    });
    let delivered = sender.deliver(&letters);
    says(&delivered.failure.unwrap().to_string(), &["nothing was written within 2s"]);
    assert!((100..6000).contains(&delivered.acknowledged), "{}", delivered.acknowledged);
    go_on.send(()).unwrap();
    sender.deliver_all(&letters[delivered.acknowledged..]);
    assert_eq!(reading.join().unwrap(), bodies(&letters));
}

#[test]
fn standard_output_is_a_line_for_each_and_may_end() {
    if let Some(told) = std::env::var_os("MOSTREAM_TEST_PRINTS") {
        let mut sender = Sender::new(&at("file:-"));
        sender.deliver_all(&letters(0..1000));
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return std::fs::write(told, sender.is_away()).unwrap();
    }
    let folder = tempdir().unwrap();
    let told = folder.path().join("told");
    let mut command = alone(module_path!(), "standard_output_is_a_line_for_each_and_may_end");
    command.env("MOSTREAM_TEST_PRINTS", &told).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let printed: Vec<String> = lines.filter(|line| line.contains("\"n\"")).take(1000).collect();
    drop(child.stdin.take());
    assert_eq!(printed, bodies(&letters(0..1000)));
    // Its own last line is one that nobody reads either.
    child.wait().unwrap();
    says(&std::fs::read_to_string(told).unwrap(), &["standard output", "nobody reads it any more"]);
}
