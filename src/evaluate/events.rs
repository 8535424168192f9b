//! Measures of what happened: events that were told against those that are true, one to one, by kind, zone, side and time.

use super::sample::{self, Estimate, Ratio};
use crate::assign::assign;
use crate::record::{EventName, EventRecord, Phase};
use crate::zones::{Line, Side, Zone};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An event is right that begins so near to a true one.
pub const TOLERANCE_NS: u64 = 1_000_000_000;
/// Events of one kind at one place that are all near each other, in pairs; of more the nearest are taken first.
const MOST_PAIRINGS: usize = 1 << 20;

/// What is true of a clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    pub zones: Vec<Zone>,
    pub lines: Vec<Line>,
    pub events: Vec<Event>,
    /// What is shown, and what makes it hard, in a word.
    pub situation: Option<String>,
    pub disturbance: Option<String>,
}

/// Something that happened, in the clip's own time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub event: EventName,
    pub start_ns: u64,
    /// None where it goes on; of what does not last it is of no meaning.
    #[serde(default)]
    pub end_ns: Option<u64>,
    /// The zone's or line's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// Which of the clip's things it is about; none of what the whole picture does, and of what was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing: Option<u64>,
}

/// An event as the program told it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub event: Event,
    /// How long after it began it was told.
    pub delay_ns: u64,
}

/// What was told of one clip.
#[derive(Clone, Debug)]
pub struct Clip<'a> {
    pub id: &'a str,
    pub story: &'a Story,
    pub told: Vec<Told>,
    /// How long it is.
    pub length_ns: u64,
}

/// All measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub kinds: Vec<Row>,
    pub situations: Vec<Row>,
    pub disturbances: Vec<Row>,
    /// Of all together.
    pub all: Row,
    /// Of clips in which no thing is.
    pub empty: Option<Empty>,
    pub clips: Vec<Mistakes>,
}

/// Of events of one sort.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub truth: u64,
    pub told: u64,
    pub right: u64,
    pub recall: Option<Estimate>,
    pub precision: Option<Estimate>,
    /// Those that are right and last, and those of them whose ends are as near, or that both go on.
    pub lasting: u64,
    pub ends: u64,
    /// Median seconds from the beginning of what is right until it was told.
    pub delay: Option<f64>,
}

/// What was told where nobody is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Empty {
    pub minutes: f64,
    /// Events that are not true.
    pub wrong: u64,
    pub per_minute: f64,
}

/// What is wrong in one clip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistakes {
    pub id: String,
    pub minutes: f64,
    /// True, and not told; told, and not true; right, but with another end: those that were told.
    pub missed: Vec<Event>,
    pub wrong: Vec<Event>,
    pub ends: Vec<Event>,
}

/// Whether it has a beginning and an end.
pub fn lasts(name: EventName) -> bool {
    !matches!(name, EventName::Line | EventName::TakenAway | EventName::Light)
}

/// The events that these lines of one source tell, in order of their ids. What was interrupted has no end.
pub fn told<'a>(records: impl IntoIterator<Item = &'a EventRecord>) -> Vec<Told> {
    let mut events: BTreeMap<u64, Told> = BTreeMap::new();
    for record in records {
        let told = events.entry(record.id).or_insert_with(|| Told {
            event: Event {
                event: record.event,
                start_ns: record.since_ns,
                end_ns: None,
                zone: record.zone.clone(),
                side: record.side,
                thing: None,
            },
            delay_ns: record.told_ns.saturating_sub(record.since_ns),
        });
        if record.phase == Phase::End && !record.interrupted {
            told.event.end_ns = Some(record.pts_ns);
        }
    }
    events.into_values().collect()
}

/// Pairs of a true and a told event that are the same one: as many as can be, and of those the nearest.
pub fn pairs(truth: &[Event], told: &[Told]) -> Vec<(usize, usize)> {
    let share = 1.0 / (truth.len().min(told.len()) + 1) as f64;
    let likeness = |truth: &Event, told: &Event| {
        let is_same = truth.event == told.event && truth.zone == told.zone && truth.side == told.side;
        let apart = truth.start_ns.abs_diff(told.start_ns);
        // All nearness together weighs less than one pair more.
        (is_same && apart <= TOLERANCE_NS).then(|| 1.0 - share * apart as f64 / TOLERANCE_NS as f64)
    };
    assign(truth.len(), told.len(), MOST_PAIRINGS, |left, right| likeness(&truth[left], &told[right].event))
}

/// Whether the ends of two events that are the same are the same.
fn ends_alike(truth: &Event, told: &Event) -> bool {
    match (truth.end_ns, told.end_ns) {
        (Some(truth), Some(told)) => truth.abs_diff(told) <= TOLERANCE_NS,
        (truth, told) => truth == told,
    }
}

