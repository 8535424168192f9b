//! Boxes and labels, drawn by OpenCV straight into the planes of a 4:2:0 frame.

#![expect(unsafe_code, reason = "planes are lent to OpenCV, a C++ library")]

use crate::fault::{Kind, OfKind};
use crate::geometry::PixelBox;
use crate::record::{FrameRecord, ObjectRecord};
use gst_video::VideoFormat;
use gst_video::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;
use opencv::core::{CV_8UC1, CV_8UC2, Mat, Point, Rect, Scalar};
use opencv::imgproc;
use std::collections::{BTreeMap, VecDeque};

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

impl OfKind for OverlayError {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

/// One plane of the frame, and how many frame pixels one of its pixels covers.
struct Plane {
    mat: Mat,
    subsampling: i32,
    /// Which of Y, Cb, Cr the channels are.
    channels: std::ops::Range<usize>,
}

/// Boxes of successive frames that overlap by this IoU have the same colour.
const SAME_COLOUR_IOU: f64 = 0.3;

/// A trail is the way of so long.
const TRAIL_NS: u64 = 1_500_000_000;

/// Draws on the frames of one video; an object keeps its colour from frame to frame, and one with a track draws the way it came.
#[derive(Debug, Default)]
pub struct Overlay {
    /// The last frame's boxes, in the displayed frame, and their colours in the palette.
    colours: Vec<(PixelBox, usize)>,
    /// By track: where its feet were, the latest last, and when. In pixels of the displayed frame, where the scene is now.
    trails: BTreeMap<u64, VecDeque<(u64, [f32; 2])>>,
}

impl Overlay {
    /// Follows the tracks of the next frame, whether it is drawn or not. `moved` is where the camera's movement alone takes a place of the
    /// frame before, in pixels of the displayed frame; none where nobody can tell, and the ways so far are forgotten.
    pub fn follow(&mut self, record: &FrameRecord, moved: Option<impl Fn([f32; 2]) -> [f32; 2]>) {
        let Some(moved) = moved else {
            return self.trails.clear();
        };
        for points in self.trails.values_mut() {
            points.retain_mut(|(at_ns, point)| {
                *point = moved(*point);
                record.pts_ns.abs_diff(*at_ns) < TRAIL_NS
            });
        }
        for object in &record.objects {
            let (Some(track), [xmin, _, xmax, ymax]) = (object.track, object.bbox.map(|edge| edge as f32)) else {
                continue;
            };
            self.trails.entry(track.id).or_default().push_back((record.pts_ns, [xmin.midpoint(xmax), ymax]));
        }
        self.trails.retain(|_, points| !points.is_empty());
    }

