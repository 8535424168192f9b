//! Where a thing will be: its middle by a Kalman filter of constant velocity for each axis, its size by a running mean.

/// What a position is measured to, as a share of the box's size, and what velocity changes by in a second, in sizes per second.
const MEASURED: f32 = 0.06;
const SWERVES: f32 = 1.5;
/// Where nobody looks, velocity is halved in this many seconds: people stop, and turn round.
const HALVED_S: f32 = 3.0;
/// What a new thing's velocity may be, in sizes per second.
const FIRST_SPEED: f32 = 2.0;
/// The share of a box's size that the next one brings.
const RESIZE: f32 = 0.3;
/// Of a smaller share of its whole size, something hides the rest, and the whole is so much slower to shrink.
const PARTLY: f32 = 0.9;
const SHRINK: f32 = 0.05;
/// In sizes per second: farther than this from where it was lost, nothing has come back.
const REACH: f32 = 6.0;
const REACH_FIRST: f32 = 3.0;
/// Nothing comes back more than so many times as large or small.
const REGROWN: f32 = 2.5;

/// Position and velocity on one axis, and their covariance.
#[derive(Clone, Copy, Debug)]
struct Axis {
    at: f32,
    by: f32,
    spread: [f32; 3],
}

/// A thing's movement, in pixels of the frame and seconds.
#[derive(Clone, Debug)]
pub struct Path {
    axes: [Axis; 2],
    /// Width and height, of what shows of it and of all of it.
    size: [f32; 2],
    whole: [f32; 2],
}

impl Axis {
    fn advance(&mut self, seconds: f32, size: f32, is_seen: bool) {
        let [pp, pv, vv] = self.spread;
        let rate = (SWERVES * size).powi(2) * seconds;
        // What is left of a velocity that fades, and the way that it goes.
        let fading = 0.5f32.powf(seconds / HALVED_S);
        let (fade, way) = match is_seen {
            true => (1.0, seconds),
            false => (fading, (1.0 - fading) * HALVED_S / std::f32::consts::LN_2),
        };
        self.at += way * self.by;
        self.by *= fade;
        self.spread = [
            pp + 2.0 * way * pv + way * way * vv + rate * seconds * seconds / 3.0,
            fade * (pv + way * vv) + rate * seconds / 2.0,
            fade * fade * vv + rate,
        ];
    }

    fn correct(&mut self, measured: f32, size: f32) {
        let [pp, pv, vv] = self.spread;
        let all = pp + (MEASURED * size).powi(2);
        let (gain, gain_by) = (pp / all, pv / all);
        let off = measured - self.at;
        self.at += gain * off;
        self.by += gain_by * off;
        self.spread = [(1.0 - gain) * pp, (1.0 - gain) * pv, vv - gain_by * pv];
    }
}

impl Path {
    pub fn new(bbox: &[f32; 4]) -> Self {
        let size = [0, 1].map(|k| (bbox[k + 2] - bbox[k]).max(1.0));
        let scale = geometric(size);
        let axis = |k: usize| Axis {
            at: (bbox[k] + bbox[k + 2]) / 2.0,
            by: 0.0,
            spread: [(MEASURED * scale).powi(2), 0.0, (FIRST_SPEED * scale).powi(2)],
        };
        Self { axes: [axis(0), axis(1)], size, whole: size }
    }

    /// To the next frame, where `ahead` shows a place of the last one, in which it was seen or not.
    pub fn advance(&mut self, seconds: f32, ahead: impl Fn([f32; 2]) -> [f32; 2], is_seen: bool) {
        let middle = ahead(self.middle());
        let scale = geometric(self.size);
        for (axis, at) in self.axes.iter_mut().zip(middle) {
            axis.at = at;
            axis.advance(seconds, scale, is_seen);
        }
    }

    pub fn correct(&mut self, bbox: &[f32; 4]) {
        let scale = geometric(self.size);
        for (k, axis) in self.axes.iter_mut().enumerate() {
            let (by, side) = (axis.by, (bbox[k + 2] - bbox[k]).max(1.0));
            let is_part = side < PARTLY * self.whole[k];
            axis.correct((bbox[k] + bbox[k + 2]) / 2.0, scale);
            if is_part {
                // What shows of a thing goes slower than the thing.
                axis.by = by;
            }
            self.size[k] += RESIZE * (side - self.size[k]);
            self.whole[k] += if is_part { SHRINK } else { RESIZE } * (side - self.whole[k]);
        }
    }

    /// It is not seen any more: what was hidden already is ahead of what still showed.
    pub fn hide(&mut self) {
        for (k, axis) in self.axes.iter_mut().enumerate() {
            axis.at += axis.by.signum() * (self.whole[k] - self.size[k]).max(0.0) / 2.0;
            self.size[k] = self.size[k].max(self.whole[k]);
        }
    }

    /// Its low edge on this axis is here, or its high one.
    pub fn correct_edge(&mut self, k: usize, edge: f32, is_low: bool) {
        let (scale, half) = (geometric(self.size), self.size[k] / 2.0);
        self.axes[k].correct(if is_low { edge + half } else { edge - half }, scale);
    }

    /// It is somewhere in this box.
    pub fn keep_in(&mut self, bbox: &[f32; 4]) {
        for (k, axis) in self.axes.iter_mut().enumerate() {
            let half = self.size[k] / 2.0;
            let (low, high) = (bbox[k] + half, bbox[k + 2] - half);
            axis.at = if low <= high { axis.at.clamp(low, high) } else { (bbox[k] + bbox[k + 2]) / 2.0 };
        }
    }

    /// It is here now, whatever was before, and goes on as it did.
    pub fn jump(&mut self, bbox: &[f32; 4]) {
        let velocity = self.velocity();
        *self = Self::new(bbox);
        self.axes.iter_mut().zip(velocity).for_each(|(axis, by)| axis.by = by);
    }

    pub fn middle(&self) -> [f32; 2] {
        self.axes.map(|axis| axis.at)
    }

    pub fn velocity(&self) -> [f32; 2] {
        self.axes.map(|axis| axis.by)
    }

    /// In its own sizes per second.
    pub fn speed(&self) -> f32 {
        let [x, y] = self.velocity();
        (x * x + y * y).sqrt() / geometric(self.size)
    }

    /// `[xmin, ymin, xmax, ymax]`.
    pub fn bbox(&self) -> [f32; 4] {
        let ([x, y], [width, height]) = (self.middle(), self.size);
        [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0]
    }

    /// Whether it can have become this box, so long after it was seen.
    pub fn reaches(&self, bbox: &[f32; 4], seconds: f32) -> bool {
        let size = [0, 1].map(|k| (bbox[k + 2] - bbox[k]).max(1.0));
        let (own, other) = (geometric(self.size), geometric(size));
        let middle = self.middle();
        let off = [0, 1].map(|k| (bbox[k] + bbox[k + 2]) / 2.0 - middle[k]);
        let way = (off[0] * off[0] + off[1] * off[1]).sqrt() / own.max(other);
        way <= REACH_FIRST + REACH * seconds && own.max(other) <= REGROWN * own.min(other)
    }
}

/// The geometric mean of width and height.
fn geometric([width, height]: [f32; 2]) -> f32 {
    (width * height).sqrt()
}
