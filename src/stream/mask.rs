//! Parts of frames made black, before anything looks at them.

use super::StreamError;
use super::canvas::CanvasCount;
use super::frame::{Converter, Frame, lent_as};
use crate::zones::{Polygon, spans};
use gst_video::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;
use std::ops::Range;

/// Polygons over frames of one layout.
pub struct Mask {
    polygons: Vec<Polygon>,
    info: gst_video::VideoInfo,
    /// Of frames whose samples have no place of their own, or more than 8 bits.
    converter: Option<Converter>,
    components: Vec<Component>,
}

/// Samples of one kind, such as luma, and what they are where it is black.
struct Component {
    index: u32,
    value: u8,
    /// Of each of its rows.
    spans: Vec<Vec<Range<usize>>>,
}

impl Mask {
    /// For frames like this one.
    pub fn new(polygons: &[Polygon], frame: &Frame) -> Self {
        let converter = lent_as(&frame.info).is_none().then(|| {
            let size = (frame.info.width(), frame.info.height());
            Converter::new(gst_video::VideoFormat::I420, size, size)
        });
        Self { polygons: polygons.to_vec(), info: frame.info.clone(), converter, components: Vec::new() }
    }

    /// Whether it is of these polygons, for frames like this one.
    pub fn is_for(&self, polygons: &[Polygon], frame: &Frame) -> bool {
        self.polygons == polygons && self.info == frame.info
    }

    /// Makes black every pixel, and every sample of colour, that a polygon touches: in place where nobody else holds the frame's pixels, such as
    /// a decoder that frames to come refer to; else in a copy, or in what it is converted to, counted.
    pub fn cover(&mut self, frame: &mut Frame, count: &mut CanvasCount) -> Result<(), StreamError> {
        let fault = |why: &str| StreamError::Input { input: format!("frame {}", frame.index), why: why.to_owned() };
        if let Some(converter) = &mut self.converter {
            count.converted += 1;
            (frame.buffer, frame.info) = converter.convert(frame)?;
        } else if frame.buffer.get_mut().is_some_and(|buffer| buffer.is_all_memory_writable()) {
            count.in_place += 1;
        } else {
            count.copied += 1;
            frame.buffer = frame.buffer.copy_deep().map_err(|error| fault(&error.to_string()))?;
        }
        if self.components.is_empty() {
            self.components = components(&self.polygons, &frame.info);
        }
        let writable = frame.buffer.get_mut().ok_or_else(|| fault("it cannot be masked: its memory is shared"))?;
        let mut mapped = gst_video::VideoFrameRef::from_buffer_ref_writable(writable, &frame.info)
            .map_err(|_| fault("it cannot be masked: it does not fit its format"))?;
        for component in &self.components {
            component.cover(&mut mapped).ok_or_else(|| fault("it cannot be masked: it is smaller than its format"))?;
        }
        Ok(())
    }
}

fn components(polygons: &[Polygon], info: &gst_video::VideoInfo) -> Vec<Component> {
    let rows = spans(polygons, (info.width() as usize, info.height() as usize));
    let known = info.format_info();
    let is_full = info.colorimetry().range() == gst_video::VideoColorRange::Range0_255;
    let value = |index: u32| match index {
        3 => u8::MAX,
        _ if known.is_rgb() => 0,
        0 if is_full => 0,
        0 => 16,
        _ => 128,
    };
    let component = |index: u32| {
        let halved = |subs: &[u32]| subs[index as usize];
        let (across, down) = (halved(known.w_sub()), halved(known.h_sub()));
        let small = |columns: &Range<usize>| columns.start >> across..columns.end.div_ceil(1 << across);
        let spans = rows.chunks(1 << down).map(|rows| rows.iter().flatten().map(small).collect()).collect();
        Component { index, value: value(index), spans }
    };
    (0..known.n_components()).map(component).collect()
}

