//! What moves: the camera, told from small pictures of the past, and what moves against it.
//!
//! [`Motion::look`] runs before the model on the source's own thread, for every frame. It knows numbers alone: no clock but the frames'
//! time stamps, no I/O, no threads; the same frames give the same evidence.

mod again;
pub mod camera;
mod carry;
pub mod flow;
pub mod grey;
mod need;
mod warp;

use again::Again;
use camera::{LEAST, Model, Movement, distance, movement, movement_near};
pub use carry::Carry;
use flow::{LEAST_SIDE, SIDE, TEXTURE, Vector, flow};
use grey::{Grey, Pyramid};
pub use need::Need;
use need::Rest;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use warp::laid_back;

/// Squares in a row, to find a still camera's movement.
const CAMERA_SQUARES: usize = 16;
/// The step between squares, to find a moving camera's from frame to frame ...
const FRAME_STEP: usize = 8;
/// ... by less texture than is needed over longer spacings: a lawn has little, and must not be outvoted by the car on it.
const FRAME_TEXTURE: f32 = 1.0;
/// The step between squares, to find what moves against it.
const DENSE_STEP: usize = 4;
/// Less movement is none, in pixels of the half-sized grey picture.
const NONE: f32 = 0.3;
/// A camera that went further than this share of the picture's width has another view.
const FAR: f32 = 0.06;
/// The share of squares that must fit the camera's movement.
const FITTING: f32 = 0.4;
/// ... and of a moving one's, where much may be what moves against it.
const FITTING_MOVING: f32 = 0.25;
/// A moving camera is still again after so long.
pub const SETTLED_NS: u64 = 1_000_000_000;
/// ... in which no frame moved by more than this, in pixels of the grey picture.
const SETTLED: f32 = 0.5;
/// A new picture in place of the last one: nothing fits, and grey values differ by this in the mean.
const CUT: f32 = 18.0;
/// Two pictures that are too plain for their movement are of one view where this share of them is the same.
const SAME: f32 = 0.4;
/// Pictures of other views that are kept for their return.
const VIEWS: usize = 2;
/// Grey pictures of the past: what is slow has moved in so many frames.
const PAST: usize = 13;
/// Movement against the camera at its strongest place, in grey pixels, below which a longer spacing is taken, and above which a shorter.
const SLOW: f32 = 1.0;
const FAST: f32 = 5.0;
/// ... and the camera's own movement, as a share of the picture's width, above which a shorter one is taken.
const TURNED: f32 = 0.15;
/// The flow is no better than this, in grey pixels.
const NOISE: f32 = 0.1;

/// How a camera behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Camera {
    Still,
    /// Still but for shaking: frames are laid back on the view's first.
    Shaking,
    Moving,
}

/// What one frame says before any model has seen it.
#[derive(Clone, Debug)]
pub struct Evidence {
    pub pts_ns: u64,
    pub camera: Camera,
    /// Which view of a still camera it is; one that was left and came back has its old number.
    pub view: u32,
    /// The small picture, packed RGB, laid back on the view's first where the camera shakes.
    pub rgb: Vec<u8>,
    /// `(width, height)` of the small picture.
    pub size: (usize, usize),
    /// The small picture's luma at half its size, as it came.
    pub grey: Arc<Grey>,
    /// How pixels of the view's first picture moved to this one's, in the grey picture's pixels, where the camera shakes.
    pub shake: Option<Movement>,
    /// Of a moving camera: how the grey picture's pixels move to the frame before, where that is clear.
    pub back: Option<Movement>,
    /// Of a moving camera: where squares of the grey picture lie in the frame before.
    pub flow: Vec<Vector>,
    /// Of a moving camera: what moves against it.
    pub against: Option<Against>,
    /// The first frame after a cut.
    pub is_cut: bool,
    /// What of the backbone this frame needs; none where it may rest.
    pub need: Option<Need>,
}

/// Movement against the camera, for squares of the small picture, `[rows, cols]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Against {
    pub rows: usize,
    pub cols: usize,
    /// The middle of the first square in the small picture, and the step between squares, in its pixels.
    pub first: f32,
    pub step: f32,
    /// Lengths in pixels of the small picture, over the spacing that was looked at.
    pub pixels: Vec<f32>,
    /// What the camera's model is off by where nothing else moves, in the same pixels.
    pub noise: f32,
}

/// A frame that was seen.
struct Past {
    grey: Pyramid,
    /// How its pixels move to the frame before it, where that was looked for and found.
    back: Option<Movement>,
}

/// A source's movement so far.
pub struct Motion {
    size: (usize, usize),
    past: VecDeque<Past>,
    /// The views' first pictures, the present one last.
    views: Vec<(u32, Pyramid)>,
    next_view: u32,
    camera: Camera,
    settled_ns: u64,
    /// Frames back, for what moves against the camera.
    spacing: usize,
    rest: Rest,
    again: Again,
}

