//! A still scene: what is always there, and what is not.

mod again;
mod file;
mod ghosts;
mod grid;
mod mask;
mod memory;
mod moving;
mod neck;
mod parts;
mod pixels;
mod random;
mod score;
mod view;

use crate::geometry::PatchLayout;
use crate::motion::camera::Movement;
use crate::motion::{Camera, Evidence};
pub use again::least as least_again;
pub use file::SceneError;
use mask::Size;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use view::{Resting, View};

/// Objects of a lower score are left out, unless something else is asked for: more of them are wrong than right.
pub const MIN_SCORE: f32 = 0.28;

/// Views that are kept beside the present one, for their return.
const VIEWS: usize = 1;
/// Where more of the patches are novel for so long, the scene is another.
const OTHER_SHARE: f32 = 0.6;
const OTHER_S: f32 = 1.0;

/// What appearance alone takes for an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// `[xmin, ymin, xmax, ymax]` in pixels of the small picture, half-open.
    pub bbox: [f32; 4],
    pub score: f32,
}

/// What the backbone saw in a part of the frame, looked at again at the frame's own pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// That part, `[xmin, ymin, xmax, ymax]` in pixels of the small picture.
    pub window: [f32; 4],
    pub found: Vec<Candidate>,
}

/// How small things are found.
#[derive(Clone, Debug, PartialEq)]
pub struct Small {
    /// The smallest, as a share of the picture: [`least_again`].
    pub least: f32,
    /// The look at this frame, where there was one.
    pub look: Option<Look>,
}

/// The middle block's keys of a frame, `[patches, dim]`, row-major over the layout's grid, without the CLS token.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    pub values: &'a [f32],
    pub dim: usize,
}

/// What speaks for an object, and what against it; 0 where a cue says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cues {
    /// The mean z of its pixels: how new its patches are, in units of what they usually vary by.
    pub novelty: f32,
    /// Its pixels that are like nothing that was seen there.
    pub pixels: f32,
    /// The share of them that are like something that comes there now and then: leaves, water.
    pub familiar: f32,
    /// How much of its place is usually foreground without being new.
    pub unrest: f32,
    /// How much more its two sides differ across the outline than the surroundings do among themselves, summed over the colours.
    pub contour: f32,
    /// How much they differ in the usual picture of the scene.
    pub scene_contour: f32,
    /// How far it moves against the camera, in units of the flow's noise.
    pub motion: f32,
    /// The score that appearance alone gives it.
    pub appearance: f32,
}

impl Cues {
    /// Of a thing and another piece of it.
    fn add(&mut self, other: Self) {
        let all = (self.pixels + other.pixels).max(1.0);
        let mean = |own: f32, others: f32| (own * self.pixels + others * other.pixels) / all;
        *self = Self {
            novelty: mean(self.novelty, other.novelty),
            pixels: self.pixels + other.pixels,
            familiar: mean(self.familiar, other.familiar),
            unrest: mean(self.unrest, other.unrest),
            contour: mean(self.contour, other.contour),
            scene_contour: mean(self.scene_contour, other.scene_contour),
            motion: self.motion.max(other.motion),
            appearance: self.appearance.max(other.appearance),
        };
    }
}

/// An object in one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// `[xmin, ymin, xmax, ymax]` in pixels of the small picture, half-open.
    pub bbox: [f32; 4],
    /// The share of such objects that are right.
    pub score: f32,
    pub cues: Cues,
}

/// What a camera's objects are known by, and what an evaluation can leave out, to learn what it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sense {
    /// Which pixels are new; without them objects are patches that are.
    Pixels,
    /// Which patches are, by their keys.
    Novelty,
    /// Holes that something left are told from things by the contour.
    Ghosts,
    /// What moves against a moving camera.
    Motion,
    /// What appearance finds before a moving camera.
    Appearance,
    /// Small things that are looked at again.
    Crops,
}

/// Some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Senses(u8);