impl Component {
    /// None where the frame has not so many samples.
    fn cover(&self, frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>) -> Option<()> {
        let at = self.index as usize;
        let known = frame.format_info();
        let (plane, first, step) = (known.plane()[at], known.poffset()[at] as usize, known.pixel_stride()[at] as usize);
        let stride = usize::try_from(frame.plane_stride()[plane as usize]).ok()?;
        let bytes = frame.plane_data_mut(plane).ok()?;
        for (row, spans) in self.spans.iter().enumerate() {
            for columns in spans {
                let from = row * stride + first + columns.start * step;
                let samples = bytes.get_mut(from..from + (columns.len() - 1) * step + 1)?;
                match step {
                    1 => samples.fill(self.value),
                    _ => samples.iter_mut().step_by(step).for_each(|sample| *sample = self.value),
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst_video::VideoFormat;

    /// White, of a format's samples, with so many bytes between its rows as nobody expects.
    fn white(format: VideoFormat, (width, height): (u32, u32), padding: i32) -> Frame {
        let packed = gst_video::VideoInfo::builder(format, width, height).build().unwrap();
        let strides = Vec::from_iter(packed.stride().iter().map(|stride| stride + padding));
        let known = packed.format_info();
        let mut offsets = vec![0];
        for plane in 0..known.n_planes() {
            let component = known.plane().iter().position(|of| *of == plane).unwrap() as u8;
            let rows = known.scale_height(component, height.next_multiple_of(2)) as usize;
            offsets.push(offsets[plane as usize] + strides[plane as usize] as usize * rows);
        }
        let size = offsets.pop().unwrap();
        let info =
            gst_video::VideoInfo::builder(format, width, height).stride(&strides).offset(&offsets).build().unwrap();
        let (luma, chroma) = if known.is_yuv() { (235, 128) } else { (255, 255) };
        let mut bytes = vec![chroma; size];
        let first = if known.n_planes() > 1 { offsets[1] } else { size };
        bytes[..first].fill(luma);
        let buffer = gst::Buffer::from_mut_slice(bytes);
        Frame::new(0, 0, 0, buffer, info)
    }

    /// The same; of formats whose samples are not bytes on their own, as GStreamer has them.
    fn frame(format: VideoFormat, size: (u32, u32), padding: i32) -> Frame {
        if lent_as(&gst_video::VideoInfo::builder(format, size.0, size.1).build().unwrap()).is_some() {
            return white(format, size, padding);
        }
        let (buffer, info) = Converter::new(format, size, size).convert(&white(VideoFormat::I420, size, 0)).unwrap();
        Frame::new(0, 0, 0, buffer, info)
    }

    fn polygon(points: &[[f32; 2]]) -> Polygon {
        points.to_vec().try_into().unwrap()
    }

    /// As GStreamer's own converter shows the frame.
    fn rgb(frame: &Frame) -> Vec<u8> {
        let size = (frame.info.width(), frame.info.height());
        let (buffer, _) = Converter::new(VideoFormat::Rgb, size, size).convert(frame).unwrap();
        buffer.map_readable().unwrap().to_vec()
    }

    #[test]
    fn what_a_polygon_covers_is_black_in_every_format_and_the_rest_is_as_it_was() {
        use VideoFormat::{Bgr, Bgrx, Gray8, I420, Nv12, P01010le, Rgb, Rgba, Uyvy, Y42b, Y444, Yuy2};
        gst::init().unwrap();
        let mask = [
            polygon(&[[0.1, 0.2], [0.5, 0.2], [0.5, 0.7], [0.1, 0.7]]),
            polygon(&[[0.6, 0.95], [1.0, 0.4], [1.0, 1.0]]),
        ];
        for format in [I420, Nv12, Y42b, Y444, Rgb, Bgr, Rgba, Bgrx, Gray8, Yuy2, Uyvy, P01010le] {
            for (size, padding) in [((64, 48), 0), ((61, 45), 0), ((61, 45), 24)] {
                let mut frame = frame(format, size, padding);
                let before = rgb(&frame);
                let mut count = CanvasCount::default();
                Mask::new(&mask, &frame).cover(&mut frame, &mut count).unwrap();
                assert_eq!(count.in_place + count.copied + count.converted, 1);
                assert_eq!((frame.info.width(), frame.info.height()), size);
                let after = rgb(&frame);
                let (width, height) = (size.0 as usize, size.1 as usize);
                for (at, (was, is)) in before.chunks_exact(3).zip(after.chunks_exact(3)).enumerate() {
                    let place = [at % width, at / width];
                    let share = [(place[0] as f32 + 0.5) / size.0 as f32, (place[1] as f32 + 0.5) / size.1 as f32];
                    // Colour is smoothed from sample to sample when it is shown, and a sample may be of two pixels.
                    let across = size.0 as f32 / size.1 as f32;
                    let depth =
                        mask.iter().map(|one| one.depth(share, across)).fold(f32::MIN, f32::max) * height as f32;
                    if mask.iter().any(|one| one.contains(share)) {
                        assert!(is.iter().all(|value| *value < 4), "{format:?} {size:?} {place:?}: {is:?}");
                    } else if depth < -4.0 {
                        let apart = was.iter().zip(is).map(|(a, b)| a.abs_diff(*b)).max();
                        assert!(apart < Some(4), "{format:?} {size:?} {place:?}: {was:?} {is:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn colour_goes_with_the_pixels_and_what_is_shared_is_left_as_it_is() {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(VideoFormat::I420, 16, 16).build().unwrap();
        let shared = gst::Buffer::from_mut_slice(vec![200u8; info.size()]);
        let mut frame = Frame::new(0, 0, 0, shared.clone(), info);
        let one = [polygon(&[[0.45, 0.45], [0.5, 0.45], [0.5, 0.5], [0.45, 0.5]])];
        let mut mask = Mask::new(&one, &frame);
        let mut count = CanvasCount::default();
        mask.cover(&mut frame, &mut count).unwrap();
        assert_eq!((count.in_place, count.copied), (0, 1));
        assert!(shared.map_readable().unwrap().iter().all(|value| *value == 200), "a decoder may refer to it");
        let changed = |frame: &Frame| {
            let bytes = frame.buffer.map_readable().unwrap();
            Vec::from_iter(bytes.iter().enumerate().filter(|(_, value)| **value != 200).map(|(at, value)| (at, *value)))
        };
        // One pixel of luma, at (7, 7), and its sample of each colour, at (3, 3) of 8 × 8.
        let wanted = vec![(7 * 16 + 7, 16), (256 + 3 * 8 + 3, 128), (256 + 64 + 3 * 8 + 3, 128)];
        assert_eq!(changed(&frame), wanted);
        // Nobody else holds it now.
        mask.cover(&mut frame, &mut count).unwrap();
        assert_eq!((count.in_place, count.copied, changed(&frame)), (1, 1, wanted));
        assert!(mask.is_for(&one, &frame) && !mask.is_for(&[], &frame));
    }
}
