//! One view of a still camera: its pixels, its patches, and what in a frame does not belong to it.

use super::again::Again;
use super::ghosts::{self, Compared, Contour, contour, kept_texture};
use super::grid::{UNITS, gather, spread};
use super::mask::{self, Size};
use super::memory::Memory;
use super::parts::{Part, components, join, split};
use super::pixels::{Pixels, Planes, Seen, planes};
use super::{Cues, Keys, Maps, Object, Sense, Senses, Small, score};
use crate::geometry::PatchLayout;
use crate::localize::kernel::vectorized;
use std::collections::VecDeque;

/// Distance, summed over the colours, to which a sample is near.
const NEAR: u8 = 34;
/// The smallest thing that needs no second look, and the smallest piece of a thing, as shares of the picture.
pub(super) const LEAST: f32 = 0.001;
const LEAST_PIECE: f32 = 0.0002;
/// Asked of the 90th percentile of z in a part, more where foreground without novelty keeps coming (leaves, water), and at most.
const ACCEPT: f32 = 0.3;
const ACCEPT_UNREST: f32 = 10.0;
const ACCEPT_MOST: f32 = 1.5;
/// Foreground of less z than this is unrest, which is a mean over so many seconds.
const UNREST_NOVELTY: f32 = 0.35;
const UNREST_S: f32 = 2.0;
/// ... looked at this often.
const REST_S: f32 = 0.1;
/// A pixel's samples are renewed, each second, by chance: usually, where features see nothing new in new colours, and where they do.
/// A frame shows no more than one of [`FRAME_S`] does.
const LEARN: f32 = 1.5;
const LEARN_CALM: f32 = 5.0;
const LEARN_NOVEL: f32 = 0.0125;
const FRAME_S: f32 = 1.0 / 24.0;
/// What keeps so much of the scene's texture is light or shadow on it.
const KEPT_TEXTURE: f32 = 0.5;
/// A shadow is at what throws it: a dark part with less foreground than this share of it, and an outline sharper by so much (sum over the
/// colours), is a thing.
const THROWN: f32 = 0.15;
const OUTLINE: f32 = 20.0;
const CALM: f32 = 0.5;
const NOVEL: f32 = 1.0;
/// So long ago a picture is compared with to see what moves, at least, and so many grey values are a movement.
const EARLIER_NS: u64 = 250_000_000;
const MOVED: u8 = 12;
/// Pictures kept for that: with more frames a second some are passed over.
const KEPT: usize = 8;
/// A thing's piece above or below is at most so many patches away.
const GAP: f32 = 2.0;

/// The scene's picture follows what is not new after so long.
const FOLLOW_S: f32 = 0.1;
/// Unrest is kept for each pixel in bytes of this many to one.
const RESTLESS: f32 = 4.0 * UNITS;
/// z before any keys have come, in [`UNITS`]: neither calm nor novel, so that pixels decide alone.
const UNKNOWN: u8 = 48;

pub struct View {
    pub(super) size: Size,
    pub(super) pixels: Pixels,
    pub(super) memory: Option<Memory>,
    /// Of the patches: the mean share of restless foreground.
    pub(super) unrest: Vec<f32>,
    /// The scene's usual colours, packed RGB.
    pub(super) scene: Vec<u8>,
    /// z and unrest for each pixel, in [`UNITS`].
    novelty: Vec<u8>,
    restless: Vec<u8>,
    recent: VecDeque<(u64, Vec<u8>)>,
    pub(super) frames: u32,
    /// What the last picture shows the ground of, where something stood: `[xmin, ymin, xmax, ymax]` in pixels.
    pub(super) holes: Vec<[f32; 4]>,
    last_ns: Option<u64>,
    looked_ns: Option<u64>,
    /// Seconds since the scene's picture followed, and since unrest was looked at.
    unfollowed: f32,
    unrested: f32,
    colours: Vec<Planes>,
    seen: Seen,
    chances: Vec<u16>,
    again: Again,
}

