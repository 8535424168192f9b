//! Clients of brokers against the brokers: what was acknowledged is there, in order and whole, whatever happens to either and to the network
//! between them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is not as it should be")]

#[path = "../support/mod.rs"]
mod support;

mod file;
mod home_assistant;
mod hostile;
mod kafka;
mod mqtt;
mod nats;
mod redis;
mod run;
mod webhook;
mod zeromq;

use mostream::broker::{Client, Delivered, Failure, Letter, Target, open};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A client, and what it runs on.
struct Sender {
    runtime: tokio::runtime::Runtime,
    client: Box<dyn Client>,
}

impl Sender {
    fn new(target: &Target) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, client: open(target).unwrap() }
    }

    fn deliver(&mut self, letters: &[Letter]) -> Delivered {
        let (runtime, client) = (&self.runtime, &mut self.client);
        let delivered =
            runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), client.deliver(letters)).await });
        delivered.unwrap_or_else(|_| panic!("it never comes back"))
    }

    /// All of them, however often it takes; what was acknowledged is not handed over again.
    #[track_caller]
    fn deliver_all(&mut self, mut letters: &[Letter]) {
        for _ in 0..50 {
            let delivered = self.deliver(letters);
            letters = &letters[delivered.acknowledged..];
            match delivered.failure {
                None => return assert!(letters.is_empty()),
                Some(Failure::Away(_)) => std::thread::sleep(Duration::from_millis(100)),
                Some(refused) => panic!("{refused:?}"),
            }
        }
        panic!("{} are left", letters.len());
    }

    /// Why none of them was acknowledged: the broker is away, in one line.
    #[track_caller]
    fn is_away(&mut self) -> String {
        self.is_away_with(&letters(0..3))
    }

    #[track_caller]
    fn is_away_with(&mut self, letters: &[Letter]) -> String {
        let delivered = self.deliver(letters);
        assert_eq!(delivered.acknowledged, 0);
        match delivered.failure {
            Some(Failure::Away(line)) if line.lines().count() == 1 => line,
            other => panic!("{other:?}"),
        }
    }

    /// Sees what happens to its connection meanwhile.
    fn rests(&self) {
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(200)).await });
    }

    fn check(&mut self) -> Result<(), Failure> {
        self.runtime.block_on(self.client.check())
    }

    fn close(mut self) {
        self.runtime.block_on(self.client.close());
    }
}

/// At an address, with less patience than usual.
fn at(url: &str) -> Target {
    Target { url: url.to_owned(), timeout: Duration::from_secs(2), ..Target::default() }
}

fn letters(numbers: std::ops::Range<usize>) -> Vec<Letter> {
    let letter = |n: usize| Letter {
        topic: "site/door".into(),
        source: "door".into(),
        id: format!("run-door-{n}"),
        content_type: "application/json".into(),
        retain: false,
        headers: vec![("ce-id".into(), format!("run-door-{n}"))],
        body: format!("{{\"n\":{n},\"name\":\"Tür\"}}").into_bytes(),
    };
    numbers.map(letter).collect()
}

/// Who has not all that `whole` names is not let in, and told why.
#[track_caller]
fn lets_nobody_else_in(whole: &Target, letters: &[Letter]) {
    let beside = |path: &Option<PathBuf>, name: &str| path.as_ref().unwrap().with_file_name(name);
    let away = |target: Target| Sender::new(&target).is_away_with(letters);
    let wrong = beside(&whole.credentials, "wrong");
    std::fs::write(&wrong, "camera:hunter22").unwrap();
    says(&away(Target { credentials: Some(wrong), ..whole.clone() }), &["does not let in whom", "/wrong"]);
    says(&away(Target { credentials: None, ..whole.clone() }), &["without credentials"]);
    let other = Some(beside(&whole.ca, "other.pem"));
    says(&away(Target { ca: other, ..whole.clone() }), &["vouched for by nobody", "/other.pem"]);
    says(&away(Target { cert: None, key: None, ..whole.clone() }), &["client's certificate (there is none)"]);
}

fn bodies(letters: &[Letter]) -> Vec<String> {
    letters.iter().map(|letter| String::from_utf8(letter.body.clone()).unwrap()).collect()
}

/// A file with this text, in this folder.
fn file(folder: &Path, name: &str, text: &str) -> Option<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    Some(path)
}

#[track_caller]
fn says(line: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(line.contains(word), "{line:?} does not say {word:?}"));
    assert!(!line.contains("hunter2"), "{line}");
}