impl Motion {
    /// For small pictures of `(width, height)` pixels, each at least 32.
    pub fn new(size: (usize, usize)) -> Self {
        let (past, views) = (VecDeque::new(), Vec::new());
        Self {
            size,
            past,
            views,
            next_view: 0,
            camera: Camera::Still,
            settled_ns: 0,
            spacing: 4,
            rest: Rest::default(),
            again: Again::default(),
        }
    }

    /// The same, of a camera that is known to see this picture (packed RGB), its view 0, where it still does.
    pub fn resume(size: (usize, usize), rgb: &[u8]) -> Self {
        let mut motion = Self::new(size);
        motion.see_view(&Pyramid::new(Grey::half_of(rgb, size.0, size.1), LEAST_SIDE));
        motion
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let past: usize = self.past.iter().map(|past| past.grey.bytes()).sum();
        past + self.views.iter().map(|(_, pyramid)| pyramid.bytes()).sum::<usize>() + self.again.bytes()
    }

    /// The next frame's small picture, packed RGB of this motion's size.
    pub fn look(&mut self, rgb: &[u8], pts_ns: u64) -> Evidence {
        let (width, height) = self.size;
        let now = Pyramid::new(Grey::half_of(rgb, width, height), LEAST_SIDE);
        let last = self.past.back().map(|past| &past.grey);
        let difference = last.map_or(0.0, |last| off(&last.0[0], &now.0[0]));
        let far = FAR * now.0[0].width as f32;
        let of_view = self.views.last().and_then(|(_, first)| between(first, &now)).filter(|found| found.reach() < far);
        // What fits the view needs no second look.
        let flow = last.filter(|_| of_view.is_none()).map(|last| flow(&now, last, FRAME_STEP, FRAME_TEXTURE).vectors);
        let of_frame = flow.as_ref().and_then(|flow| frame_back(flow, &now));
        let is_cut = of_view.is_none() && of_frame.is_none() && difference > CUT;
        match of_view {
            // A moving camera that nothing fits may have moved too fast to follow.
            None if self.views.is_empty() || is_cut && self.camera != Camera::Moving => self.see_view(&now),
            None => {
                let is_settled = of_frame.is_some_and(|found| found.reach() < SETTLED);
                if self.camera != Camera::Moving || !is_settled {
                    self.settled_ns = pts_ns;
                }
                self.camera = Camera::Moving;
                if is_settled && pts_ns.saturating_sub(self.settled_ns) >= SETTLED_NS {
                    self.see_view(&now);
                }
            }
            // A moving camera that passes its old view goes on moving.
            Some(_) if self.camera == Camera::Moving && pts_ns.saturating_sub(self.settled_ns) < SETTLED_NS => {}
            Some(found) if found.reach() < NONE => self.camera = Camera::Still,
            Some(_) => self.camera = Camera::Shaking,
        }
        let shake = of_view.filter(|_| self.camera == Camera::Shaking);
        let against = (self.camera == Camera::Moving).then(|| self.against(&now, of_frame)).flatten();
        let need = self.rest.need(&now, self.camera, is_cut, pts_ns);
        if is_cut {
            self.past.clear();
        }
        let grey = Arc::new(now.0[0].clone());
        self.past.push_back(Past { grey: now, back: of_frame });
        if self.past.len() > PAST {
            self.past.pop_front();
        }
        Evidence {
            pts_ns,
            camera: self.camera,
            view: self.views.last().map_or(0, |(view, _)| *view),
            rgb: match &shake {
                Some(shake) => laid_back(rgb, self.size, shake),
                None => rgb.to_vec(),
            },
            size: self.size,
            grey,
            shake,
            back: of_frame.filter(|_| self.camera == Camera::Moving),
            flow: flow.filter(|_| self.camera == Camera::Moving).unwrap_or_default(),
            against,
            is_cut,
            need,
        }
    }

    /// Watches what is small in the frame that this was said of last, for [`Self::look_again`].
    pub fn watch_small(&mut self, evidence: &Evidence) {
        let Some(now) = self.past.back() else { return };
        match evidence.camera {
            Camera::Still if !evidence.is_cut => self.again.see(&now.grey.0[0], evidence.pts_ns),
            Camera::Shaking if !evidence.is_cut => self.again.pass_over(),
            Camera::Still | Camera::Shaking | Camera::Moving => self.again = Again::default(),
        }
    }

    /// The box of the small thing of the last frame that is to be looked at again, `[xmin, ymin, xmax, ymax]` in pixels of the small
    /// picture; they take turns.
    pub fn look_again(&mut self) -> Option<[f32; 4]> {
        self.again.next().map(|bbox| bbox.map(|edge| 2.0 * edge))
    }

