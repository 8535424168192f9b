//! Which records one receiver gets, how often, in whose words, and under which topic.

use crate::broker::Letter;
use crate::dialect::{Attributes, Dialect, Encoded, Record, headers, structured};
use crate::engine::sink::Message;
use crate::record::{FrameRecord, ObjectRecord};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::time::Duration;

/// What one receiver gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    pub dialect: Dialect,
    /// How messages are wrapped.
    pub cloud_events: Option<CloudEvents>,
    /// None where the receiver knows no topics.
    pub topic: Option<Topic>,
    /// Names of sources; all where it is none.
    pub sources: Option<Vec<String>>,
    pub kinds: Kinds,
    pub pace: Pace,
}

/// CloudEvents around a message: one JSON document, or headers beside it where the broker knows headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloudEvents {
    Structured,
    Binary,
}

/// The kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordKind {
    Frame,
    Event,
    State,
    End,
    #[serde(skip)]
    Gap,
}

/// Those that are wanted; all where it is none.
pub type Kinds = Option<Vec<RecordKind>>;

/// Which frames are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Pace {
    #[default]
    All,
    /// The first of so many.
    Frames(u64),
    /// One in so much time, by the source's clock.
    Time(Duration),
    /// Those in which other things are there than in the one before.
    Change,
}

/// As it stands in files: a number of frames, a time, or `change`.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of frames, a time such as 2s, or change")]
enum Written {
    Frames(u64),
    Word(String),
}

/// A topic, subject or stream, in which `{source}` and `{kind}` stand for the record's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pattern: String,
}

/// What a receiver got of one source so far.
#[derive(Debug, Default)]
pub struct Past {
    frames: u64,
    /// Time stamp of the last frame that was told.
    last_ns: Option<u64>,
    /// What was there in it.
    things: Option<u64>,
}

impl RecordKind {
    pub fn of(message: &Message) -> Self {
        match message {
            Message::Frame { .. } => Self::Frame,
            Message::Event(_) => Self::Event,
            Message::State(_) => Self::State,
            Message::End(_) => Self::End,
        }
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Event => "event",
            Self::State => "state",
            Self::End => "end",
            Self::Gap => "gap",
        }
    }
}

impl Choice {
    /// Whether the receiver gets anything of this source.
    pub fn has_source(&self, name: &str) -> bool {
        self.sources.as_ref().is_none_or(|names| names.iter().any(|other| other == name))
    }

    /// Whether it gets this record.
    pub fn wants(&self, message: &Message, past: &mut Past) -> bool {
        let kind = RecordKind::of(message);
        if self.kinds.as_ref().is_some_and(|kinds| !kinds.contains(&kind)) {
            return false;
        }
        match message {
            Message::Frame { record, .. } => past.next(record, self.pace),
            Message::Event(_) | Message::State(_) | Message::End(_) => true,
        }
    }
}

impl Past {
    fn next(&mut self, record: &FrameRecord, pace: Pace) -> bool {
        let number = self.frames;
        self.frames += 1;
        match pace {
            Pace::All => true,
            Pace::Frames(frames) => number.is_multiple_of(frames.max(1)),
            Pace::Time(time) => {
                // A clock that went back is another.
                let is_soon = |last: u64| record.pts_ns >= last && u128::from(record.pts_ns - last) < time.as_nanos();
                let is_due = !self.last_ns.is_some_and(is_soon);
                if is_due {
                    self.last_ns = Some(record.pts_ns);
                }
                is_due
            }
            Pace::Change => {
                let things = Some(things(&record.objects));
                std::mem::replace(&mut self.things, things) != things
            }
        }
    }
}

/// What is there, without where: the tracks and their states, or how many.
fn things(objects: &[ObjectRecord]) -> u64 {
    let mut tracks =
        Vec::from_iter(objects.iter().map(|object| object.track.map(|track| (track.id, track.state as u8))));
    tracks.sort_unstable();
    let labels = Vec::from_iter(objects.iter().map(|object| &object.label));
    let mut hasher = DefaultHasher::new();
    (tracks, labels).hash(&mut hasher);
    hasher.finish()
}