/// A view that the camera has left, in a third of the bytes.
pub struct Resting {
    pub size: Size,
    pixels: Pixels,
    memory: Option<Memory>,
    unrest: Vec<f32>,
    scene: Vec<u8>,
    frames: u32,
}

impl Resting {
    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let memory = self.memory.as_ref().map_or(0, Memory::bytes);
        self.pixels.bytes() + memory + self.scene.len() + 4 * self.unrest.len()
    }

    /// The camera is back.
    pub fn waken(self) -> View {
        let Self { size, pixels, memory, unrest, scene, frames } = self;
        View::of(size, pixels.waken(), scene, memory.map(Memory::waken), unrest, frames)
    }
}

impl View {
    /// The first picture is the scene, packed RGB.
    pub fn new(rgb: &[u8], size: Size) -> Self {
        let mut colours = Vec::new();
        planes(rgb, &mut colours);
        let pixels = Pixels::new(&colours, size.0 * size.1);
        Self::of(size, pixels, rgb.to_vec(), None, Vec::new(), 0)
    }

    pub(super) fn of(
        size: Size,
        pixels: Pixels,
        scene: Vec<u8>,
        memory: Option<Memory>,
        unrest: Vec<f32>,
        frames: u32,
    ) -> Self {
        let count = size.0 * size.1;
        Self {
            size,
            pixels,
            memory,
            unrest,
            scene,
            novelty: vec![UNKNOWN; count],
            restless: vec![0; count],
            recent: VecDeque::new(),
            frames,
            holes: Vec::new(),
            last_ns: None,
            looked_ns: None,
            unfollowed: 0.0,
            unrested: 0.0,
            colours: Vec::new(),
            seen: Seen::default(),
            chances: Vec::new(),
            again: Again::default(),
        }
    }

    /// The camera sees another.
    pub fn rest(self) -> Resting {
        let Self { size, pixels, memory, unrest, scene, frames, .. } = self;
        Resting { size, pixels: pixels.rest(), memory: memory.map(Memory::rest), unrest, scene, frames }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        let recent: usize = self.recent.iter().map(|(_, rgb)| rgb.len()).sum();
        let memory = self.memory.as_ref().map_or(0, Memory::bytes);
        // Colours, novelty, unrest, chances and the three masks of a comparison.
        self.pixels.bytes() + memory + recent + self.scene.len() + 10 * self.novelty.len() + 4 * self.unrest.len()
    }