/// Counts of one sort.
struct Tally {
    recall: Ratio,
    precision: Ratio,
    right: u64,
    lasting: u64,
    ends: u64,
    delays: Vec<f64>,
}

impl Tally {
    fn new(clips: usize) -> Self {
        let (recall, precision) = (Ratio::new(clips), Ratio::new(clips));
        Self { recall, precision, right: 0, lasting: 0, ends: 0, delays: Vec::new() }
    }

    fn row(self, name: &str) -> Row {
        Row {
            name: name.to_owned(),
            truth: self.recall.of() as u64,
            told: self.precision.of() as u64,
            right: self.right,
            recall: self.recall.estimate(),
            precision: self.precision.estimate(),
            lasting: self.lasting,
            ends: self.ends,
            delay: sample::median(self.delays.into_iter()).map(|delay| delay.value),
        }
    }
}

/// A measure of all clips, with intervals over them.
pub fn measure(clips: &[Clip]) -> Measured {
    let mistakes: Vec<(Vec<(usize, usize)>, Mistakes)> = clips.iter().map(mistakes).collect();
    let rows = |name_of: &dyn Fn(&Clip, &Event) -> Option<String>| {
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        for (at, (clip, (pairs, _))) in clips.iter().zip(&mistakes).enumerate() {
            let mut add = |event: &Event, count: &mut dyn FnMut(&mut Tally)| {
                if let Some(name) = name_of(clip, event) {
                    count(tallies.entry(name).or_insert_with(|| Tally::new(clips.len())));
                }
            };
            for (number, truth) in clip.story.events.iter().enumerate() {
                let told = pairs.iter().find(|(left, _)| *left == number).map(|(_, right)| &clip.told[*right]);
                add(truth, &mut |tally| {
                    tally.recall.add(at, f64::from(u8::from(told.is_some())), 1.0);
                    let Some(told) = told else { return };
                    tally.right += 1;
                    tally.lasting += u64::from(lasts(truth.event));
                    tally.ends += u64::from(lasts(truth.event) && ends_alike(truth, &told.event));
                    tally.delays.push(told.delay_ns as f64 / 1e9);
                });
            }
            for (number, told) in clip.told.iter().enumerate() {
                let is_right = pairs.iter().any(|(_, right)| *right == number);
                add(&told.event, &mut |tally| tally.precision.add(at, f64::from(u8::from(is_right)), 1.0));
            }
        }
        tallies.into_iter().map(|(name, tally)| tally.row(&name)).collect::<Vec<_>>()
    };
    let all = rows(&|_, _| Some("all".into())).pop().unwrap_or_else(|| Tally::new(0).row("all"));
    let is_empty = |clip: &Clip| clip.story.events.iter().all(|event| event.thing.is_none());
    let empty = clips.iter().zip(&mistakes).filter(|(clip, _)| is_empty(clip));
    let (minutes, wrong) = empty.fold((0.0, 0), |(minutes, wrong), (_, (_, mistakes))| {
        (minutes + mistakes.minutes, wrong + mistakes.wrong.len() as u64)
    });
    Measured {
        kinds: rows(&|_, event| Some(event.event.name().to_owned())),
        situations: rows(&|clip, _| clip.story.situation.clone()),
        disturbances: rows(&|clip, _| clip.story.disturbance.clone()),
        all,
        empty: (minutes > 0.0).then(|| Empty { minutes, wrong, per_minute: wrong as f64 / minutes }),
        clips: mistakes.into_iter().map(|(_, mistakes)| mistakes).collect(),
    }
}

fn mistakes(clip: &Clip) -> (Vec<(usize, usize)>, Mistakes) {
    let truth = &clip.story.events;
    let pairs = pairs(truth, &clip.told);
    let missed = (0..truth.len()).filter(|at| pairs.iter().all(|(left, _)| left != at)).map(|at| truth[at].clone());
    let is_wrong = |at: &usize| pairs.iter().all(|(_, right)| right != at);
    let ends = pairs.iter().map(|(left, right)| (&truth[*left], &clip.told[*right].event));
    let ends = ends.filter(|(truth, told)| lasts(truth.event) && !ends_alike(truth, told));
    let mistakes = Mistakes {
        id: clip.id.to_owned(),
        minutes: clip.length_ns as f64 / 6e10,
        missed: missed.collect(),
        wrong: (0..clip.told.len()).filter(is_wrong).map(|at| clip.told[at].event.clone()).collect(),
        ends: ends.map(|(_, told)| told.clone()).collect(),
    };
    (pairs, mistakes)
}
