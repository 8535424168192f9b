//! What colours each pixel of a still scene usually has, as samples of them (ViBe, Barnich and Van Droogenbroeck, TIP 2011; samples
//! that know whether they are background: Zivkovic and van der Heijden, PRL 2006).

use super::random::Random;
use crate::localize::kernel::vectorized;

/// Colours that are kept of each pixel, and of a view that is not the present one.
pub const SAMPLES: usize = 20;
const AT_REST: usize = SAMPLES / 2;
/// Pixels whose samples lie side by side.
const LANES: usize = 64;
/// So many near samples make a colour known.
const ENOUGH: u8 = 2;
/// A known colour darkened to no less than this share is a shadow.
const SHADOW: f32 = 0.5;

const SEED: u64 = 1;

/// The samples of every pixel of a picture `[height, width]`.
pub struct Pixels {
    /// Each a picture: most of what a comparison reads is of the first few, in order. The lowest bit of blue is set where the sample is
    /// background.
    samples: Vec<Vec<Planes>>,
    pixels: usize,
    random: Random,
}

/// What the samples say of a picture, a byte for each pixel, 255 for yes.
#[derive(Clone, Default)]
pub struct Seen {
    /// Like no background sample.
    pub new: Vec<u8>,
    /// Like samples of any kind: what comes again and again becomes background.
    pub known: Vec<u8>,
    /// New, and no shadow.
    pub foreground: Vec<u8>,
}

impl Pixels {
    /// Every sample of a pixel is its first colour. `planes` as of [`planes`].
    pub fn new(planes: &[Planes], pixels: usize) -> Self {
        let first = planes.iter().map(|&[r, g, b]| [r, g, b.map(|blue| blue | 1)]).collect();
        Self { samples: vec![first; SAMPLES], pixels, random: Random::new(SEED) }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.samples.len() * self.pixels.div_ceil(LANES) * size_of::<Planes>()
    }

    /// Every sample, as bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.samples.iter().flatten().flatten().for_each(|plane| out.extend(plane));
    }

    /// What was written, [`Pixels::written`] bytes for as many pixels. Any byte is a colour.
    pub fn read(bytes: &[u8], pixels: usize) -> Self {
        let mut planes = bytes.as_chunks::<LANES>().0.iter();
        let mut plane = || planes.next().copied().unwrap_or([0; LANES]);
        let mut sample = || (0..pixels.div_ceil(LANES)).map(|_| std::array::from_fn(|_| plane())).collect();
        Self { samples: (0..SAMPLES).map(|_| sample()).collect(), pixels, random: Random::new(SEED) }
    }

    /// How many bytes the samples of so many pixels are.
    pub fn written(pixels: usize) -> usize {
        SAMPLES * pixels.div_ceil(LANES) * size_of::<Planes>()
    }

    /// Half of the samples, for a view that is left.
    pub fn rest(mut self) -> Self {
        self.samples.truncate(AT_REST);
        self
    }

    /// What [`Pixels::rest`] left, each sample twice.
    pub fn waken(mut self) -> Self {
        self.samples.extend_from_within(..SAMPLES - self.samples.len());
        self
    }

    /// Compares a picture with the samples; `near` is the distance (sum over the colours) to which a sample is near.
    pub fn compare(&self, planes: &[Planes], near: u8, seen: &mut Seen) {
        let Seen { new, known, foreground } = seen;
        for plane in [&mut *new, &mut *known, &mut *foreground] {
            plane.resize(self.pixels.next_multiple_of(LANES), 0);
        }
        compare_blocks(&self.samples, planes, near, new, known);
        foreground.copy_from_slice(new);
        let all = planes.iter().zip(new.chunks_exact(LANES)).zip(foreground.chunks_exact_mut(LANES));
        for (block, ((planes, new), foreground)) in all.enumerate() {
            if new.contains(&255) {
                lighten(&self.samples, block, planes, near, foreground);
            }
        }
        for plane in [new, known, foreground] {
            plane.truncate(self.pixels);
        }
    }

    /// Takes the picture's colours into one of the samples, drawn for the whole picture, by chance: `chance` of 65536 for each pixel.
    pub fn learn(&mut self, planes: &[Planes], chance: &[u16], is_background: &[u8]) {
        let [at, seed] = [self.random.next() as usize % self.samples.len(), self.random.next() as usize];
        learn_blocks(&mut self.samples[at], planes, seed as u32, chance, is_background);
    }

    /// Makes the picture's colour of one pixel the background's, in every second sample.
    pub fn replace(&mut self, planes: &[Planes], pixel: usize) {
        let (index, lane) = (pixel / LANES, pixel % LANES);
        for sample in self.samples.iter_mut().step_by(2) {
            (0..3).for_each(|colour| sample[index][colour][lane] = planes[index][colour][lane]);
            sample[index][2][lane] |= 1;
        }
    }
}

