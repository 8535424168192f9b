//! One decoded frame by reference: lent as a picture, and converted where it must be.

use super::StreamError;
use crate::fit::{Colour, Fit, FitError, PictureView, PixelFormat, Plane};
use crate::geometry::PixelBox;
use crate::record::{CaptureClock, Shortfall};
use gst_video::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;
use std::sync::Arc;

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
    pub file: Option<Arc<str>>,
    /// Width and height as displayed of the frame that this is a small picture of, where it was scaled before it came here.
    pub native: Option<(u32, u32)>,
    /// When it was taken, by the file's container, where that says when it was begun: nanoseconds since 1970, UTC.
    pub captured_unix_ns: Option<u64>,
    /// Of live sources.
    pub capture: Option<Capture>,
    /// Of the last frame of a file that lacks some of what it should hold.
    pub shortfall: Option<Arc<Shortfall>>,
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
    /// A frame of which nothing else is known.
    pub fn new(index: u64, pts_ns: u64, duration_ns: u64, buffer: gst::Buffer, info: gst_video::VideoInfo) -> Self {
        let (file, native, captured_unix_ns, capture, shortfall) = (None, None, None, None, None);
        Self { index, pts_ns, duration_ns, buffer, info, file, native, captured_unix_ns, capture, shortfall }
    }

    /// Width and height as displayed, in square pixels: the pixels of records. Not those of the buffer where the frame was
    /// scaled on its way here.
    pub fn display_size(&self) -> (u32, u32) {
        self.native.unwrap_or_else(|| displayed(self.info.width(), self.info.height(), self.info.par()))
    }

    /// Whether its own pixels are here, and can be lent as they are.
    pub fn is_whole(&self) -> bool {
        self.native.is_none() && lent_as(&self.info).is_some()
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

/// Formats that are converted before they can be lent, of how many sources at once.
const CONVERTERS: usize = 8;

/// Scales frames by [`Fit`], from their own pixels; those of a format that [`PixelFormat`] has not are converted to 8-bit 4:2:0 before.
#[derive(Default)]
pub struct FrameFit {
    fit: Fit,
    converters: Vec<(gst_video::VideoInfo, Converter)>,
}

impl FrameFit {
    /// Writes the frame, stretched over `size`, as packed RGB `[height, width, 3]`.
    pub fn rgb(&mut self, frame: &Frame, size: (u32, u32), pixels: &mut [u8]) -> Result<(), StreamError> {
        self.lend(frame, |fit, picture| fit.rgb(&picture, size, pixels))
    }

    /// The same of a part of the frame, in its displayed pixels.
    pub fn part(
        &mut self,
        frame: &Frame,
        part: &PixelBox,
        size: (u32, u32),
        pixels: &mut [u8],
    ) -> Result<(), StreamError> {
        let (shown, own) = (frame.display_size(), (frame.info.width(), frame.info.height()));
        let scale =
            |edge: u32, own: u32, shown: u32| (u64::from(edge) * u64::from(own) / u64::from(shown.max(1))) as u32;
        let place = |x: u32, y: u32| [scale(x, own.0, shown.0), scale(y, own.1, shown.1)];
        let (from, to) = (place(part.xmin, part.ymin), place(part.xmax, part.ymax));
        self.lend(frame, |fit, picture| fit.rgb(&picture.part(from, to), size, pixels))
    }

    /// Writes the frame's luma, stretched over `size`, `[height, width]`.
    pub fn grey(&mut self, frame: &Frame, size: (u32, u32), pixels: &mut [u8]) -> Result<(), StreamError> {
        self.lend(frame, |fit, picture| fit.grey(&picture, size, pixels))
    }

    /// Gives the frame's pixels to `work`.
    fn lend(
        &mut self,
        frame: &Frame,
        work: impl FnOnce(&mut Fit, PictureView<'_>) -> Result<(), FitError>,
    ) -> Result<(), StreamError> {
        if let Some(format) = lent_as(&frame.info) {
            return lend(frame, &frame.buffer, &frame.info, format, |picture| work(&mut self.fit, picture));
        }
        let at = self.converters.iter().position(|(from, _)| *from == frame.info).unwrap_or_else(|| {
            self.converters.truncate(CONVERTERS - 1);
            let size = (frame.info.width(), frame.info.height());
            let converter = Converter::new(gst_video::VideoFormat::I420, size, size);
            self.converters.insert(0, (frame.info.clone(), converter));
            0
        });
        let (buffer, info) = self.converters[at].1.convert(frame)?;
        lend(frame, &buffer, &info, PixelFormat::I420, |picture| work(&mut self.fit, picture))
    }
}

/// None of what is converted before it can be lent.
pub(super) fn lent_as(info: &gst_video::VideoInfo) -> Option<PixelFormat> {
    match info.format() {
        gst_video::VideoFormat::Rgb => Some(PixelFormat::Rgb),
        gst_video::VideoFormat::Bgr => Some(PixelFormat::Bgr),
        gst_video::VideoFormat::Rgba | gst_video::VideoFormat::Rgbx => Some(PixelFormat::Rgbx),
        gst_video::VideoFormat::Bgra | gst_video::VideoFormat::Bgrx => Some(PixelFormat::Bgrx),
        gst_video::VideoFormat::I420 => Some(PixelFormat::I420),
        gst_video::VideoFormat::Y42b => Some(PixelFormat::I422),
        gst_video::VideoFormat::Y444 => Some(PixelFormat::I444),
        gst_video::VideoFormat::Nv12 => Some(PixelFormat::Nv12),
        gst_video::VideoFormat::Gray8 => Some(PixelFormat::Grey),
        _ => None,
    }
}

fn lend(
    frame: &Frame,
    buffer: &gst::Buffer,
    info: &gst_video::VideoInfo,
    format: PixelFormat,
    work: impl FnOnce(PictureView<'_>) -> Result<(), FitError>,
) -> Result<(), StreamError> {
    let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info)
        .map_err(|_| fault(frame, "the frame does not fit its format"))?;
    let planes: Vec<Plane> = (0..mapped.n_planes())
        .zip(mapped.plane_stride())
        .map_while(|(plane, &stride)| {
            Some(Plane { bytes: mapped.plane_data(plane).ok()?, stride: usize::try_from(stride).ok()? })
        })
        .collect();
    let colorimetry = info.colorimetry();
    let is_full_range = colorimetry.range() == gst_video::VideoColorRange::Range0_255;
    // As for GStreamer: what does not say is BT.601.
    let (kr, kb) = colorimetry.matrix().kr_kb().unwrap_or((Colour::BT601.kr, Colour::BT601.kb));
    PictureView::new(format, (info.width(), info.height()), &planes, Colour { kr, kb, is_full_range })
        .and_then(work)
        .map_err(|error| fault(frame, &error.to_string()))
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

    /// The converted frame and its layout; a new buffer without time stamps.
    pub fn convert(&mut self, frame: &Frame) -> Result<(gst::Buffer, gst_video::VideoInfo), StreamError> {
        let to = self.prepared(frame)?.1.clone();
        let mut buffer = gst::Buffer::from_mut_slice(vec![0u8; to.size()]);
        let writable = buffer.get_mut().ok_or_else(|| fault(frame, "a new buffer is shared"))?;
        self.write(frame, writable)?;
        Ok((buffer, to))
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
        // Luma and chroma go on meaning what they meant: a camera's full range stays one.
        let colorimetry = from.colorimetry();
        if from.format_info().is_yuv() && gst_video::VideoFormatInfo::from_format(self.format).is_yuv() {
            to = to.colorimetry(&colorimetry);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use gst_video::VideoFormat;

    /// A frame that changes slowly from place to place, so that the way pixels are weighted matters little.
    fn frame(format: VideoFormat, (width, height): (u32, u32), colorimetry: &str) -> Frame {
        let colorimetry = colorimetry.parse().unwrap();
        let info = gst_video::VideoInfo::builder(format, width, height).colorimetry(&colorimetry).build().unwrap();
        let mut buffer = gst::Buffer::from_mut_slice(vec![0u8; info.size()]);
        {
            let writable = buffer.get_mut().unwrap();
            let mut mapped = gst_video::VideoFrameRef::from_buffer_ref_writable(writable, &info).unwrap();
            for plane in 0..mapped.n_planes() {
                let stride = mapped.plane_stride()[plane as usize] as usize;
                let wave = |at: usize, step: f32| 120.0 + 80.0 * ((at as f32) * step + plane as f32).sin();
                for (row, line) in mapped.plane_data_mut(plane).unwrap().chunks_mut(stride).enumerate() {
                    let down = wave(row, 0.02);
                    line.iter_mut().enumerate().for_each(|(at, value)| *value = ((wave(at, 0.01) + down) / 2.0) as u8);
                }
            }
        }
        Frame::new(0, 0, 0, buffer, info)
    }

    #[test]
    fn every_format_looks_as_gstreamers_converter_has_it() {
        use VideoFormat::{Bgrx, Gray8, I420, Nv12, Rgb, Uyvy, Y42b, Y444, Yuy2};
        gst::init().unwrap();
        let size = (320, 240);
        for format in [I420, Nv12, Y42b, Y444, Yuy2, Uyvy, Rgb, Bgrx, Gray8] {
            for colorimetry in ["bt709", "bt601", "1:4:0:0"] {
                let known = gst_video::VideoFormatInfo::from_format(format);
                let is_yuv = known.is_yuv() || known.is_gray();
                if !is_yuv && colorimetry != "bt709" {
                    continue;
                }
                let colorimetry = if is_yuv { colorimetry } else { "sRGB" };
                let frame = frame(format, (640, 484), colorimetry);
                let wanted = Converter::new(Rgb, size, size).convert(&frame).unwrap().0;
                let mut pixels = vec![0; 3 * 320 * 240];
                FrameFit::default().rgb(&frame, size, &mut pixels).unwrap();
                let wanted = wanted.map_readable().unwrap();
                let apart = pixels.iter().zip(wanted.iter()).map(|(a, b)| u64::from(a.abs_diff(*b)));
                let (sum, most) = apart.fold((0, 0), |(sum, most), apart| (sum + apart, apart.max(most)));
                let mean = sum as f64 / pixels.len() as f64;
                // Its fast ways round the factors of colours to a few bits.
                assert!(mean < 3.0 && most < 12, "{format:?} {colorimetry}: {mean} in the mean, {most} at most");
            }
        }
    }
}
