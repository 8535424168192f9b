//! What a run is to do, with what, and how it went.

use super::adaptive::Adaptive;
use super::crew::CrewError;
use super::eyes::KeptScene;
use super::sink::{Sink, SinkError};
use super::status::{LaneId, SourceStatus};
use crate::backbone::BackboneError;
use crate::discover::groups::Groups;
use crate::fault::{Kind, OfKind};
use crate::localize::Localizer;
use crate::motion::Evidence;
use crate::record::{Every, FrameRecord};
use crate::scene::{Scene, Sense, Senses};
use crate::stream::StreamError;
use crate::stream::feed::Feed;
use crate::track::AROUND_NS;
use std::sync::Arc;
use std::time::Duration;
use tracing::error;

/// What speaks for an object.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Cue {
    /// The single picture.
    #[default]
    Appearance,
    /// What moves, and what is new to the scene, with appearance where the camera moves; objects of a lower score are left out,
    /// and some senses where it is evaluated what they bring.
    Time { min_score: f32, without: Senses },
}

impl Cue {
    /// Objects of a lower score are left out; the method has its own bound for what appearance finds.
    pub(super) fn min_score(self) -> f32 {
        match self {
            Self::Time { min_score, .. } => min_score,
            Self::Appearance => 0.0,
        }
    }

    /// Whether small things are looked at again.
    pub(super) fn with_crops(self) -> bool {
        matches!(self, Self::Time { without, .. } if !without.has(Sense::Crops))
    }
}

/// What to do with every frame.
pub struct Task {
    pub model: String,
    pub cue: Cue,
    pub localizer: Localizer,
    /// Names objects by what they look like.
    pub groups: Option<Groups>,
    pub with_masks: bool,
    pub with_timings: bool,
}

/// One source, and what becomes of its frames.
pub struct Input {
    /// Its place on the board.
    pub status: Arc<SourceStatus>,
    pub feed: Box<dyn Feed>,
    pub sinks: Vec<Box<dyn Sink>>,
    /// Which frames the model runs on; the boxes hold in between.
    pub every: Every,
    /// How long frames wait for those that come after them; a file's for [`AROUND_NS`], a live source's not at all, unless it is said.
    pub delay: Option<Duration>,
    /// Spares the model what has not changed.
    pub adaptive: Option<Adaptive>,
    /// Where the past is asked: what was seen before this run, and where it is kept.
    pub scene: Option<KeptScene>,
    /// What stood there when the last run ended, as boxes in shares of the picture: nothing that is to be told of again.
    pub standing: Vec<[f32; 4]>,
    /// Sees what records are made from.
    pub witness: Option<Witness>,
}

impl Input {
    /// See [`Self::delay`]. Where nobody asks the past, what comes later says nothing either.
    pub(super) fn wait(&self, cue: Cue) -> Duration {
        match cue {
            Cue::Appearance => Duration::ZERO,
            Cue::Time { .. } if self.feed.is_live() => self.delay.unwrap_or_default(),
            Cue::Time { .. } => self.delay.unwrap_or(Duration::from_nanos(AROUND_NS)),
        }
    }

    /// Every frame for the model, its records to nobody.
    pub fn new(status: Arc<SourceStatus>, feed: Box<dyn Feed>) -> Self {
        Self {
            status,
            feed,
            sinks: Vec::new(),
            every: Every::default(),
            delay: None,
            adaptive: None,
            scene: None,
            standing: Vec::new(),
            witness: None,
        }
    }
}

/// What a witness is shown.
pub enum Seen<'a> {
    /// A frame as it is known at once, and the past that says so: how it moves, where that is asked, and the scene.
    Frame { record: &'a FrameRecord, evidence: Option<&'a Evidence>, scene: &'a Scene },
    /// A frame's record as it is written, in the same order, some frames later.
    Record(&'a FrameRecord),
}

/// Sees what a source's records are made from.
pub type Witness = Box<dyn FnMut(Seen) + Send>;

/// Why a run cannot go on. What goes wrong at one source is a [`Fault`], and the rest goes on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Crew(#[from] CrewError),
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    #[error("a thread stopped unexpectedly; please report this")]
    Panic,
    #[error("the run has ended: it takes no more sources")]
    Over,
}

impl From<BackboneError> for EngineError {
    fn from(error: BackboneError) -> Self {
        Self::Crew(error.into())
    }
}

impl OfKind for EngineError {
    fn kind(&self) -> Kind {
        match self {
            Self::Crew(CrewError::Backbone(error)) => error.kind(),
            Self::Crew(_) | Self::Thread(_) | Self::Panic | Self::Over => Kind::Internal,
        }
    }
}

/// What went wrong at one source. It has been logged.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Source(StreamError),
    #[error(transparent)]
    Model(BackboneError),
    #[error(transparent)]
    Sink(SinkError),
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    #[error("the {0} thread stopped unexpectedly; please report this")]
    Panic(&'static str),
}

impl OfKind for Fault {
    fn kind(&self) -> Kind {
        match self {
            Self::Source(error) => error.kind(),
            Self::Model(error) => error.kind(),
            Self::Sink(error) => error.kind(),
            Self::Thread(_) | Self::Panic(_) => Kind::Internal,
        }
    }
}

impl Fault {
    /// Logs it under the source's name.
    pub(super) fn tell(&self, source: &str) {
        error!(source, fault = self.kind().name(), "{source}: {self}");
    }
}

/// How a source went.
#[derive(Debug)]
pub struct Ended {
    pub id: LaneId,
    pub name: String,
    /// With a record.
    pub frames: u64,
    pub faults: Vec<Fault>,
}

/// How a run went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Of all sources that were not removed, in the order in which they ended.
    pub sources: Vec<Ended>,
}

impl Outcome {
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.sources.iter().flat_map(|source| &source.faults)
    }

    pub fn into_fault(self) -> Option<Fault> {
        self.sources.into_iter().flat_map(|source| source.faults).next()
    }
}
