//! Frames made ready to be drawn on: 8-bit 4:2:0 planes of even size that nobody else holds.

use super::StreamError;
use super::frame::{Converter, Frame};
use gst_video::VideoFormat;
use gstreamer as gst;
use gstreamer_video as gst_video;

/// What it cost to have frames that may be drawn on, or masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CanvasCount {
    /// Frames in the decoder's own buffer.
    pub in_place: u64,
    /// Frames copied, because the decoder still held them.
    pub copied: u64,
    /// Frames converted, because their format or size cannot be drawn on or encoded, or their samples not be masked.
    pub converted: u64,
}

impl std::iter::Sum for CanvasCount {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            in_place: sum.in_place + one.in_place,
            copied: sum.copied + one.copied,
            converted: sum.converted + one.converted,
        })
    }
}

/// Gives every frame the format and size of the first, made drawable.
pub struct Canvas {
    info: gst_video::VideoInfo,
    converter: Converter,
    /// The part of a converted frame that holds the picture.
    picture: (u32, u32),
    pub count: CanvasCount,
}

impl Canvas {
    /// For frames like `first`.
    pub fn new(first: &Frame) -> Result<Self, StreamError> {
        let info = &first.info;
        let picture = (info.width(), info.height());
        let size = (picture.0.next_multiple_of(2), picture.1.next_multiple_of(2));
        let is_drawable = matches!(info.format(), VideoFormat::I420 | VideoFormat::Nv12) && size == picture;
        let format = if is_drawable { info.format() } else { VideoFormat::I420 };
        let mut converter = Converter::new(format, size, picture);
        let info = if is_drawable { info.clone() } else { converter.convert(first)?.1 };
        Ok(Self { info, converter, picture, count: CanvasCount::default() })
    }

    /// The layout of every buffer that comes out.
    pub fn info(&self) -> &gst_video::VideoInfo {
        &self.info
    }

    /// The frame, drawable. In place where nobody else holds its pixels and it is drawn on at once; what `waits` leaves the decoder's
    /// memory, which may have room for a few frames only. Else one copy or one conversion, counted.
    pub fn make_drawable(&mut self, frame: Frame, waits: bool) -> Result<gst::Buffer, StreamError> {
        let is_alike = frame.info.format() == self.info.format()
            && (frame.info.width(), frame.info.height()) == (self.info.width(), self.info.height());
        if !is_alike {
            self.count.converted += 1;
            let (mut buffer, info) = self.converter.convert(&frame)?;
            self.replicate_edges(&mut buffer, &info)?;
            return Ok(buffer);
        }
        let mut buffer = frame.buffer;
        if !waits && buffer.get_mut().is_some_and(|buffer| buffer.is_all_memory_writable()) {
            self.count.in_place += 1;
            return Ok(buffer);
        }
        self.count.copied += 1;
        buffer.copy_deep().map_err(|error| StreamError::Input { input: "a frame".into(), why: error.to_string() })
    }

    /// Fills the column or row that makes the size even with its neighbour's luma.
    fn replicate_edges(&self, buffer: &mut gst::Buffer, info: &gst_video::VideoInfo) -> Result<(), StreamError> {
        let (width, height) = (self.picture.0 as usize, self.picture.1 as usize);
        if self.picture == (info.width(), info.height()) {
            return Ok(());
        }
        let fault = || StreamError::Input { input: "a converted frame".into(), why: "cannot be mapped".into() };
        let writable = buffer.get_mut().ok_or_else(fault)?;
        let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(writable, info).map_err(|_| fault())?;
        let stride = info.stride()[0] as usize;
        let luma = frame.plane_data_mut(0).map_err(|_| fault())?;
        if info.width() as usize > width {
            luma.chunks_mut(stride).take(height).for_each(|row| row[width] = row[width - 1]);
        }
        if info.height() as usize > height {
            luma.copy_within((height - 1) * stride..height * stride, height * stride);
        }
        Ok(())
    }
}
