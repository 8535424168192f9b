//! Where frames come from.

use super::StreamError;
use super::decoder::{Decoder, Decoding};
use super::frame::Frame;
use super::ingest::{Ingest, Span};
use super::preflight::{MediaInfo, Source};
use crate::record::Shortfall;

/// Frames of one video, in order.
pub trait FrameSource: Send {
    /// The next frame; none at the end, or soon after `stop` says so.
    ///
    /// A source that breaks after its first frame ends there, with a [`shortfall`](FrameSource::shortfall).
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<Frame>, StreamError>;

    /// After the end: what the source lacks of what it should hold, where it does.
    fn shortfall(&self) -> Option<&Shortfall>;

    /// What decodes it; none before the first frame, and where no decoder of GStreamer's does.
    fn decoder(&self) -> Option<Decoder> {
        None
    }

    /// The pipeline that runs, as a launch line to read.
    fn pipeline(&self) -> Option<String> {
        None
    }
}

/// Looks into the source and starts decoding. Still pictures and animations are decoded by an image library, which knows more
/// formats of them than GStreamer does and keeps silent about broken ones; everything else by GStreamer.
pub fn open(source: &Source, span: Span) -> Result<(MediaInfo, Box<dyn FrameSource>), StreamError> {
    open_with(source, span, &Decoding::default())
}

/// The same, decoded as asked for.
pub fn open_with(
    source: &Source,
    span: Span,
    decoding: &Decoding,
) -> Result<(MediaInfo, Box<dyn FrameSource>), StreamError> {
    decoding.check()?;
    source.check()?;
    #[cfg(feature = "picture")]
    if let Some(file) = source.file.as_deref().filter(|file| crate::picture::content(file).is_some()) {
        let (media, frames) = super::stills::Stills::open(file, &source.name, span)?;
        return Ok((media, Box::new(frames)));
    }
    let media = source.probe()?;
    let ingest = Ingest::open(source, &media, span, decoding)?;
    Ok((media, Box::new(ingest)))
}
