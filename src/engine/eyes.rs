//! What a lane makes of time: a small picture of every frame, before the model, and the scene's objects after it.

use super::held::Held;
use super::lanes::Answer;
use super::task::Task;
use crate::geometry::{PatchLayout, PixelBox};
use crate::motion::{Camera, Evidence, Motion};
use crate::record::{GridRecord, ObjectRecord};
use crate::scene::{Candidate, Keys, Look, Scene, SceneError, Small, least_again};
use crate::stream::frame::{Frame, FrameFit};

/// The small picture is no wider; its pixels are what boxes are as fine as.
const WIDTH: u32 = 384;
/// Motion needs at least so many pixels of a side.
const LEAST_SIDE: u32 = 32;

/// A crop is so many times as wide as the thing in its middle, at least so many pixels of the frame, and so many patches for the model.
const CROP: f32 = 2.0;
const LEAST_CROP: u32 = 160;
pub(super) const CROP_PATCHES: u32 = 16;

/// Objects of a lower score are not followed; those below what is asked for are no objects, but tracks go on by them.
const FOLLOWED: f32 = 0.1;

/// Keeps bytes.
pub type Keep = Box<dyn FnMut(&[u8]) + Send>;

/// What a source's camera has seen, from one run to the next.
pub struct KeptScene {
    /// What its keys depend on: the model, its output, its precision.
    pub by: String,
    /// What the last run kept.
    pub before: Option<Vec<u8>>,
    /// Takes what this one keeps.
    pub keep: Keep,
}

/// What a source begins with.
pub(super) fn begin(kept: &mut Option<KeptScene>) -> Result<(Eyes, Scene), SceneError> {
    let known = kept.as_mut().and_then(|kept| Some((kept.before.take()?, &kept.by)));
    let Some((bytes, by)) = known else { return Ok(Default::default()) };
    let (scene, (width, height), picture) = Scene::load(&bytes, by)?;
    let motion = ((width as u32, height as u32), Motion::resume((width, height), &picture));
    Ok((Eyes { motion: Some(motion), ..Eyes::default() }, scene))
}

/// Sees every frame of one source, in order.
#[derive(Default)]
pub(super) struct Eyes {
    fit: FrameFit,
    /// For small pictures of this size.
    motion: Option<((u32, u32), Motion)>,
    rgb: Vec<u8>,
}

impl Eyes {
    /// Bytes that movement is known by.
    pub fn bytes(&self) -> usize {
        self.rgb.len() + self.motion.as_ref().map_or(0, |(_, motion)| motion.bytes())
    }

    /// None where the frame is too small, or cannot be looked at. What is small in it is watched where crops are asked for.
    pub fn look(&mut self, frame: &Frame, with_crops: bool) -> Option<Evidence> {
        let (width, height) = frame.display_size();
        let wide = width.min(WIDTH);
        let size = (wide, (u64::from(height) * u64::from(wide) / u64::from(width.max(1))) as u32);
        if size.0.min(size.1) < LEAST_SIDE {
            return None;
        }
        self.rgb.resize(3 * size.0 as usize * size.1 as usize, 0);
        self.fit.rgb(frame, size, &mut self.rgb).ok()?;
        self.motion.take_if(|(known, _)| *known != size);
        let new = || (size, Motion::new((size.0 as usize, size.1 as usize)));
        let motion = &mut self.motion.get_or_insert_with(new).1;
        let evidence = motion.look(&self.rgb, frame.pts_ns);
        if with_crops && shows_more(frame) {
            motion.watch_small(&evidence);
        }
        Some(evidence)
    }

    /// The part of the last frame that the model is to see again, in the frame's displayed pixels: a square around something small.
    pub fn look_again(&mut self, frame: &Frame) -> Option<PixelBox> {
        let (width, height) = frame.display_size();
        let (small, motion) = self.motion.as_mut().filter(|_| shows_more(frame))?;
        let bbox = motion.look_again()?;
        let scale = [width as f32 / small.0 as f32, height as f32 / small.1 as f32];
        let reach = ((bbox[2] - bbox[0]) * scale[0]).max((bbox[3] - bbox[1]) * scale[1]);
        let side = ((CROP * reach) as u32).max(LEAST_CROP).min(width.min(height)) & !1;
        let first = |at: usize, limit: u32| {
            let middle = (bbox[at] + bbox[at + 2]) / 2.0 * scale[at];
            ((middle - side as f32 / 2.0).max(0.0) as u32).min(limit - side) & !1
        };
        let (xmin, ymin) = (first(0, width), first(1, height));
        Some(PixelBox { xmin, ymin, xmax: xmin + side, ymax: ymin + side })
    }
}

