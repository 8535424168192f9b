//! What a source tells: frames, and how it is.

use super::frame::Frame;
use crate::record::SourceState;
use std::time::SystemTime;

/// One thing that happened at a source.
pub enum Event {
    Frame(Frame),
    State(StateChange),
}

/// A source is in another state.
#[derive(Clone, Debug, PartialEq)]
pub struct StateChange {
    pub state: SourceState,
    pub at: SystemTime,
    /// One line, without secrets; none where the state says all.
    pub why: Option<String>,
}

/// A source of frames that outlives its faults.
pub trait Feed: Send {
    /// Waits for the next event; none at the end, which a change to [`SourceState::Ended`] precedes, or soon after `stop` says so.
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Option<Event>;

    /// Whether frames come when they want to. The frames of others wait until they are wanted, and none is passed over.
    fn is_live(&self) -> bool;

    /// Frames so far that could not be decoded whole and were kept back.
    fn broken(&self) -> u64 {
        0
    }
}