impl Sense {
    pub const ALL: [Self; 6] = [Self::Pixels, Self::Novelty, Self::Ghosts, Self::Motion, Self::Appearance, Self::Crops];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pixels => "pixels",
            Self::Novelty => "novelty",
            Self::Ghosts => "ghosts",
            Self::Motion => "motion",
            Self::Appearance => "appearance",
            Self::Crops => "crops",
        }
    }
}

impl Senses {
    pub fn has(self, sense: Sense) -> bool {
        self.0 & 1 << sense as u8 != 0
    }

    pub fn all(self) -> impl Iterator<Item = Sense> {
        Sense::ALL.into_iter().filter(move |sense| self.has(*sense))
    }
}

impl FromIterator<Sense> for Senses {
    fn from_iter<I: IntoIterator<Item = Sense>>(senses: I) -> Self {
        Self(senses.into_iter().fold(0, |all, sense| all | 1 << sense as u8))
    }
}

/// What a source's camera has seen so far.
#[derive(Default)]
pub struct Scene {
    /// With its number.
    present: Option<(u32, View)>,
    /// Those that the camera has left, the latest last.
    left: Vec<(u32, Resting)>,
    other_since: Option<u64>,
    without: Senses,
}

/// What a still camera's view says of the frame that was asked about last; of a shaking one as laid back on the view's first picture.
#[derive(Clone, Copy, Debug)]
pub struct Maps<'a> {
    /// How new each patch was in the last frame with keys, in units of what it usually varies by; empty before any.
    pub novelty: &'a [f32],
    /// 255 where a pixel of the small picture is like nothing that was seen there, and no shadow.
    pub foreground: &'a [u8],
}

impl Scene {
    /// The same, by fewer senses.
    pub fn without(self, without: Senses) -> Self {
        Self { without, ..self }
    }