/// Whether a part of the frame shows small things better than the whole.
fn shows_more(frame: &Frame) -> bool {
    least_again(frame.display_size()).is_some() && frame.is_whole()
}

/// The objects of a frame of `size`, displayed width and height, and the mean key of each one's patches where the model saw the frame; also
/// those of low scores, which tracks go on by. `held` is the model's last answer, which is of this frame where it was
/// inferred, `again` a part of the frame that it saw, and its answer.
pub(super) fn objects(
    scene: &mut Scene,
    evidence: &Evidence,
    (held, is_inferred, again): (&Held, bool, Option<&(PixelBox, Answer)>),
    layout: &PatchLayout,
    size: (u32, u32),
    task: &Task,
) -> (Vec<ObjectRecord>, Vec<Vec<f32>>) {
    let small = (evidence.size.0 as u32, evidence.size.1 as u32);
    let candidates = match evidence.camera {
        Camera::Moving => held.candidates(small),
        Camera::Still | Camera::Shaking => Vec::new(),
    };
    let answer = held.answer();
    let keys = answer.filter(|_| is_inferred).and_then(|answer| answer.keys.as_ref());
    let keys = keys.map(|(values, dim)| Keys { values: &values[..], dim: *dim });
    let scale = [size.0 as f32 / small.0 as f32, size.1 as f32 / small.1 as f32];
    let least = task.cue.min_score().min(FOLLOWED);
    let look = again.map(|(part, answer)| look(part, answer, scale));
    let of_small = least_again(size).filter(|_| task.cue.with_crops()).map(|least| Small { least, look });
    let found = scene.know_small(evidence, keys.as_ref(), layout, &candidates, of_small.as_ref());
    let features = answer.filter(|answer| answer.layout == *layout).and_then(|answer| answer.features.as_deref());
    let name = |patches: &[usize]| task.groups.as_ref()?.name_of(features?, patches).map(str::to_owned);
    let grid = GridRecord::new(layout, size.0, size.1);
    let (mut objects, mut means) = (Vec::new(), Vec::new());
    for object in found.iter().filter(|object| object.score >= least) {
        let Some(bbox) = bbox(&object.bbox, scale, size) else { continue };
        let patches = grid.patches_in(bbox);
        let label = name(&patches);
        means.extend(keys.map(|keys| mean(&keys, &patches)));
        objects.push(ObjectRecord::of_place(bbox, object.score, object.cues, &patches, label, layout, task.with_masks));
    }
    (objects, means)
}

/// Of the keys of these patches.
fn mean(keys: &Keys, patches: &[usize]) -> Vec<f32> {
    let mut sum = vec![0.0; keys.dim];
    for key in patches.iter().filter_map(|patch| keys.values.get(patch * keys.dim..)?.get(..keys.dim)) {
        sum.iter_mut().zip(key).for_each(|(sum, value)| *sum += value);
    }
    let count = patches.len().max(1) as f32;
    sum.iter_mut().for_each(|sum| *sum /= count);
    sum
}

/// What the model saw in a part of the frame, whose pixels are `scale` to one of the small picture.
fn look(part: &PixelBox, answer: &Answer, scale: [f32; 2]) -> Look {
    let small = |at: [u32; 4]| [0, 1, 2, 3].map(|edge| at[edge] as f32 / scale[edge % 2]);
    let found = answer.objects.iter().map(|(found, _)| {
        let inside = answer.layout.frame_from_image(&found.bbox, part.width(), part.height());
        let (left, top) = (part.xmin, part.ymin);
        let edges = [left + inside.xmin, top + inside.ymin, left + inside.xmax, top + inside.ymax];
        Candidate { bbox: small(edges), score: found.score }
    });
    Look { window: small([part.xmin, part.ymin, part.xmax, part.ymax]), found: found.collect() }
}

/// In pixels of the frame; none where nothing of it is in there.
fn bbox(small: &[f32; 4], scale: [f32; 2], (width, height): (u32, u32)) -> Option<[u32; 4]> {
    let most = [width, height, width, height];
    let edge = |at: usize| ((small[at] * scale[at % 2]).round().max(0.0) as u32).min(most[at]);
    let bbox = [0, 1, 2, 3].map(edge);
    (bbox[0] < bbox[2] && bbox[1] < bbox[3]).then_some(bbox)
}