/// Red, green and blue of as many pixels.
pub type Planes = [[u8; LANES]; 3];

/// Packed RGB as planes; what is missing in the last is black.
pub fn planes(rgb: &[u8], out: &mut Vec<Planes>) {
    out.resize(rgb.len().div_ceil(3 * LANES), [[0; LANES]; 3]);
    let (whole, rest) = rgb.as_chunks::<{ 3 * LANES }>();
    unpack(whole, out);
    if !rest.is_empty() {
        let mut last = [0; 3 * LANES];
        last[..rest.len()].copy_from_slice(rest);
        unpack(&[last], &mut out[whole.len()..]);
    }
}

vectorized! {
    unpack(rgb: &[[u8; 3 * LANES]], out: &mut [Planes]) -> () {
        for (pixels, planes) in rgb.iter().zip(out) {
            for (colour, plane) in planes.iter_mut().enumerate() {
                *plane = std::array::from_fn(|lane| pixels[3 * lane + colour]);
            }
        }
    }
}

/// A number for each pixel, by chance: its place, mixed.
#[inline(always)]
fn draws(seed: u32, at: u32) -> [u16; LANES] {
    std::array::from_fn(|lane| {
        let mixed = seed.wrapping_add((at + lane as u32).wrapping_mul(0x9e37_79b9));
        let mixed = (mixed ^ (mixed >> 16)).wrapping_mul(0x7feb_352d);
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x846c_a68b);
        (mixed ^ (mixed >> 16)) as u16
    })
}

vectorized! {
    /// Counts near samples, and those of the background.
    compare_blocks(samples: &[Vec<Planes>], planes: &[Planes], near: u8, new: &mut [u8], known: &mut [u8]) -> () {
        for (index, [r, g, b]) in planes.iter().enumerate() {
            let at = index * LANES;
            let (mut all, mut background) = ([0u8; LANES], [0u8; LANES]);
            // Most pixels are known by the first few: what is still missing is asked now and then.
            for (number, sample) in samples.iter().enumerate() {
                if number % 3 == 2 && background.iter().all(|count| *count >= ENOUGH) {
                    break;
                }
                let [sr, sg, sb] = &sample[index];
                for lane in 0..LANES {
                    let off = sr[lane].abs_diff(r[lane]).saturating_add(sg[lane].abs_diff(g[lane]));
                    let off = off.saturating_add(sb[lane].abs_diff(b[lane]));
                    let is_near = u8::from(off <= near);
                    all[lane] += is_near;
                    background[lane] += is_near & sb[lane];
                }
            }
            for lane in 0..LANES {
                new[at + lane] = if background[lane] < ENOUGH { 255 } else { 0 };
                known[at + lane] = if all[lane] >= ENOUGH { 255 } else { 0 };
            }
        }
    }
}

vectorized! {
    /// Takes colours into a sample where chance has it.
    learn_blocks(sample: &mut [Planes], planes: &[Planes], seed: u32, chance: &[u16], is_background: &[u8]) -> () {
        let all = sample.iter_mut().zip(planes).zip(chance.chunks(LANES)).zip(is_background.chunks(LANES));
        for (index, (((sample, colours), chance), is_background)) in all.enumerate() {
            // What is behind the last pixel is never drawn.
            let (mut chances, mut bits) = ([0; LANES], [0; LANES]);
            chances[..chance.len()].copy_from_slice(chance);
            bits[..is_background.len()].copy_from_slice(is_background);
            let drawn = draws(seed, (index * LANES) as u32);
            let is_drawn: [u8; LANES] = std::array::from_fn(|lane| if drawn[lane] < chances[lane] { 255 } else { 0 });
            let [red, green, blue] = colours;
            let blue = std::array::from_fn(|lane| blue[lane] & !1 | bits[lane] & 1);
            for (plane, colours) in sample.iter_mut().zip([red, green, &blue]) {
                for lane in 0..LANES {
                    plane[lane] = plane[lane] & !is_drawn[lane] | colours[lane] & is_drawn[lane];
                }
            }
        }
    }
}