    /// Of the present view; none before a still camera was seen.
    pub fn maps(&self) -> Option<Maps<'_>> {
        self.present.as_ref().map(|(_, view)| view.maps())
    }

    /// Where the last frame shows the ground that something had stood on since the camera saw it, `[xmin, ymin, xmax, ymax]` in pixels of the
    /// small picture, before a still camera.
    pub fn holes(&self) -> &[[f32; 4]] {
        self.present.as_ref().map_or(&[], |(_, view)| &view.holes)
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let present = self.present.as_ref().map_or(0, |(_, view)| view.bytes());
        present + self.left.iter().map(|(_, view)| view.bytes()).sum::<usize>()
    }

    /// The present view as bytes, seen `by` what keys depend on (model, grid, feature, precision); none before there is one.
    pub fn save(&self, by: &str) -> Option<Vec<u8>> {
        self.present.as_ref().map(|(_, view)| file::write(view, by))
    }

    /// A scene whose view 0 is what was saved, and its picture `(width, height, packed RGB)`, which motion begins with. It is an error where
    /// the bytes are damaged, or where something else saw them.
    pub fn load(bytes: &[u8], by: &str) -> Result<(Self, Size, Vec<u8>), SceneError> {
        let view = file::read(bytes, by)?;
        let (size, picture) = (view.size, view.scene.clone());
        Ok((Self { present: Some((0, view)), ..Self::default() }, size, picture))
    }

    /// The objects of the next frame: before a still camera what does not belong to the scene, before a moving one what moves against it
    /// or what `candidates` appearance found. `keys` are of the frame as it came; `layout` is theirs, also where they are not there.
    pub fn know(
        &mut self,
        evidence: &Evidence,
        keys: Option<&Keys>,
        layout: &PatchLayout,
        candidates: &[Candidate],
    ) -> Vec<Object> {
        self.know_small(evidence, keys, layout, candidates, None)
    }

    /// The same with small things, which count where they were looked at again.
    pub fn know_small(
        &mut self,
        evidence: &Evidence,
        keys: Option<&Keys>,
        layout: &PatchLayout,
        candidates: &[Candidate],
        small: Option<&Small>,
    ) -> Vec<Object> {
        let without = self.without;
        if evidence.camera == Camera::Moving {
            let against = evidence.against.as_ref().filter(|_| !without.has(Sense::Motion));
            self.present.iter_mut().for_each(|(_, view)| view.holes.clear());
            let candidates = if without.has(Sense::Appearance) { &[] } else { candidates };
            return moving::objects(against, candidates, evidence.size);
        }
        let keys = keys.filter(|_| !without.has(Sense::Novelty));
        let laid_back = keys.map(|keys| match &evidence.shake {
            Some(shake) => Cow::Owned(keys_laid_back(keys, shake, layout, evidence.size)),
            None => Cow::Borrowed(keys.values),
        });
        let keys = keys.zip(laid_back.as_deref()).map(|(keys, values)| Keys { values, dim: keys.dim });
        let view = self.view(evidence);
        let mut objects = view.know(&evidence.rgb, evidence.pts_ns, keys.as_ref(), layout, without, small);
        let is_other = view.novel_share() > OTHER_SHARE;
        if let Some(shake) = &evidence.shake {
            objects.iter_mut().for_each(|object| object.bbox = shaken(&object.bbox, shake, evidence.size));
        }
        self.other_since = self.other_since.filter(|_| is_other).or(is_other.then_some(evidence.pts_ns));
        if self.other_since.is_some_and(|since| (evidence.pts_ns.saturating_sub(since)) as f32 > 1e9 * OTHER_S) {
            (self.present, self.other_since) = (None, None);
        }
        objects
    }

    /// The view of a frame: the present one, an old one that came back, or one that begins.
    fn view(&mut self, evidence: &Evidence) -> &mut View {
        let fits = |number: u32, size: Size| number == evidence.view && size == evidence.size;
        if let Some((number, view)) = self.present.take_if(|(number, view)| !fits(*number, view.size)) {
            self.left.push((number, view.rest()));
        }
        let known = self.left.iter().position(|(number, view)| self.present.is_none() && fits(*number, view.size));
        let back = known.map(|at| self.left.remove(at).1);
        if self.left.len() > VIEWS {
            self.left.remove(0);
        }
        let view = || (evidence.view, back.map_or_else(|| View::new(&evidence.rgb, evidence.size), Resting::waken));
        &mut self.present.get_or_insert_with(view).1
    }
}

/// The key of each of the view's patches: that of the patch which shows it now.
fn keys_laid_back(keys: &Keys, shake: &Movement, layout: &PatchLayout, size: Size) -> Vec<f32> {
    let (rows, cols, patch) = (layout.grid.rows, layout.grid.cols, layout.patch as f32);
    let scale = [size.0 as f32 / layout.image_width as f32, size.1 as f32 / layout.image_height as f32];
    let mut values = Vec::with_capacity(keys.values.len());
    for at in 0..rows * cols {
        let (x, y) = (at % cols, at / cols);
        let middle = [x, y].map(|place| (place as f32 + 0.5) * patch);
        let by = shake.by([middle[0] * scale[0] / 2.0, middle[1] * scale[1] / 2.0]);
        let place = |side: usize, count: usize| {
            ((middle[side] + 2.0 * by[side] / scale[side]) / patch).clamp(0.0, count as f32 - 1.0) as usize
        };
        let from = place(1, rows) * cols + place(0, cols);
        values.extend_from_slice(&keys.values[from * keys.dim..][..keys.dim]);
    }
    values
}

/// A box of the view in the frame as it came.
fn shaken(bbox: &[f32; 4], shake: &Movement, size: Size) -> [f32; 4] {
    let by = shake.by([(bbox[0] + bbox[2]) / 4.0, (bbox[1] + bbox[3]) / 4.0]).map(|by| 2.0 * by);
    let edge = |at: usize, limit: usize| (bbox[at] + by[at % 2]).clamp(0.0, limit as f32);
    [edge(0, size.0), edge(1, size.1), edge(2, size.0), edge(3, size.1)]
}
