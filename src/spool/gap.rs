//! What is lost, in words that can be sent.

use serde::{Deserialize, Serialize};

/// Gaps that are told apart; what is more becomes one.
const MOST_GAPS: usize = 64;

/// Letters of one source that will not arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Which run of the program they were of, and which source; empty where that is not known any more.
    pub run: String,
    pub source: String,
    pub cause: Cause,
    /// How many.
    pub lost: u64,
    /// The first and the last frame of which something is lost, where it was of frames.
    pub first_frame: Option<u64>,
    pub last_frame: Option<u64>,
    /// When the first and the last of them came, in nanoseconds since 1970; 0 where that is not known.
    pub first_unix_ns: u64,
    pub last_unix_ns: u64,
}

/// Why they are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// More waited than may.
    Bound,
    /// They waited for longer than they may.
    Age,
    /// The disk did not take them.
    Disk,
    /// The disk was so slow that they were not put in.
    Busy,
    /// The receiver will never take them.
    Refused,
    /// What the disk held is not what was written.
    Damaged,
}

impl Cause {
    pub const ALL: [Self; 6] = [Self::Bound, Self::Age, Self::Disk, Self::Busy, Self::Refused, Self::Damaged];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Age => "age",
            Self::Disk => "disk",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Damaged => "damaged",
        }
    }
}

impl Gap {
    /// Of letters of which nothing is known but how many there were.
    pub fn unknown(lost: u64, cause: Cause) -> Self {
        Self {
            run: String::new(),
            source: String::new(),
            cause,
            lost,
            first_frame: None,
            last_frame: None,
            first_unix_ns: 0,
            last_unix_ns: 0,
        }
    }

    fn join(&mut self, other: &Self) {
        self.lost += other.lost;
        let both = |one: Option<u64>, other: Option<u64>, choose: fn(u64, u64) -> u64| match (one, other) {
            (Some(one), Some(other)) => Some(choose(one, other)),
            (one, other) => one.or(other),
        };
        self.first_frame = both(self.first_frame, other.first_frame, u64::min);
        self.last_frame = both(self.last_frame, other.last_frame, u64::max);
        self.first_unix_ns = match (self.first_unix_ns, other.first_unix_ns) {
            (0, at) | (at, 0) => at,
            (one, other) => one.min(other),
        };
        self.last_unix_ns = self.last_unix_ns.max(other.last_unix_ns);
    }
}

/// Gaps, of which those of one run, source and cause are one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gaps(Vec<Gap>);

impl Gaps {
    pub fn add(&mut self, gap: Gap) {
        let is_same = |other: &&mut Gap| (&other.run, &other.source, other.cause) == (&gap.run, &gap.source, gap.cause);
        if let Some(same) = self.0.iter_mut().find(is_same) {
            return same.join(&gap);
        }
        if self.0.len() < MOST_GAPS {
            return self.0.push(gap);
        }
        if let Some(last) = self.0.last_mut() {
            last.join(&Gap { first_frame: None, last_frame: None, ..gap });
            *last =
                Gap { run: String::new(), source: String::new(), first_frame: None, last_frame: None, ..last.clone() };
        }
    }

    pub fn first(&self) -> Option<&Gap> {
        self.0.first()
    }

    pub fn remove_first(&mut self) {
        if !self.0.is_empty() {
            self.0.remove(0);
        }
    }
}
