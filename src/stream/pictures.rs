//! A video's frames as RGB pictures, for what works picture by picture.

use super::StreamError;
use super::frame::{Frame, FrameFit};
use super::ingest::Span;
use super::preflight::{MediaInfo, Source};
use super::source::{self, FrameSource};
use crate::picture::RgbImage;

/// A video that is read frame by frame; only the frames asked for become pictures.
pub struct VideoPictures {
    frames: Box<dyn FrameSource>,
    media: MediaInfo,
    fit: FrameFit,
}

impl VideoPictures {
    /// Starts decoding.
    pub fn open(source: &Source, span: Span) -> Result<Self, StreamError> {
        let (media, frames) = source::open(source, span)?;
        Ok(Self { frames, media, fit: FrameFit::default() })
    }

    /// What the video says of itself.
    pub fn media(&self) -> &MediaInfo {
        &self.media
    }

    /// The next frame; none at the end, or soon after `stop` says so.
    pub fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<Frame>, StreamError> {
        self.frames.next(stop)
    }

    /// After the end: what is wrong with the video as a whole, in one line.
    pub fn warning(&self) -> Option<&str> {
        self.frames.shortfall().map(|shortfall| shortfall.why.as_str())
    }

    /// The frame as displayed, scaled to `size` in one pass from the decoder's pixels. The frame's own size is
    /// [`Frame::display_size`].
    pub fn picture(&mut self, frame: &Frame, size: (u32, u32)) -> Result<RgbImage, StreamError> {
        let mut picture = RgbImage::new(size.0, size.1);
        self.fit.rgb(frame, size, &mut picture)?;
        Ok(picture)
    }
}
