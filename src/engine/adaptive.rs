//! Spares the model the frames of a still camera in which nothing has happened.

use crate::stream::StreamError;
use crate::stream::frame::{Frame, FrameFit};

/// Width and height of the small grey picture that is compared.
const SIDE: u32 = 32;
/// A cell of it has changed when it differs by this much, in grey values of 0 to 255, and by this many times its noise more.
const CHANGE: f32 = 3.0;
const NOISES: f32 = 5.0;
/// Cells that may change without an object: fewer hold no patch.
const CELLS: usize = 2;
/// The model runs at least this often, in nanoseconds of the source's time.
const FLOOR_NS: u64 = 2_000_000_000;
/// How fast the noise of a cell is learned: the weight of the newest difference.
const NOISE_RATE: f32 = 0.05;

/// Compares frames with the last one the model was asked about, so that what moves slowly adds up.
pub struct Adaptive {
    fit: FrameFit,
    /// That frame's picture and time.
    reference: Option<(Vec<f32>, u64)>,
    /// The frame before, and how much each cell differs from one frame to the next, on average.
    last: Option<Vec<f32>>,
    noise: Vec<f32>,
}

impl Default for Adaptive {
    fn default() -> Self {
        let noise = vec![0.5; (SIDE * SIDE) as usize];
        Self { fit: FrameFit::default(), reference: None, last: None, noise }
    }
}

impl Adaptive {
    /// Whether the model should see this frame. One that cannot be compared it should.
    pub fn has_changed(&mut self, frame: &Frame) -> bool {
        let Ok(picture) = self.small(frame) else { return true };
        if frame.capture.is_some_and(|capture| capture.gap_ns.is_some()) {
            (self.reference, self.last) = (None, None);
        }
        let is_like = |(reference, at): &(Vec<f32>, u64)| {
            frame.pts_ns.checked_sub(*at).is_some_and(|age| age < FLOOR_NS)
                && self.changed_cells(&picture, reference) <= CELLS
        };
        let has_changed = !self.reference.as_ref().is_some_and(is_like);
        if let Some(last) = &self.last {
            let light = mean(&picture) - mean(last);
            for ((noise, now), then) in self.noise.iter_mut().zip(&picture).zip(last) {
                // What moves is no noise: it counts as little more than the noise known so far.
                let difference = (now - then - light).abs().min(*noise + CHANGE);
                *noise += NOISE_RATE * (difference - *noise);
            }
        }
        if has_changed {
            self.reference = Some((picture.clone(), frame.pts_ns));
        }
        self.last = Some(picture);
        has_changed
    }

    fn changed_cells(&self, picture: &[f32], reference: &[f32]) -> usize {
        // Daylight changes all cells alike.
        let light = mean(picture) - mean(reference);
        let cells = picture.iter().zip(reference).zip(&self.noise);
        cells.filter(|((now, then), noise)| (*now - *then - light).abs() > CHANGE + NOISES * **noise).count()
    }

    /// The frame in grey, `SIDE`×`SIDE`, each cell the mean of what it covers.
    fn small(&mut self, frame: &Frame) -> Result<Vec<f32>, StreamError> {
        let mut bytes = [0; (SIDE * SIDE) as usize];
        self.fit.grey(frame, (SIDE, SIDE), &mut bytes)?;
        Ok(bytes.map(f32::from).to_vec())
    }
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CaptureClock;
    use crate::stream::frame::Capture;
    use gstreamer as gst;
    use gstreamer_video as gst_video;
    use std::time::{Instant, SystemTime};

    const SIZE: (usize, usize) = (320, 240);
    const FPS: u64 = 25;

    /// A still camera: what it sees, and how well.
    struct Scene {
        random: u64,
        /// Standard deviation of each sensor pixel, in grey values, and how many pixels wide its grain is.
        noise: f32,
        grain: usize,
    }

    impl Scene {
        fn new(noise: f32, grain: usize) -> Self {
            gst::init().unwrap();
            Self { random: 0x9e37_79b9_7f4a_7c15, noise, grain }
        }

        /// About normal, of deviation 1: the sum of three uniform numbers, stretched.
        fn normal(&mut self) -> f32 {
            let mut uniform = || {
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                (self.random >> 40) as f32 / (1 << 24) as f32
            };
            2.0 * ((0..3).map(|_| uniform()).sum::<f32>() - 1.5)
        }

