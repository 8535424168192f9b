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

/// From, to, and how.
type Prepared = (gst_video::VideoInfo, gst_video::VideoInfo, gst_video::VideoConverter);

fn fault(frame: &Frame, why: &str) -> StreamError {
    StreamError::Input { input: format!("frame {}", frame.index), why: format!("{why}: {:?}", frame.info) }
}

/// Converts frames to one format and size; made anew when the frames' format changes.
pub struct Converter {
    format: gst_video::VideoFormat,
    /// Of the whole result, and of the part that the frame fills, from the top left.
    size: (u32, u32),
    fill: (u32, u32),
    current: Option<Prepared>,
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
        let to = self.prepared(frame)?.1.clone();
        let mut buffer = gst::Buffer::from_mut_slice(vec![0u8; to.size()]);
        let writable = buffer.get_mut().ok_or_else(|| fault(frame, "a new buffer is shared"))?;
        self.write(frame, writable)?;
        Ok((buffer, to))
    }

    /// Writes the converted frame where the caller says; what it does not fill becomes black.
    pub fn convert_into(&mut self, frame: &Frame, pixels: &mut [u8]) -> Result<(), StreamError> {
        /// Memory for as long as the buffer around it is alive.
        struct Lent(*mut u8, usize);
        // SAFETY: who made it has the memory to itself.
        unsafe impl Send for Lent {}
        impl AsMut<[u8]> for Lent {
            fn as_mut(&mut self) -> &mut [u8] {
                // SAFETY: as said below.
                unsafe { std::slice::from_raw_parts_mut(self.0, self.1) }
            }
        }
        if self.prepared(frame)?.1.size() != pixels.len() {
            return Err(fault(frame, "the picture's place has another size"));
        }
        if self.fill != self.size {
            pixels.fill(0);
        }
        // SAFETY of `Lent`: the buffer is this function's alone and ends here, before the borrow of the pixels does.
        let mut buffer = gst::Buffer::from_mut_slice(Lent(pixels.as_mut_ptr(), pixels.len()));
        let writable = buffer.get_mut().ok_or_else(|| fault(frame, "a new buffer is shared"))?;
        self.write(frame, writable)
    }

    fn prepared(&mut self, frame: &Frame) -> Result<&Prepared, StreamError> {
        if self.current.as_ref().is_none_or(|(from, ..)| *from != frame.info) {
            self.current = Some(self.prepare(&frame.info).map_err(|error| fault(frame, &error.message))?);
        }
        self.current.as_ref().ok_or_else(|| fault(frame, "no converter"))
    }

    fn write(&mut self, frame: &Frame, buffer: &mut gst::BufferRef) -> Result<(), StreamError> {
        let (from, to, converter) = self.prepared(frame)?;
        let source = gst_video::VideoFrameRef::from_buffer_ref_readable(&frame.buffer, from)
            .map_err(|_| fault(frame, "the frame does not fit its format"))?;
        let mut target = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, to)
            .map_err(|_| fault(frame, "the converted frame does not fit"))?;
        converter.frame_ref(&source, &mut target);
        Ok(())
    }

    fn prepare(&self, from: &gst_video::VideoInfo) -> Result<Prepared, gst::glib::BoolError> {
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