    /// A still camera sees this: an old view, or a new one.
    fn see_view(&mut self, now: &Pyramid) {
        let far = FAR * now.0[0].width as f32;
        let fits = |(_, first): &(u32, Pyramid)| between(first, now).is_some_and(|found| found.reach() < far);
        let known = self.views.iter().position(fits);
        let view = match known {
            Some(at) => self.views.remove(at),
            None => {
                self.next_view += 1;
                (self.next_view - 1, now.clone())
            }
        };
        self.views.push(view);
        if self.views.len() > VIEWS + 1 {
            self.views.remove(0);
        }
        self.camera = Camera::Still;
    }

    /// What moves against the camera, over a spacing at which it shows; none where the camera's movement is not clear.
    fn against(&mut self, now: &Pyramid, of_frame: Option<Movement>) -> Option<Against> {
        let size = (now.0[0].width, now.0[0].height);
        let (field, camera) = loop {
            let back = self.spacing.min(self.past.len());
            let then = &self.past.get(self.past.len().checked_sub(back)?)?.grey;
            let field = flow(now, then, DENSE_STEP, TEXTURE);
            let frames = self.past.iter().rev().take(back - 1).map(|past| past.back);
            let path: Option<Vec<Movement>> = std::iter::once(of_frame).chain(frames).collect();
            let near = path.and_then(|path| movement_near(&field.vectors, size, Model::Plane, |at| along(&path, at)));
            let fits = |found: &Movement| found.fitting >= FITTING_MOVING;
            let any = || movement(&field.vectors, size, Model::Plane).filter(fits);
            let camera = near.filter(fits).or_else(any);
            match camera {
                Some(camera) => break (field, camera),
                None if back == 1 => return None,
                // It went too far for the flow to follow.
                None => self.spacing = (back / 4).max(1),
            }
        };
        // Where the camera has not been there is nothing to compare with.
        let edges = [size.0, size.1].map(|side| SIDE as f32 / 2.0..=side as f32 - 1.0 - SIDE as f32 / 2.0);
        let off = |vector: &flow::Vector| {
            let by = camera.by(vector.at);
            let was_seen = (0..2).all(|side| edges[side].contains(&(vector.at[side] + by[side])));
            match vector.error.is_finite() && was_seen {
                true => distance(by, vector.by),
                false => 0.0,
            }
        };
        let pixels: Vec<f32> = field.vectors.iter().map(|vector| 2.0 * off(vector)).collect();
        let mut ordered = pixels.clone();
        let place = (ordered.len() * 199 / 200).min(ordered.len().checked_sub(1)?);
        let strongest = *ordered.select_nth_unstable_by(place, f32::total_cmp).1 / 2.0;
        let turned = camera.reach() / size.0 as f32;
        self.spacing = match self.spacing {
            spacing if strongest > FAST || turned > TURNED => (spacing / 2).max(1),
            spacing if strongest < SLOW && turned < TURNED / 2.0 => (spacing * 2).min(PAST - 1),
            spacing => spacing,
        };
        let noise = 2.0 * (camera.noise + NOISE);
        let (rows, cols) = (field.rows, field.cols);
        let step = 2.0 * DENSE_STEP as f32;
        Some(Against { rows, cols, first: 8.0, step, pixels, noise })
    }
}

/// The camera's movement from one picture to another, where most squares agree on one.
fn between(from: &Pyramid, to: &Pyramid) -> Option<Movement> {
    let step = (from.0[0].width / CAMERA_SQUARES).max(DENSE_STEP);
    let field = flow(from, to, step, TEXTURE);
    let size = (from.0[0].width, from.0[0].height);
    match field.vectors.iter().filter(|vector| vector.error.is_finite()).count() >= LEAST {
        true => movement(&field.vectors, size, Model::Similarity).filter(|found| found.fitting >= FITTING),
        // A lawn, a wall: too plain to be followed, but the same wall.
        false => (need::unchanged(&from.0[0], &to.0[0]) >= SAME).then(|| Movement::none(size)),
    }
}

/// How a moving camera's pixels move to the frame before.
fn frame_back(flow: &[Vector], now: &Pyramid) -> Option<Movement> {
    let size = (now.0[0].width, now.0[0].height);
    movement(flow, size, Model::Similarity).filter(|found| found.fitting >= FITTING_MOVING)
}

/// Where a pixel moves from frame to frame, in all.
fn along(path: &[Movement], at: [f32; 2]) -> [f32; 2] {
    let moved = |[x, y]: [f32; 2], frame: &Movement| {
        let by = frame.by([x, y]);
        [x + by[0], y + by[1]]
    };
    let to = path.iter().fold(at, moved);
    [to[0] - at[0], to[1] - at[1]]
}

/// The mean absolute difference.
fn off(last: &Grey, now: &Grey) -> f32 {
    let apart = last.values.iter().zip(&now.values).map(|(last, now)| (now - last).abs());
    apart.sum::<f32>() / now.values.len().max(1) as f32
}
