//! Boxes and labels, drawn by OpenCV straight into the planes of a 4:2:0 frame.

use crate::record::ObjectRecord;
use gst_video::VideoFormat;
use gst_video::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;
use opencv::core::{CV_8UC1, CV_8UC2, Mat, Point, Rect, Scalar};
use opencv::imgproc;

/// Colours as Y, Cb, Cr (BT.601, limited range): bright, and far from each other.
const PALETTE: [[u8; 3]; 8] = [
    [160, 60, 60],
    [175, 150, 30],
    [150, 185, 190],
    [210, 20, 146],
    [150, 90, 195],
    [155, 180, 85],
    [170, 70, 165],
    [190, 128, 90],
];
const INK: [u8; 3] = [16, 128, 128];
const FONT: i32 = imgproc::FONT_HERSHEY_SIMPLEX;

/// Why a frame cannot be drawn on.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    #[error("frames of format {0} cannot be drawn on (expected I420 or NV12)")]
    Format(VideoFormat),
    #[error("the frame cannot be mapped")]
    Map,
    #[error("OpenCV: {0}")]
    OpenCv(#[from] opencv::Error),
}

/// One plane of the frame, and how many frame pixels one of its pixels covers.
struct Plane {
    mat: Mat,
    subsampling: i32,
    /// Which of Y, Cb, Cr the channels are.
    channels: std::ops::Range<usize>,
}

/// Draws every object's box, label and score into `buffer`, a writable I420 or NV12 frame of layout `info`.
///
/// Boxes are in a displayed frame of `width` × `height` pixels, which differs from the buffer's where pixels are not square.
pub fn draw(
    buffer: &mut gst::BufferRef,
    info: &gst_video::VideoInfo,
    (width, height): (u32, u32),
    objects: &[ObjectRecord],
) -> Result<(), OverlayError> {
    if objects.is_empty() {
        return Ok(());
    }
    let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info).map_err(|_| OverlayError::Map)?;
    let mut planes = planes(&mut frame)?;
    let (w, h) = (info.width(), info.height());
    let thickness = (w.min(h) as i32 / 240).max(1) * 2;
    let font_scale = f64::from(w.min(h).clamp(120, 2160)) / 900.0 + 0.1;
    let fit = |edge: u32, from: u32, to: u32| (u64::from(edge) * u64::from(to) / u64::from(from.max(1))) as i32;
    for (index, object) in objects.iter().enumerate() {
        let [xmin, ymin, xmax, ymax] = object.bbox;
        // Even coordinates, so that luma and chroma end on the same pixel.
        let (left, top) = (fit(xmin, width, w) & !1, fit(ymin, height, h) & !1);
        let (right, bottom) = (fit(xmax, width, w) & !1, fit(ymax, height, h) & !1);
        let colour = PALETTE[index % PALETTE.len()];
        for bar in [
            Rect::new(left, top, right - left, thickness),
            Rect::new(left, bottom - thickness, right - left, thickness),
            Rect::new(left, top, thickness, bottom - top),
            Rect::new(right - thickness, top, thickness, bottom - top),
        ] {
            fill(&mut planes, bar, colour)?;
        }
        let name = object.label.as_deref().map_or(String::new(), |name| format!("{name} "));
        let label = format!("{name}{:.2}", object.score);
        let mut baseline = 0;
        let text = imgproc::get_text_size(&label, FONT, font_scale, 1, &mut baseline)?;
        let tag = Rect::new(left, top, (text.width + 8) & !1, (text.height + 8) & !1);
        fill(&mut planes, tag, colour)?;
        let origin = Point::new(left + 4, top + 4 + text.height);
        imgproc::put_text(
            &mut planes[0].mat,
            &label,
            origin,
            FONT,
            font_scale,
            scalar(&INK[..1]),
            1,
            imgproc::LINE_AA,
            false,
        )?;
    }
    Ok(())
}

/// Fills a rectangle of frame pixels in every plane; OpenCV clips it.
fn fill(planes: &mut [Plane], rect: Rect, colour: [u8; 3]) -> Result<(), OverlayError> {
    for plane in planes {
        let s = plane.subsampling;
        let rect = Rect::new(rect.x / s, rect.y / s, (rect.width / s).max(1), (rect.height / s).max(1));
        imgproc::rectangle(
            &mut plane.mat,
            rect,
            scalar(&colour[plane.channels.clone()]),
            imgproc::FILLED,
            imgproc::LINE_8,
            0,
        )?;
    }
    Ok(())
}

fn scalar(channels: &[u8]) -> Scalar {
    let value = |i: usize| channels.get(i).map_or(0.0, |&v| f64::from(v));
    Scalar::new(value(0), value(1), value(2), 0.0)
}

/// OpenCV's view of the planes: no pixel is copied.
fn planes(frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>) -> Result<Vec<Plane>, OverlayError> {
    let info = frame.info().clone();
    let (w, h) = (info.width() as i32, info.height() as i32);
    let layout: &[(i32, i32, std::ops::Range<usize>)] = match info.format() {
        VideoFormat::I420 => &[(CV_8UC1, 1, 0..1), (CV_8UC1, 2, 1..2), (CV_8UC1, 2, 2..3)],
        VideoFormat::Nv12 => &[(CV_8UC1, 1, 0..1), (CV_8UC2, 2, 1..3)],
        other => return Err(OverlayError::Format(other)),
    };
    let mut planes = Vec::with_capacity(layout.len());
    for (number, (kind, subsampling, channels)) in layout.iter().enumerate() {
        let stride = frame.plane_stride()[number] as usize;
        let (rows, cols) = ((h + subsampling - 1) / subsampling, (w + subsampling - 1) / subsampling);
        let data = frame.plane_data_mut(number as u32).map_err(|_| OverlayError::Map)?;
        let row_bytes = cols as usize * channels.len();
        if stride < row_bytes || data.len() < stride * (rows as usize - 1) + row_bytes {
            return Err(OverlayError::Map);
        }
        // SAFETY: the plane holds `rows` rows of `stride` bytes (checked above), stays mapped for as long as `frame`
        // is borrowed, and every Mat made here is dropped before `draw` gives the frame back.
        let mat = unsafe { Mat::new_rows_cols_with_data_unsafe(rows, cols, *kind, data.as_mut_ptr().cast(), stride) }?;
        planes.push(Plane { mat, subsampling: *subsampling, channels: channels.clone() });
    }
    Ok(planes)
}