impl Choice {
    /// Where gaps of this source go: who reads another system's words finds none among them, but below them where the topic says nothing of the
    /// kind.
    pub fn gap_topic(&self, source: &str) -> String {
        let Some(topic) = &self.topic else { return String::new() };
        let of_all = topic.of(source, RecordKind::Gap);
        if self.dialect == Dialect::Mostream || topic.pattern.contains("{kind}") {
            return of_all;
        }
        let between = topic.pattern.chars().find(|c| "/.:".contains(*c)).unwrap_or('.');
        format!("{of_all}{between}gap")
    }

    /// The letters that a record comes to; none where the dialect has no words for it. `id` is the record's, `in_topics` the source's name there.
    pub fn letters(
        &self,
        message: &Message,
        encoded: &[Encoded],
        id: &str,
        (source, in_topics): (&str, &str),
    ) -> Vec<Letter> {
        let topic = self.topic.as_ref().map_or_else(String::new, |topic| topic.of(in_topics, RecordKind::of(message)));
        let letter = |(number, encoded): (usize, &Encoded)| {
            // The record's own, where it is the only one.
            let id = if number == 0 { id.to_owned() } else { format!("{id}/{number}") };
            let attributes = || Attributes::new(record_of(message), &id);
            let (encoded, headers) = match self.cloud_events {
                None => (encoded.clone(), Vec::new()),
                Some(CloudEvents::Structured) => (structured(&attributes(), encoded), Vec::new()),
                Some(CloudEvents::Binary) => (encoded.clone(), headers(&attributes(), encoded)),
            };
            let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let Encoded { body, content_type } = encoded;
            let (topic, source) = (topic.clone(), source.to_owned());
            Letter { topic, source, id, content_type: content_type.into(), retain: false, headers, body }
        };
        encoded.iter().enumerate().map(letter).collect()
    }
}

/// A message in the words of all.
pub fn record_of(message: &Message) -> Record<'_> {
    match message {
        Message::Frame { record, .. } => Record::Frame(record),
        Message::Event(record) => Record::Event(record),
        Message::State(record) => Record::State(record),
        Message::End(record) => Record::End(record),
    }
}

impl Topic {
    fn of(&self, source: &str, kind: RecordKind) -> String {
        self.pattern.replace("{source}", &one_level(source)).replace("{kind}", kind.name())
    }
}

impl FromStr for Topic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.replace("{source}", "").replace("{kind}", "");
        let wrong = |why: &str| Err(format!("{text:?}: {why}"));
        if text.is_empty() || text.len() > 512 {
            return wrong("expected a topic such as mostream/{source}/{kind}, of at most 512 bytes");
        }
        if rest.contains(['{', '}']) {
            return wrong("in a topic only {source} and {kind} stand for something");
        }
        if rest.contains(|c: char| c.is_control() || c.is_whitespace() || "+#*>".contains(c)) {
            return wrong(
                "a topic has no blanks, no control characters, and none of + # * >, which stand for many topics",
            );
        }
        if text.starts_with('$') {
            return wrong("topics that begin with $ are the broker's own");
        }
        Ok(Self { pattern: text.to_owned() })
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.pattern)
    }
}

/// A source's name as one level of any topic.
pub fn one_level(source: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    source.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

impl TryFrom<Written> for Pace {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Frames(1) => Ok(Self::All),
            Written::Frames(frames @ 2..) => Ok(Self::Frames(frames)),
            Written::Word(word) if word == "change" => Ok(Self::Change),
            Written::Word(word) => match (word.parse::<u64>(), humantime::parse_duration(&word)) {
                (Ok(frames @ 1..), _) => Written::Frames(frames).try_into(),
                (Err(_), Ok(time)) if !time.is_zero() => Ok(Self::Time(time)),
                _ => Err(format!("expected a number of frames, a time such as 2s, or change, not {word:?}")),
            },
            Written::Frames(number) => Err(format!("expected 1 or more frames, not {number}")),
        }
    }
}

impl From<Pace> for Written {
    fn from(pace: Pace) -> Self {
        match pace {
            Pace::All => Self::Frames(1),
            Pace::Frames(frames) => Self::Frames(frames),
            Pace::Time(time) => Self::Word(humantime::format_duration(time).to_string()),
            Pace::Change => Self::Word("change".into()),
        }
    }
}
