//! What happens to the whole picture: the camera is moved or covered, the light changes at once.

use super::glance::Glance;
use crate::motion::{Camera, SETTLED_NS};
use crate::record::EventName;

/// A camera that looks at one thing for so long is a still one, whose view is something to lose.
const STILL_NS: u64 = 2_000_000_000;
/// So long after something began it is told what it is ...
const DOUBT_NS: u64 = 800_000_000;
/// ... and for so long after it is over nothing is believed that is new.
const CALM_NS: u64 = 1_500_000_000;
/// The picture is compared with one that is older than this.
const REFERENCE_NS: u64 = 1_000_000_000;
/// A picture with less than this share of the usual detail shows nothing; with more than the other, something again.
const COVERED: f32 = 0.45;
const UNCOVERED: f32 = 0.65;
/// So many times brighter or darker at once is another light.
const LIGHT: f32 = 1.18;
/// A picture whose structure is less like that before is of another view.
const SAME_VIEW: f32 = 0.5;
/// The usual detail follows by so much a second.
const FOLLOW: f32 = 0.05;

/// What was decided of the whole picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Starts(EventName, u64),
    Ends(EventName, u64),
    /// It does not last.
    Is(EventName, u64),
}

#[derive(Debug)]
enum State {
    /// The camera moves, or nobody knows yet.
    Unknown,
    Calm,
    /// Something is other than in the picture before.
    Doubt {
        since_ns: u64,
    },
    /// It goes on; since when it seems to be over.
    Upset {
        name: EventName,
        since_ns: u64,
        over_ns: Option<u64>,
    },
}

/// The whole picture of one source.
pub struct Upset {
    state: State,
    /// How it was, and when: until something is other, and while it is not known what.
    reference: Option<(u64, Glance)>,
    detail: [f32; 2],
    /// Since when the camera is still.
    still_ns: Option<u64>,
    has_moved: bool,
    /// When something was last other than usual.
    last_upset_ns: Option<u64>,
    last_ns: u64,
}

impl Default for Upset {
    fn default() -> Self {
        Self {
            state: State::Unknown,
            reference: None,
            detail: [0.0; 2],
            still_ns: None,
            has_moved: false,
            last_upset_ns: None,
            last_ns: 0,
        }
    }
}

impl Upset {
    /// Since when the scene is known; none while it is not, or while the whole picture is upset.
    pub fn calm_since(&self, ns: u64) -> Option<u64> {
        let is_over = self.last_upset_ns.is_none_or(|last| ns.saturating_sub(last) >= CALM_NS);
        self.still_ns.filter(|_| is_over && matches!(self.state, State::Calm))
    }

    pub fn update(&mut self, ns: u64, now: &Glance) -> Option<Change> {
        let seconds = ns.saturating_sub(self.last_ns) as f32 / 1e9;
        self.last_ns = ns;
        let is_still = now.camera != Camera::Moving;
        // Whether a camera has come to rest is known a while after it has.
        let since = ns.saturating_sub(if self.has_moved { SETTLED_NS } else { 0 });
        self.still_ns = self.still_ns.filter(|_| is_still).or(is_still.then_some(since));
        self.has_moved = !is_still;
        let shows = |share: f32| (0..2).all(|scale| now.detail()[scale] >= share * self.detail[scale]);
        let (is_dark, is_back) = (!shows(COVERED), shows(UNCOVERED));
        let reference = self.reference.as_ref().map(|(_, reference)| reference);
        let is_other = |before: &Glance| !is_still || now.view != before.view;
        let is_lit = |before: &Glance| !(1.0 / LIGHT..=LIGHT).contains(&now.brighter_than(before));
        if !matches!(self.state, State::Calm | State::Unknown) {
            self.last_upset_ns = Some(ns);
        }
        match &mut self.state {
            State::Unknown => {
                if self.still_ns.is_some_and(|since| ns.saturating_sub(since) >= STILL_NS) {
                    self.settle(ns, now);
                }
                None
            }
            State::Calm => {
                match reference {
                    Some(before) if is_dark || is_other(before) || is_lit(before) => {
                        self.state = State::Doubt { since_ns: ns };
                        self.last_upset_ns = Some(ns);
                    }
                    _ => {
                        for (usual, now) in self.detail.iter_mut().zip(now.detail()) {
                            *usual += (FOLLOW * seconds).min(1.0) * (now - *usual);
                        }
                        if self.reference.as_ref().is_none_or(|(then, _)| ns.saturating_sub(*then) >= REFERENCE_NS) {
                            self.reference = Some((ns, now.clone()));
                        }
                    }
                }
                None
            }
            State::Doubt { since_ns } => {
                let (since_ns, before) = (*since_ns, reference?);
                let is_same = !is_dark && !is_other(before) && !is_lit(before);
                if !is_same && ns.saturating_sub(since_ns) < DOUBT_NS {
                    return None;
                }
                let (alike, is_other, is_lit) = (now.alike(before), is_other(before), is_lit(before));
                let name = match () {
                    () if is_same => None,
                    () if is_dark => Some(EventName::Covered),
                    () if is_other && alike < SAME_VIEW => Some(EventName::CameraMoved),
                    () if is_lit => Some(EventName::Light),
                    () => None,
                };
                match name {
                    Some(name @ (EventName::Covered | EventName::CameraMoved)) => {
                        self.state = State::Upset { name, since_ns, over_ns: None };
                        Some(Change::Starts(name, since_ns))
                    }
                    name => {
                        self.settle(ns, now);
                        name.map(|name| Change::Is(name, since_ns))
                    }
                }
            }
            State::Upset { name, since_ns, over_ns } => {
                let (name, since_ns) = (*name, *since_ns);
                let is_over = match name {
                    EventName::Covered => is_back,
                    _ => is_still,
                };
                let since = if name == EventName::Covered { ns } else { self.still_ns.unwrap_or(ns).max(since_ns) };
                *over_ns = over_ns.filter(|_| is_over).or(is_over.then_some(since));
                let over_ns = over_ns.filter(|since| ns.saturating_sub(*since) >= DOUBT_NS)?;
                self.settle(ns, now);
                Some(Change::Ends(name, over_ns))
            }
        }
    }

    /// This is how it is from now on.
    fn settle(&mut self, ns: u64, now: &Glance) {
        (self.state, self.reference) = (State::Calm, Some((ns, now.clone())));
        self.detail = now.detail();
    }
}
