//! One decoded frame by reference, and the model-sized RGB image made from it.

use super::StreamError;
use crate::record::CaptureClock;
use gstreamer as gst;
use gstreamer_video as gst_video;

/// A decoded frame in its native format: a reference to the decoder's buffer.
#[derive(Clone)]
pub struct Frame {
    /// Counts the frames of the run, from 0.
    pub index: u64,
    /// Presentation time stamp from the start of the source, in nanoseconds.
    pub pts_ns: u64,
    pub duration_ns: u64,
    pub buffer: gst::Buffer,
    pub info: gst_video::VideoInfo,
    /// The file it is from, where the source has many.
    pub file: Option<std::sync::Arc<str>>,
    /// Width and height as displayed of the frame that this is a small picture of, where it was scaled before it came here.
    pub native: Option<(u32, u32)>,
    /// Of live sources.
    pub capture: Option<Capture>,
}

/// When a live frame was taken.
#[derive(Clone, Copy, Debug)]
pub struct Capture {
    /// By the buffer's clock time; latency counts from here.
    pub instant: std::time::Instant,
    /// Nanoseconds since 1970, UTC.
    pub unix_ns: u64,
    pub clock: CaptureClock,
    /// How long the source was gone before this frame, in nanoseconds.
    pub gap_ns: Option<u64>,
}

impl Frame {
    /// Width and height as displayed, in square pixels: the pixels of records. Not those of the buffer where the frame was
    /// scaled on its way here.
    pub fn display_size(&self) -> (u32, u32) {
        self.native.unwrap_or_else(|| displayed(self.info.width(), self.info.height(), self.info.par()))
    }
}

/// A size in square pixels: the shorter side of a pixel is stretched.
pub(super) fn displayed(width: u32, height: u32, pixel: gst::Fraction) -> (u32, u32) {
    let (n, d) = (i64::from(pixel.numer()), i64::from(pixel.denom()));
    let scale = |side: u32, by: i64, over: i64| ((2 * i64::from(side) * by + over) / (2 * over)) as u32;
    match n.cmp(&d) {
        _ if n <= 0 || d <= 0 => (width, height),
        std::cmp::Ordering::Less => (width, scale(height, d, n)),
        std::cmp::Ordering::Equal => (width, height),
        std::cmp::Ordering::Greater => (scale(width, n, d), height),
    }
}

/// Converts frames to one format and size; made anew when the frames' format changes.
pub struct Converter {
    format: gst_video::VideoFormat,
    /// Of the whole result, and of the part that the frame fills, from the top left.
    size: (u32, u32),
    fill: (u32, u32),
    current: Option<(gst_video::VideoInfo, gst_video::VideoInfo, gst_video::VideoConverter)>,
}

impl Converter {
    pub fn new(format: gst_video::VideoFormat, size: (u32, u32), fill: (u32, u32)) -> Self {
        Self { format, size, fill, current: None }
    }

    /// To packed RGB `[height, width, 3]`, scaled and converted in one pass.
    pub fn to_model_rgb(width: u32, height: u32) -> Self {
        Self::new(gst_video::VideoFormat::Rgb, (width, height), (width, height))
    }

    /// The converted frame and its layout; a new buffer without time stamps.
    pub fn convert(&mut self, frame: &Frame) -> Result<(gst::Buffer, gst_video::VideoInfo), StreamError> {
        let fault = |why: &str| StreamError::Input {
            input: format!("frame {}", frame.index),
            why: format!("{why}: {:?}", frame.info),
        };
        if self.current.as_ref().is_none_or(|(from, ..)| *from != frame.info) {
            self.current = Some(self.prepare(&frame.info).map_err(|e| fault(&e.message))?);
        }
        let Some((from, to, converter)) = &self.current else { return Err(fault("no converter")) };
        let mut buffer = gst::Buffer::from_mut_slice(vec![0u8; to.size()]);
        {
            let source = gst_video::VideoFrameRef::from_buffer_ref_readable(&frame.buffer, from)
                .map_err(|_| fault("the frame does not fit its format"))?;
            let writable = buffer.get_mut().ok_or_else(|| fault("a new buffer is shared"))?;
            let mut target = gst_video::VideoFrameRef::from_buffer_ref_writable(writable, to)
                .map_err(|_| fault("the converted frame does not fit"))?;
            converter.frame_ref(&source, &mut target);
        }
        Ok((buffer, to.clone()))
    }

    fn prepare(
        &self,
        from: &gst_video::VideoInfo,
    ) -> Result<(gst_video::VideoInfo, gst_video::VideoInfo, gst_video::VideoConverter), gst::glib::BoolError> {
        let (width, height) = self.size;
        let mut to = gst_video::VideoInfo::builder(self.format, width, height)
            .fps(from.fps())
            .par(from.par())
            .interlace_mode(from.interlace_mode());
        let (strides, offsets) = ([(width * 3) as i32], [0]);
        if self.format == gst_video::VideoFormat::Rgb {
            to = to.stride(&strides).offset(&offsets);
        }
        let to = to.build()?;
        let mut config = gst_video::VideoConverterConfig::new();
        config.set_resampler_method(gst_video::VideoResamplerMethod::Linear);
        config.set_dest_width(Some(self.fill.0 as i32));
        config.set_dest_height(Some(self.fill.1 as i32));
        config.set_threads(1);
        let converter = gst_video::VideoConverter::new(from, &to, Some(config))?;
        Ok((from.clone(), to, converter))
    }
}