    /// Draws the trails, and every object's box and score, into `buffer`, a writable I420 or NV12 frame of layout `info`.
    ///
    /// The record's displayed frame differs in size from the buffer's where pixels are not square.
    pub fn draw(
        &mut self,
        buffer: &mut gst::BufferRef,
        info: &gst_video::VideoInfo,
        record: &FrameRecord,
    ) -> Result<(), OverlayError> {
        let FrameRecord { objects, width, height, pts_ns, .. } = record;
        self.colour(objects);
        if objects.is_empty() && self.trails.is_empty() {
            return Ok(());
        }
        let mut frame =
            gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info).map_err(|_| OverlayError::Map)?;
        let mut planes = planes(&mut frame)?;
        let (w, h) = (info.width(), info.height());
        let thickness = (w.min(h) as i32 / 240).max(1) * 2;
        let font_scale = f64::from(w.min(h).clamp(120, 2160)) / 900.0 + 0.1;
        let fit = |edge: u32, from: u32, to: u32| (u64::from(edge) * u64::from(to) / u64::from(from.max(1))) as i32;
        let place = |[x, y]: [f32; 2]| {
            let fit = |at: f32, from: u32, to: u32| (at * to as f32 / from.max(1) as f32) as i32;
            Point::new(fit(x, *width, w), fit(y, *height, h))
        };
        for (id, points) in &self.trails {
            for ((at_ns, from), (_, to)) in points.iter().zip(points.iter().skip(1)) {
                // Thinner the longer ago.
                let rest = TRAIL_NS.saturating_sub(pts_ns.abs_diff(*at_ns)) as f64 / TRAIL_NS as f64;
                let thickness = (f64::from(thickness) * rest).ceil() as i32;
                line(&mut planes, place(*from), place(*to), PALETTE[place_of(*id)], thickness)?;
            }
        }
        for (object, (_, colour)) in objects.iter().zip(&self.colours) {
            let colour = PALETTE[*colour];
            let [xmin, ymin, xmax, ymax] = object.bbox;
            // Even coordinates, so that luma and chroma end on the same pixel.
            let (left, top) = (fit(xmin, *width, w) & !1, fit(ymin, *height, h) & !1);
            let (right, bottom) = (fit(xmax, *width, w) & !1, fit(ymax, *height, h) & !1);
            for bar in [
                Rect::new(left, top, right - left, thickness),
                Rect::new(left, bottom - thickness, right - left, thickness),
                Rect::new(left, top, thickness, bottom - top),
                Rect::new(right - thickness, top, thickness, bottom - top),
            ] {
                fill(&mut planes, bar, colour)?;
            }
            let name = object.label.as_deref().map_or(String::new(), |name| format!("{name} "));
            let id = object.track.map_or(String::new(), |track| format!("#{} ", track.id));
            let label = format!("{id}{name}{:.2}", object.score);
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

    /// Gives each box its track's colour, or that of the last frame's box it overlaps most, the surest pairs first; what is new gets the
    /// colour that is used least.
    fn colour(&mut self, objects: &[ObjectRecord]) {
        let bbox = |object: &ObjectRecord| {
            let [xmin, ymin, xmax, ymax] = object.bbox;
            PixelBox { xmin, ymin, xmax, ymax }
        };
        let boxes: Vec<_> = objects.iter().map(bbox).collect();
        let mut pairs = Vec::new();
        for (new, bbox) in boxes.iter().enumerate() {
            let ious = self.colours.iter().map(|(last, _)| bbox.iou(last)).enumerate();
            pairs.extend(ious.filter(|(_, iou)| *iou > SAME_COLOUR_IOU).map(|(old, iou)| (iou, new, old)));
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut colours, mut is_taken) = (vec![None; boxes.len()], vec![false; self.colours.len()]);
        let mut uses = [0; PALETTE.len()];
        for (_, new, old) in pairs {
            if colours[new].is_none() && !is_taken[old] {
                is_taken[old] = true;
                colours[new] = Some(self.colours[old].1);
                uses[self.colours[old].1] += 1;
            }
        }
        let mut least_used = || {
            let colour = (0..PALETTE.len()).min_by_key(|&colour| uses[colour]).unwrap_or(0);
            uses[colour] += 1;
            colour
        };
        let of_track = |object: &ObjectRecord| Some(place_of(object.track?.id));
        let colours = (objects.iter().zip(colours))
            .map(|(object, known)| of_track(object).or(known).unwrap_or_else(&mut least_used));
        self.colours = boxes.iter().copied().zip(colours).collect();
    }
}

/// Where a track's colour is in the palette.
fn place_of(track: u64) -> usize {
    (track % PALETTE.len() as u64) as usize
}

/// A line between two frame pixels in every plane; OpenCV clips it.
fn line(planes: &mut [Plane], from: Point, to: Point, colour: [u8; 3], thickness: i32) -> Result<(), OverlayError> {
    for plane in planes {
        let s = plane.subsampling;
        let [from, to] = [from, to].map(|point| Point::new(point.x / s, point.y / s));
        let colour = scalar(&colour[plane.channels.clone()]);
        imgproc::line(&mut plane.mat, from, to, colour, (thickness / s).max(1), imgproc::LINE_8, 0)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Grid, PatchLayout};
    use crate::localize::Method;
    use crate::record::{Every, FrameMeta, TrackRecord};

    #[test]
    fn an_object_keeps_its_colour_whatever_its_rank() {
        let mut overlay = Overlay::default();
        let colours = |overlay: &mut Overlay, boxes: &[[u32; 4]]| {
            let object = |bbox: &[u32; 4]| ObjectRecord { bbox: *bbox, ..ObjectRecord::default() };
            overlay.colour(&boxes.iter().map(object).collect::<Vec<_>>());
            overlay.colours.iter().map(|(_, colour)| *colour).collect::<Vec<_>>()
        };
        assert_eq!(colours(&mut overlay, &[[0, 0, 10, 10], [20, 0, 30, 10]]), [0, 1]);
        // The second has moved and ranks first; a third is new.
        assert_eq!(colours(&mut overlay, &[[22, 0, 32, 10], [50, 50, 60, 60], [0, 0, 10, 10]]), [1, 2, 0]);
        assert!(colours(&mut overlay, &[]).is_empty());
    }

    const SIZE: (u32, u32) = (320, 240);
    const FRAME_NS: u64 = 40_000_000;

    /// A frame in which track 1 has this box, where it is there.
    fn record(frame: u64, bbox: Option<[u32; 4]>) -> FrameRecord {
        let grid = Grid { rows: 15, cols: 20 };
        let layout = PatchLayout { grid, patch: 16, image_width: SIZE.0, image_height: SIZE.1 };
        let meta = FrameMeta {
            run: "",
            source: "",
            frame,
            pts_ns: frame * FRAME_NS,
            captured_unix_ns: None,
            size: SIZE,
            layout: &layout,
            method: Method::Most,
            model: "",
            ran: None,
            is_inferred: true,
            every: Every::default(),
            camera: None,
            timings: None,
            live: None,
            shortfall: None,
        };
        let track = Some(TrackRecord { id: 1, ..TrackRecord::default() });
        let object = |bbox| ObjectRecord { bbox, track, ..ObjectRecord::default() };
        FrameRecord::assemble(meta, bbox.map(object).into_iter().collect())
    }

    /// For each column the rows that are drawn on below a row of a grey frame.
    fn drawn(overlay: &mut Overlay, record: &FrameRecord, below: u32) -> Vec<usize> {
        gst::init().unwrap();
        let info = gst_video::VideoInfo::builder(VideoFormat::I420, SIZE.0, SIZE.1).build().unwrap();
        let mut buffer = gst::Buffer::from_mut_slice(vec![128u8; info.size()]);
        overlay.draw(buffer.make_mut(), &info, record).unwrap();
        let map = buffer.map_readable().unwrap();
        let (stride, luma) = (info.stride()[0] as usize, map.as_slice());
        let is_drawn = |x: usize, y: usize| luma[y * stride + x] != 128;
        (0..SIZE.0 as usize).map(|x| (below as usize..SIZE.1 as usize).filter(|y| is_drawn(x, *y)).count()).collect()
    }

    #[test]
    fn a_trail_is_the_way_over_the_scene_and_goes_with_it() {
        // A camera turns, by 4 pixels a frame; one thing stands, the picture's middle is another.
        let frames = 30;
        let standing = |frame: u64| {
            let left = 250 - 4 * frame as u32;
            record(frame, Some([left, 50, left + 40, 100]))
        };
        let way = |record_of: &dyn Fn(u64) -> FrameRecord, per_frame: f32| {
            let mut overlay = Overlay::default();
            for frame in 0..frames {
                overlay.follow(&record_of(frame), Some(|[x, y]: [f32; 2]| [x - per_frame, y]));
            }
            // Below the box, whose lower edge is as high as a line is thick.
            drawn(&mut overlay, &record_of(frames - 1), 100).iter().filter(|rows| **rows > 0).count()
        };
        assert!(way(&standing, 4.0) <= 3);
        assert!((110..125).contains(&way(&standing, 0.0)), "{}", way(&standing, 0.0));
        let followed = |frame| record(frame, Some([140, 50, 180, 100]));
        assert!((110..125).contains(&way(&followed, 4.0)), "{}", way(&followed, 4.0));
        assert!(way(&followed, 0.0) <= 3);

        // Nobody knows where the scene is after a cut.
        let mut overlay = Overlay::default();
        (0..frames).for_each(|frame| overlay.follow(&followed(frame), Some(|[x, y]: [f32; 2]| [x - 4.0, y])));
        overlay.follow(&followed(frames), None::<fn([f32; 2]) -> [f32; 2]>);
        assert!(drawn(&mut overlay, &followed(frames), 100).iter().all(|rows| *rows == 0));
    }

    #[test]
    fn a_trail_fades_with_its_age_and_after_its_thing_has_gone() {
        let mut overlay = Overlay::default();
        let stays = |at: [f32; 2]| at;
        let walking = |frame: u64| {
            let left = 3 * frame as u32;
            record(frame, Some([left, 50, left + 40, 100]))
        };
        (0..80).for_each(|frame| overlay.follow(&walking(frame), Some(stays)));
        // Its feet were at 257; a second and a half before, 37 frames, at 146. Rows from a line's half above to below.
        let rows = drawn(&mut overlay, &walking(79), 100);
        let first = rows.iter().position(|rows| *rows > 0).unwrap();
        assert!((142..150).contains(&first), "{first}");
        assert!(rows[250] > rows[first + 4], "{rows:?}");
        let mut long = usize::MAX;
        for frame in 80..125 {
            overlay.follow(&record(frame, None), Some(stays));
            let now = drawn(&mut overlay, &record(frame, None), 0).iter().filter(|rows| **rows > 0).count();
            assert!(now < long || now == 0, "frame {frame}: {now} after {long}");
            long = now;
        }
        assert!(long == 0 && overlay.trails.is_empty());
    }
}