vectorized! {
    /// Takes shadows out: pixels that are like [`ENOUGH`] background colours, darkened.
    lighten(samples: &[Vec<Planes>], block: usize, planes: &Planes, near: u8, foreground: &mut [u8]) -> () {
        let [red, green, blue] = planes;
        // No colour of a shadow is brighter than the sample's, or darker than its half, by more than what is near.
        let beyond = near.saturating_add(1);
        let mut open = [0u8; LANES];
        open.copy_from_slice(foreground);
        let mut found = [0u8; LANES];
        for sample in samples {
            let [sr, sg, sb] = &sample[block];
            let mut can_be = [0u8; LANES];
            for lane in 0..LANES {
                let is_beyond = |pixel: u8, sample: u8| {
                    (pixel.saturating_sub(sample) > beyond) | ((sample / 2).saturating_sub(pixel) > beyond)
                };
                let is_out =
                    is_beyond(red[lane], sr[lane]) | is_beyond(green[lane], sg[lane]) | is_beyond(blue[lane], sb[lane]);
                can_be[lane] = if is_out { 0 } else { open[lane] };
            }
            if can_be == [0; LANES] {
                continue;
            }
            for lane in 0..LANES {
                let pixel = [red[lane], green[lane], blue[lane]].map(f32::from);
                let colour = [sr[lane], sg[lane], sb[lane]].map(f32::from);
                let both = pixel[0] * colour[0] + pixel[1] * colour[1] + pixel[2] * colour[2];
                let own = 1.0 + colour[0] * colour[0] + colour[1] * colour[1] + colour[2] * colour[2];
                // The share is both / own: everything is asked `own` times over, which needs no division.
                let off = (pixel[0] * own - both * colour[0]).abs()
                    + (pixel[1] * own - both * colour[1]).abs()
                    + (pixel[2] * own - both * colour[2]).abs();
                let is_dark = (both >= SHADOW * own) & (both <= own) & (off < f32::from(near) * both);
                found[lane] += u8::from(is_dark) & sb[lane];
            }
            for lane in 0..LANES {
                open[lane] = if found[lane] >= ENOUGH { 0 } else { open[lane] };
            }
            if open == [0; LANES] {
                break;
            }
        }
        foreground.copy_from_slice(&open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_what_a_plain_loop_gives() {
        let mut random = Random::new(3);
        let count = 150;
        let mut picture = || -> Vec<u8> { (0..3 * count).map(|_| (random.next() % 90) as u8 + 60).collect() };
        let (mut colours, mut seen) = (Vec::new(), Seen::default());
        planes(&picture(), &mut colours);
        let mut pixels = Pixels::new(&colours, count);
        for _ in 0..60 {
            planes(&picture(), &mut colours);
            let kinds: Vec<u8> = (0..count).map(|at| if at % 3 == 0 { 0 } else { 255 }).collect();
            pixels.learn(&colours, &vec![20_000; count], &kinds);
        }
        planes(&picture(), &mut colours);
        pixels.compare(&colours, 34, &mut seen);
        let yes = |is| if is { 255u8 } else { 0 };
        for at in 0..count {
            let (block, lane) = (pixels.samples.iter().map(|sample| &sample[at / LANES]), at % LANES);
            let pixel: [u8; 3] = std::array::from_fn(|colour| colours[at / LANES][colour][lane]);
            let off = |sample: &Planes, share: f32| -> f32 {
                (0..3).map(|c| (f32::from(pixel[c]) - share * f32::from(sample[c][lane])).abs()).sum()
            };
            let is_background = |sample: &&Planes| sample[2][lane] & 1 != 0;
            let near = |sample: &&Planes| off(sample, 1.0) <= 34.0;
            let shadow = |sample: &&Planes| {
                let both: f32 = (0..3).map(|c| f32::from(pixel[c]) * f32::from(sample[c][lane])).sum();
                let own: f32 = (0..3).map(|c| f32::from(sample[c][lane]).powi(2)).sum();
                let share = both / (1.0 + own);
                (SHADOW..=1.0).contains(&share) && off(sample, share) < 34.0 * share
            };
            let is_new = block.clone().filter(is_background).filter(near).count() < 2;
            let is_known = block.clone().filter(near).count() >= 2;
            let is_dark = block.clone().filter(is_background).filter(shadow).count() >= 2;
            let plain = [yes(is_new), yes(is_known), yes(is_new && !is_dark)];
            assert_eq!([seen.new[at], seen.known[at], seen.foreground[at]], plain, "pixel {at}");
        }
        let mut bytes = Vec::new();
        pixels.write(&mut bytes);
        assert_eq!(bytes.len(), Pixels::written(count));
        assert!(Pixels::read(&bytes, count).samples == pixels.samples);
        let (whole, samples) = (pixels.bytes(), pixels.samples.clone());
        let resting = pixels.rest();
        assert_eq!(2 * resting.bytes(), whole);
        let awake = resting.waken().samples;
        assert!(awake.len() == samples.len() && awake.iter().all(|sample| samples.contains(sample)));
    }
}
