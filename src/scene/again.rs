//! Small things: what moves or is new in so few pixels is a thing only where a second look, at the frame's own pixels, found it.

use super::mask::Size;
use super::view::LEAST as LEAST_WHOLE;
use super::{Cues, Look};

/// What has fewer pixels of the frame shows nothing more when it is looked at again.
const PIXELS: f32 = 400.0;
/// The smallest thing, as a share of the picture: less than this is noise.
const LEAST: f32 = 0.0002;
/// The look's box and that of the pixels are of one thing where they overlap by this IoU.
const SAME: f64 = 0.3;
/// Things are known for so long after they were seen, and so many of them.
const KNOWN_NS: u64 = 500_000_000;
const MOST: usize = 64;

/// The smallest thing that a second look can show in a frame of this size, as a share of it; none where the whole picture shows as much.
pub fn least((width, height): (u32, u32)) -> Option<f32> {
    let least = (PIXELS / (width as f32 * height as f32)).max(LEAST);
    (least < LEAST_WHOLE).then_some(least)
}

/// The small things of a view, and what looks at them have shown.
#[derive(Default)]
pub struct Again {
    known: Vec<Known>,
}

struct Known {
    bbox: [f32; 4],
    seen_ns: u64,
    /// The score of what was found, and how far its box's edges are from those of the pixels.
    found: Option<(f32, [f32; 4])>,
}

impl Again {
    /// Those of `things`, boxes of pixels, that a look has found, now or since they have been there: one that shows nothing says little.
    /// Boxes in pixels of the small picture.
    pub fn found(
        &mut self,
        things: Vec<([f32; 4], Cues)>,
        look: Option<&Look>,
        pts_ns: u64,
        size: Size,
    ) -> Vec<([f32; 4], Cues)> {
        let mut before = std::mem::take(&mut self.known);
        let mut objects = Vec::new();
        for (bbox, cues) in things.into_iter().take(MOST) {
            let known = nearest(&bbox, &before).map(|at| before.swap_remove(at).found);
            let look = look.filter(|look| is_inside(&bbox, &look.window));
            let found = look.and_then(|look| shown(&bbox, look)).or(known.flatten());
            if let Some((appearance, outset)) = found {
                let limit = [size.0, size.1].map(|side| side as f32);
                let edge = |at: usize| (bbox[at] + outset[at]).clamp(0.0, limit[at % 2]);
                objects.push(([edge(0), edge(1), edge(2), edge(3)], Cues { appearance, ..cues }));
            }
            self.known.push(Known { bbox, seen_ns: pts_ns, found });
        }
        before.retain(|known| pts_ns.saturating_sub(known.seen_ns) < KNOWN_NS);
        before.truncate(MOST - self.known.len());
        self.known.append(&mut before);
        objects
    }
}

/// The known thing that this is: the nearest, no further than its own size.
fn nearest(bbox: &[f32; 4], known: &[Known]) -> Option<usize> {
    let reach = (bbox[2] - bbox[0]).max(bbox[3] - bbox[1]);
    let apart = |of: &[f32; 4]| {
        let off = |side: usize| (of[side] + of[side + 2] - bbox[side] - bbox[side + 2]) / 2.0;
        off(0).hypot(off(1))
    };
    let near = known.iter().map(|known| apart(&known.bbox)).enumerate().filter(|(_, apart)| *apart <= reach);
    near.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
}

fn is_inside(bbox: &[f32; 4], window: &[f32; 4]) -> bool {
    (0..2).all(|side| bbox[side] >= window[side] && bbox[side + 2] <= window[side + 2])
}

/// What the look shows there. Its box knows the outline, that of the pixels the place: their mean is the thing's.
fn shown(bbox: &[f32; 4], look: &Look) -> Option<(f32, [f32; 4])> {
    let overlap = |of: &[f32; 4]| crate::geometry::iou(&of.map(f64::from), &bbox.map(f64::from));
    let of = look.found.iter().max_by(|a, b| overlap(&a.bbox).total_cmp(&overlap(&b.bbox)))?;
    let outset = [0, 1, 2, 3].map(|edge| (of.bbox[edge] - bbox[edge]) / 2.0);
    (overlap(&of.bbox) >= SAME).then_some((of.score, outset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Candidate;

    #[test]
    fn a_small_thing_is_one_once_a_look_found_it_and_while_it_is_there() {
        let mut again = Again::default();
        let thing = |frame: u64| [40.0 + frame as f32, 40.0, 46.0 + frame as f32, 50.0];
        let mut see = |frame: u64, found: Option<Vec<Candidate>>| {
            let look = found.map(|found| Look { window: [20.0, 20.0, 70.0, 70.0], found });
            let things = vec![(thing(frame), Cues::default()), ([100.0, 40.0, 105.0, 46.0], Cues::default())];
            again.found(things, look.as_ref(), frame * 40_000_000, (384, 216))
        };
        assert!(see(0, None).is_empty(), "nobody has looked");
        let candidate = Candidate { bbox: [41.0, 38.0, 47.0, 52.0], score: 0.6 };
        let found = see(1, Some(vec![candidate]));
        assert_eq!(found.len(), 1, "the other is outside of what was looked at");
        assert_eq!((found[0].0, found[0].1.appearance), ([41.0, 39.0, 47.0, 51.0], 0.6));
        assert_eq!(see(2, None)[0].0, [42.0, 39.0, 48.0, 51.0], "it moves on");
        let elsewhere = Candidate { bbox: [55.0, 55.0, 65.0, 65.0], score: 0.9 };
        assert_eq!(see(3, Some(vec![elsewhere])).len(), 1);
        assert!(see(30, None).is_empty(), "who comes a second later is another");
    }

    #[test]
    fn the_larger_the_frame_the_smaller_what_can_be_shown() {
        assert!((least((1280, 720)).unwrap() - 0.000434).abs() < 1e-6);
        assert_eq!((least((3840, 2160)), least((640, 480))), (Some(LEAST), None));
    }
}