    /// See [`Maps`].
    pub fn maps(&self) -> Maps<'_> {
        let novelty = self.memory.as_ref().map_or(&[][..], |memory| &memory.z);
        Maps { novelty, foreground: &self.seen.foreground }
    }

    /// The share of patches that are novel, in the last frame with keys.
    pub fn novel_share(&self) -> f32 {
        let Some(memory) = &self.memory else { return 0.0 };
        memory.z.iter().filter(|z| **z > NOVEL).count() as f32 / memory.z.len() as f32
    }

    /// What in the next picture, packed RGB, does not belong to the scene. Without keys novelty is the last frame's with them, for
    /// patches as `layout` says. Small things are left out where nobody says how they are found.
    pub fn know(
        &mut self,
        rgb: &[u8],
        pts_ns: u64,
        keys: Option<&Keys>,
        layout: &PatchLayout,
        without: Senses,
        small: Option<&Small>,
    ) -> Vec<Object> {
        let seconds = self.last_ns.map_or(FRAME_S, |last| pts_ns.saturating_sub(last) as f32 / 1e9);
        self.last_ns = Some(pts_ns);
        self.frames = self.frames.saturating_add(1);
        if let Some(keys) = keys {
            // Frames of another size can have other patches, and a small picture of the same size.
            self.memory.take_if(|memory| (memory.dim, memory.mean.len()) != (keys.dim, keys.values.len()));
            let memory = self.memory.get_or_insert_with(|| Memory::new(keys.values, keys.dim));
            memory.compare(keys.values);
            spread(&memory.z, layout, self.size, &mut self.novelty);
        }
        planes(rgb, &mut self.colours);
        self.pixels.compare(&self.colours, NEAR, &mut self.seen);
        if without.has(Sense::Pixels) {
            self.seen.known.fill(0);
            let is_novel = |z: &u8| if f32::from(*z) > NOVEL * UNITS { 255 } else { 0 };
            self.seen.foreground = self.novelty.iter().map(is_novel).collect();
        }
        let dark = self.undo_shadows(rgb);
        let mut foreground = Vec::new();
        mask::majority(&self.seen.foreground, self.size, &mut foreground);
        let mut closed = foreground.clone();
        mask::close(&mut closed, self.size, (1, 4));

        let moving = self.moving(rgb);
        let mut parts = components(&closed, self.size);
        let holes = match without.has(Sense::Ghosts) {
            true => vec![0; closed.len()],
            false => self.without_holes(rgb, &moving, (&parts, dark), &mut closed),
        };
        if holes.contains(&255) {
            parts = components(&closed, self.size);
        }
        self.remember(rgb, pts_ns);
        let objects = self.objects(parts, (rgb, pts_ns), &moving, layout, small);
        self.learn(rgb, seconds, &holes);
        if keys.is_some() {
            let since = self.looked_ns.map_or(seconds, |last| pts_ns.saturating_sub(last) as f32 / 1e9);
            self.looked_ns = Some(pts_ns);
            let share = gather(&self.seen.foreground, layout, self.size);
            let hole = match holes.contains(&255) {
                true => gather(&holes, layout, self.size),
                false => vec![0.0; share.len()],
            };
            if let Some(memory) = &mut self.memory {
                memory.learn(since, &share, &hole);
            }
        }
        self.unrested += seconds;
        if self.unrested >= REST_S {
            let seconds = std::mem::take(&mut self.unrested);
            self.see_unrest(foreground, seconds, layout);
        }
        objects
    }

    /// A dark thing is no shadow of another: it is new to the features by itself, and has an outline of its own. Where the scene has had the
    /// outline, it is the dark ground that something has left: gives these holes.
    fn undo_shadows(&mut self, rgb: &[u8]) -> Vec<Part> {
        let mut dark = vec![0; self.novelty.len()];
        dark_and_new(&self.novelty, &self.seen.new, &mut dark);
        let mut smooth = Vec::new();
        mask::majority(&dark, self.size, &mut smooth);
        let compared = Compared { now: rgb, scene: &self.scene, moving: &[], size: self.size };
        let mut holes = Vec::new();
        for part in components(&smooth, self.size) {
            let foreground = part.pixels(self.size.0).filter(|at| self.seen.foreground[*at] != 0).count();
            let is_small = (part.area as f32) < LEAST * dark.len() as f32;
            if is_small || foreground as f32 > THROWN * part.area as f32 || self.is_light(&part, rgb) {
                continue;
            }
            let Contour { now, scene, around, .. } = contour(&part, &compared, false);
            if now > scene.max(around) + OUTLINE {
                part.pixels(self.size.0).for_each(|at| self.seen.foreground[at] = 255);
            } else if scene > now.max(around) + OUTLINE {
                holes.push(part);
            }
        }
        holes
    }

    /// Whether a part is the scene itself in another light.
    fn is_light(&self, part: &Part, rgb: &[u8]) -> bool {
        kept_texture(part, rgb, &self.scene, self.size).is_some_and(|kept| kept > KEPT_TEXTURE)
    }

    /// What is other than a moment ago.
    fn moving(&self, rgb: &[u8]) -> Vec<u8> {
        let earlier = self.recent.front().map_or(rgb, |(_, earlier)| earlier);
        let mut moving = vec![0; rgb.len() / 3];
        mask::changed(rgb, earlier, MOVED, &mut moving);
        mask::dilate(&mut moving, self.size, (1, 1));
        moving
    }

    fn remember(&mut self, rgb: &[u8], pts_ns: u64) {
        let newest = self.recent.back().map_or(0, |(newest, _)| *newest);
        if self.recent.is_empty() || pts_ns.saturating_sub(newest) >= EARLIER_NS / (KEPT as u64 - 1) {
            self.recent.push_back((pts_ns, rgb.to_vec()));
        }
        while self.recent.get(1).is_some_and(|(second, _)| second + EARLIER_NS <= pts_ns) {
            self.recent.pop_front();
        }
    }

    /// Takes holes out of the foreground, with those that are `dark`; says where they are.
    fn without_holes(
        &mut self,
        rgb: &[u8],
        moving: &[u8],
        (parts, dark): (&[Part], Vec<Part>),
        closed: &mut [u8],
    ) -> Vec<u8> {
        let parts = parts.iter().filter(|part| self.is_novel(part));
        let compared = Compared { now: rgb, scene: &self.scene, moving, size: self.size };
        let mut found = match self.recent.front() {
            Some(_) => ghosts::find(parts, &compared, LEAST_PIECE * closed.len() as f32),
            None => Vec::new(),
        };
        found.extend(dark);
        self.holes = found.iter().map(Part::bounds).collect();
        let mut holes = vec![0; closed.len()];
        for at in found.iter().flat_map(|hole| hole.pixels(self.size.0)) {
            (closed[at], holes[at]) = (0, 255);
        }
        holes
    }

    fn objects(
        &mut self,
        pieces: Vec<Part>,
        (rgb, pts_ns): (&[u8], u64),
        moving: &[u8],
        layout: &PatchLayout,
        small: Option<&Small>,
    ) -> Vec<Object> {
        let (mut parts, count) = (Vec::new(), moving.len() as f32);
        for part in pieces {
            split(part, LEAST_PIECE * count, &mut parts);
        }
        parts.retain(|part| !self.is_light(part, rgb));
        let compared = Compared { now: rgb, scene: &self.scene, moving, size: self.size };
        let gap = GAP * self.size.1 as f32 / layout.grid.rows as f32;
        let joined = |parts: Vec<&Part>| {
            let mut things: Vec<_> = parts.iter().map(|part| (part.bounds(), self.cues(part, &compared))).collect();
            join(&mut things, gap, Cues::add);
            things
        };
        let (large, mut rest): (Vec<&Part>, Vec<&Part>) =
            parts.iter().partition(|part| part.area as f32 >= LEAST * count);
        let mut things = joined(large.into_iter().filter(|part| self.is_novel(part)).collect());
        if let Some(Small { least, look }) = small {
            rest.retain(|part| part.area as f32 >= least * count);
            let mut more = joined(rest);
            more.retain(|(bbox, _)| things.iter().all(|(thing, _)| are_apart(thing, bbox)));
            things.extend(self.again.found(more, look.as_ref(), pts_ns, self.size));
        }
        let object = |(bbox, cues): ([f32; 4], Cues)| {
            let area = (bbox[2] - bbox[0]) * (bbox[3] - bbox[1]);
            Object { bbox, score: score::still(&cues, cues.pixels / count, area / count), cues }
        };
        let mut objects: Vec<Object> = things.into_iter().map(object).collect();
        objects.sort_by(|a, b| b.score.total_cmp(&a.score));
        objects
    }

    fn cues(&self, part: &Part, compared: &Compared) -> Cues {
        let area = part.area as f32;
        let sum = |values: &[u8]| part.pixels(self.size.0).map(|at| u32::from(values[at])).sum::<u32>() as f32;
        let contour = contour(part, compared, false);
        Cues {
            novelty: sum(&self.novelty) / UNITS / area,
            pixels: area,
            familiar: sum(&self.seen.known) / 255.0 / area,
            unrest: sum(&self.restless) / RESTLESS / area,
            contour: contour.now - contour.around,
            scene_contour: contour.scene,
            ..Cues::default()
        }
    }

    fn is_novel(&self, part: &Part) -> bool {
        let (mut counts, mut unrest) = ([0usize; 256], 0u32);
        for at in part.pixels(self.size.0) {
            counts[usize::from(self.novelty[at])] += 1;
            unrest += u32::from(self.restless[at]);
        }
        let unrest = unrest as f32 / RESTLESS / part.area as f32;
        let asked = (ACCEPT + ACCEPT_UNREST * unrest).min(ACCEPT_MOST);
        let above: usize = counts.iter().enumerate().filter(|(z, _)| *z as f32 / UNITS >= asked).map(|(_, n)| n).sum();
        10 * above > part.area
    }

    fn learn(&mut self, rgb: &[u8], seconds: f32, holes: &[u8]) {
        // At first the samples, all of one colour, are renewed at once.
        let start = (4.0 / (self.frames as f32 + 1.0)).min(0.5);
        let chance = |rate: f32, least: f32| (65536.0 * (rate * seconds.min(FRAME_S)).max(least).min(0.5)) as u16;
        let of = [chance(LEARN, start), chance(LEARN_CALM, 0.0), chance(LEARN_NOVEL, 0.0)];
        self.chances.resize(self.novelty.len(), 0);
        chances(&self.novelty, &self.seen.new, of, &mut self.chances);
        self.pixels.learn(&self.colours, &self.chances, &self.seen.known);
        self.unfollowed += seconds;
        if self.unfollowed >= FOLLOW_S {
            self.unfollowed = 0.0;
            mask::follow(&mut self.scene, rgb, &self.seen.new);
        }
        if holes.contains(&255) {
            let mut wide = holes.to_vec();
            mask::dilate(&mut wide, self.size, (3, 3));
            for at in (0..wide.len()).filter(|&at| wide[at] != 0) {
                self.pixels.replace(&self.colours, at);
                self.scene[3 * at..][..3].copy_from_slice(&rgb[3 * at..][..3]);
            }
        }
    }

    /// Where foreground without novelty keeps coming.
    fn see_unrest(&mut self, mut foreground: Vec<u8>, seconds: f32, layout: &PatchLayout) {
        for (is_in, &z) in foreground.iter_mut().zip(&self.novelty) {
            *is_in = if f32::from(z) < UNREST_NOVELTY * UNITS { *is_in } else { 0 };
        }
        let share = gather(&foreground, layout, self.size);
        self.unrest.resize(share.len(), 0.0);
        let rate = (seconds / UNREST_S).min(1.0);
        self.unrest.iter_mut().zip(share).for_each(|(unrest, share)| *unrest += rate * (share - *unrest));
        let scaled: Vec<f32> = self.unrest.iter().map(|unrest| RESTLESS / UNITS * unrest).collect();
        spread(&scaled, layout, self.size, &mut self.restless);
    }
}

vectorized! {
    /// Where colours are new, darker ones included, and features are.
    dark_and_new(novelty: &[u8], new: &[u8], dark: &mut [u8]) -> () {
        for ((z, new), dark) in novelty.iter().zip(new).zip(dark) {
            *dark = if *z > (NOVEL * UNITS) as u8 { *new } else { 0 };
        }
    }
}

vectorized! {
    /// The chance of each pixel to be learned, of `[usual, calm, novel]` ones.
    chances(novelty: &[u8], new: &[u8], of: [u16; 3], out: &mut [u16]) -> () {
        let [usual, calm, novel] = of;
        for ((z, new), out) in novelty.iter().zip(new).zip(out) {
            let is_calm = (*z < (CALM * UNITS) as u8) & (*new != 0);
            let chance = if is_calm { calm } else { usual };
            *out = if *z > (NOVEL * UNITS) as u8 { novel } else { chance };
        }
    }
}

/// Whether a box is no piece of a thing: nothing of it is in there, or at its edge.
fn are_apart(thing: &[f32; 4], bbox: &[f32; 4]) -> bool {
    (0..2).any(|side| bbox[side] > thing[side + 2] + 1.0 || bbox[side + 2] < thing[side] - 1.0)
}
