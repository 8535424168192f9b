//! Where finished frames go.

use crate::fault::{Kind, OfKind};
use crate::record::{EndRecord, EventRecord, FrameRecord, StateRecord};
use crate::stream::StreamError;
use crate::stream::frame::Frame;
use gstreamer as gst;
use gstreamer_video as gst_video;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two pictures for nobody: who comes then sees one that is not older.
const GLANCE: Duration = Duration::from_secs(1);

/// A frame that has its boxes, what happened by it, or a change at a live source, the last of which is its end.
#[derive(Clone)]
pub enum Message {
    Frame { record: Arc<FrameRecord>, picture: Option<Picture> },
    Event(Arc<EventRecord>),
    State(Arc<StateRecord>),
    End(Arc<EndRecord>),
}

/// The annotated frame: boxes drawn in, 8-bit 4:2:0, shared with the other sinks.
#[derive(Clone)]
pub struct Picture {
    pub buffer: gst::Buffer,
    /// The same for every picture of one source, whatever the camera changes to.
    pub info: gst_video::VideoInfo,
    /// From the source's first frame, in nanoseconds.
    pub pts_ns: u64,
    pub duration_ns: u64,
}

impl Picture {
    /// As a frame of this number, to be encoded.
    pub fn into_frame(self, index: u64) -> Frame {
        Frame::new(index, self.pts_ns, self.duration_ns, self.buffer, self.info)
    }
}

/// Says of one frame after the other, as it comes and by its time stamp in the source (nanoseconds), whether its picture is wanted; drawing is
/// spared where none is.
pub type Wish = Box<dyn FnMut(u64) -> bool + Send>;

/// Wants every picture while `is_watched`, and otherwise one now and then.
pub fn wish_while(is_watched: impl Fn() -> bool + Send + 'static) -> Wish {
    let mut last = None;
    Box::new(move |_| {
        let is_wanted = is_watched() || last.is_none_or(|last: Instant| last.elapsed() >= GLANCE);
        if is_wanted {
            last = Some(Instant::now());
        }
        is_wanted
    })
}

/// Takes finished frames on a thread of its own. It may block: then it misses frames of live sources, which are counted, but no event and no
/// change of state, and nothing else waits.
pub trait Sink: Send {
    /// Shown in errors and in the status.
    fn name(&self) -> String;

    /// Asked once; what it gives is asked for every frame, on another thread.
    fn wish(&self) -> Wish;

    /// Takes one message. An error ends a patient source: what is half there is of no use. Of a live one this message is lost, and the sink
    /// is given another after a pause, unless who read it has seen enough ([`SinkError::is_end`]).
    fn take(&mut self, message: &Message) -> Result<(), SinkError>;

    /// These frames of a live source did not find room on the way to it; what it takes next came after them.
    fn missed(&mut self, _frames: &Missed) {}

    /// How many bytes it has written so far; none where it does not write, but is looked at.
    fn written_bytes(&self) -> Option<u64> {
        None
    }

    /// Ends what it has begun, where that is more than to go.
    fn finish(self: Box<Self>, _ending: Ending) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Frames that a sink had no time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    pub frames: u64,
    /// The numbers of the first and the last of them.
    pub first: u64,
    pub last: u64,
}

/// How the frames of a source have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All there are, or all until somebody or the model said stop.
    Whole,
    /// Something else of it is broken: what appears when it is complete does not appear.
    Failed,
}

/// Why a sink does not take a message.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("{name}: {error}")]
    Write { name: String, error: io::Error },
    /// With the sink's name.
    #[error("{0}")]
    Other(String),
}

impl OfKind for SinkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Stream(error) => error.kind(),
            Self::Write { .. } | Self::Other(_) => Kind::Output,
        }
    }
}

impl SinkError {
    /// Whether it is no fault: who read it has seen enough (`… | head`).
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Write { error, .. } if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
