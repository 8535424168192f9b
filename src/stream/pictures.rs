//! A video's frames as RGB pictures, for what works picture by picture.

use super::StreamError;
use super::frame::{Converter, Frame};
use super::ingest::Span;
use super::preflight::{MediaInfo, Source};
use super::source::{self, FrameSource};
use crate::picture::RgbImage;
use gstreamer_video::VideoFormat;

/// Sizes that converters are kept for: the model's and the frame's own.
const CONVERTERS: usize = 3;

/// A video that is read frame by frame; only the frames asked for become pictures.
pub struct VideoPictures {
    frames: Box<dyn FrameSource>,
    media: MediaInfo,
    converters: Vec<((u32, u32), Converter)>,
}

impl VideoPictures {
    /// Starts decoding.
    pub fn open(source: &Source, span: Span) -> Result<Self, StreamError> {
        let (media, frames) = source::open(source, span)?;
        Ok(Self { frames, media, converters: Vec::new() })
    }

    /// What the video says of itself.
    pub fn media(&self) -> &MediaInfo {
        &self.media
    }

    /// The next frame; none at the end, or soon after `stop` says so.
    pub fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<Frame>, StreamError> {
        self.frames.next(stop)
    }

    /// Why the video ended early, where it did.
    pub fn warning(&self) -> Option<&str> {
        self.frames.warning()
    }

    /// The frame as displayed, scaled to `size` in one pass from the decoder's pixels. The frame's own size is
    /// [`Frame::display_size`].
    pub fn picture(&mut self, frame: &Frame, size: (u32, u32)) -> Result<RgbImage, StreamError> {
        let at = self.converters.iter().position(|(known, _)| *known == size).unwrap_or_else(|| {
            self.converters.truncate(CONVERTERS - 1);
            self.converters.insert(0, (size, Converter::new(VideoFormat::Rgb, size, size)));
            0
        });
        let (buffer, _) = self.converters[at].1.convert(frame)?;
        let failed = || StreamError::Input { input: "a picture".into(), why: "cannot be mapped".into() };
        let pixels = buffer.map_readable().map_err(|_| failed())?.to_vec();
        RgbImage::from_raw(size.0, size.1, pixels).ok_or_else(failed)
    }
}