        /// A street of grey stripes, and a square object of this side at `x`.
        fn frame(&mut self, index: u64, light: f32, object: Option<(f32, f32)>) -> Frame {
            let (width, height) = SIZE;
            let grain_cols = width.div_ceil(self.grain);
            let grains: Vec<f32> =
                (0..grain_cols * height.div_ceil(self.grain)).map(|_| self.noise * self.normal()).collect();
            let mut pixels = Vec::with_capacity(width * height);
            for y in 0..height {
                for x in 0..width {
                    let street = 70.0 + 12.0 * ((x / 40 + y / 60) % 3) as f32;
                    // Its edges fall between pixels.
                    let covered = object.map_or(0.0, |(at, side)| {
                        let across = (x as f32 + 1.0 - at).clamp(0.0, 1.0) * (at + side - x as f32).clamp(0.0, 1.0);
                        if (80.0..80.0 + side).contains(&(y as f32)) { across } else { 0.0 }
                    });
                    let clean = street + covered * (130.0 - street) + light;
                    let noise = grains[y / self.grain * grain_cols + x / self.grain];
                    pixels.push((clean + noise).round().clamp(0.0, 255.0) as u8);
                }
            }
            let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Gray8, width as u32, height as u32);
            let buffer = gst::Buffer::from_slice(pixels);
            let pts_ns = index * 1_000_000_000 / FPS;
            Frame::new(index, pts_ns, 0, buffer, info.build().unwrap())
        }
    }

    #[test]
    fn a_still_picture_is_asked_about_at_the_floor_rate_however_noisy_it_is() {
        // Clear, grainy, and night: single pixels, and the coarse grain that encoders make of them.
        for (noise, grain) in [(0.0, 1), (3.0, 1), (12.0, 1), (30.0, 1), (8.0, 4), (16.0, 4)] {
            let (mut scene, mut adaptive) = (Scene::new(noise, grain), Adaptive::default());
            let asked: Vec<u64> = (0..16 * FPS)
                .filter(|&index| {
                    let drift = 20.0 * (index as f32 / (8 * FPS) as f32).sin();
                    adaptive.has_changed(&scene.frame(index, drift, None))
                })
                .collect();
            // The noise is known after some seconds.
            let later = asked.iter().filter(|&&index| index >= 4 * FPS).count();
            assert!((6..=7).contains(&later), "noise {noise}, grain {grain}: {later} in 12 s: {asked:?}");
        }
    }

    #[test]
    fn a_small_object_is_noticed_when_it_comes_and_while_it_crawls() {
        for (noise, grain) in [(0.0, 1), (3.0, 1), (12.0, 1), (8.0, 4)] {
            let (mut scene, mut adaptive) = (Scene::new(noise, grain), Adaptive::default());
            (0..200).for_each(|index| _ = adaptive.has_changed(&scene.frame(index, 0.0, None)));
            // 48 by 48 pixels are 3 % of the picture. Frame 200 is asked about for its time.
            let came = (205..208).find(|&index| adaptive.has_changed(&scene.frame(index, 0.0, Some((100.0, 48.0)))));
            assert_eq!(came, Some(205), "noise {noise}, grain {grain}");
            // A pixel per frame.
            let mut last = 205;
            for index in 208..300 {
                let at = 100.0 + (index - 208) as f32;
                if adaptive.has_changed(&scene.frame(index, 0.0, Some((at, 48.0)))) {
                    last = index;
                }
                assert!(index - last <= 12, "noise {noise}, grain {grain}: not seen from {last} to {index}");
            }
        }
    }

    #[test]
    fn a_moved_camera_and_one_that_comes_back_are_asked_about_at_once() {
        let (mut scene, mut adaptive) = (Scene::new(3.0, 1), Adaptive::default());
        (0..205).for_each(|index| _ = adaptive.has_changed(&scene.frame(index, 0.0, None)));
        let mut frame = scene.frame(205, 0.0, None);
        assert!(!adaptive.has_changed(&frame));
        frame.capture = Some(Capture {
            instant: Instant::now(),
            unix_ns: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64,
            clock: CaptureClock::Arrival,
            gap_ns: Some(1),
        });
        assert!(adaptive.has_changed(&frame));
        assert!(!adaptive.has_changed(&scene.frame(206, 0.0, None)));
        // Nearly all of the picture is another one.
        assert!(adaptive.has_changed(&scene.frame(207, 0.0, Some((0.0, 320.0)))));
    }
}
