//! Where finished frames go.

use crate::record::{FrameRecord, StateRecord};
use gstreamer as gst;
use gstreamer_video as gst_video;
use std::sync::Arc;

/// A frame that has its boxes, or a change at a source.
#[derive(Clone)]
pub enum Message {
    Frame { record: Arc<FrameRecord>, picture: Option<Picture> },
    State(Arc<StateRecord>),
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

/// Takes finished frames on a thread of its own. It may block: then it misses messages, which are counted, and nothing else waits.
pub trait Sink: Send {
    /// Shown in errors and in the status.
    fn name(&self) -> String;

    /// Whether it needs pictures; drawing is spared where none does.
    fn wants_pictures(&self) -> bool;

    /// Takes one message; an error, in one line, closes this sink and no other.
    fn take(&mut self, message: &Message) -> Result<(), String>;

    /// Ends what it has begun.
    fn finish(self: Box<Self>) -> Result<(), String>;
}
