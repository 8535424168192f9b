//! Draws the project's own pictures: textured shapes over a textured ground, and the box of each shape.
//!
//! A picture is a function of its arguments alone. Positions are in pixels, x to the right and y down.

#[derive(Clone, Copy)]
pub enum Shape {
    Ellipse,
    Star,
    Square,
    Blob,
}

#[derive(Clone, Copy)]
pub enum Texture {
    Stripes,
    Checks,
    Dots,
    Noise,
}

/// One object of a picture.
#[derive(Clone, Copy)]
pub struct Thing {
    pub shape: Shape,
    pub texture: Texture,
    /// The texture's two colours, red, green, blue in 0..=255.
    pub colours: [[f32; 3]; 2],
    pub centre: [f32; 2],
    pub radius: f32,
    /// In radians, clockwise.
    pub turn: f32,
}

/// A drawn picture.
pub struct Picture {
    /// `[height, width, 3]`.
    pub rgb: Vec<u8>,
    /// `[xmin, ymin, xmax, ymax]`, half-open, of each thing, in the order given.
    pub boxes: Vec<[u32; 4]>,
}

/// The picture without any thing: a lawn, `[height, width, 3]`.
pub fn ground(width: u32, height: u32) -> Vec<u8> {
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x as f32, y as f32)));
    pixels.flat_map(|(x, y)| lawn(x, y).map(|value| value as u8)).collect()
}

/// Draws `things` over the `ground` of that width and height, later ones in front.
pub fn draw(ground: &[u8], width: u32, height: u32, things: &[Thing]) -> Picture {
    let mut rgb = ground.to_vec();
    let boxes = things.iter().map(|thing| thing.draw(width, height, &mut rgb)).collect();
    Picture { rgb, boxes }
}

impl Thing {
    fn draw(&self, width: u32, height: u32, rgb: &mut [u8]) -> [u32; 4] {
        let (sin, cos) = self.turn.sin_cos();
        let mut bbox = [width, height, 0, 0];
        // No shape reaches farther than its radius, but for the soft edge.
        let reach = |centre: f32, limit: u32| {
            let edge = |offset: f32| (centre + offset).clamp(0.0, limit as f32) as u32;
            edge(-self.radius - 1.0)..edge(self.radius + 2.0)
        };
        let columns = reach(self.centre[0], width);
        for (x, y) in reach(self.centre[1], height).flat_map(|y| columns.clone().map(move |x| (x, y))) {
            let (dx, dy) = (x as f32 + 0.5 - self.centre[0], y as f32 + 0.5 - self.centre[1]);
            // The thing's own coordinates: its radius is 1.
            let (u, v) = ((dx * cos + dy * sin) / self.radius, (dy * cos - dx * sin) / self.radius);
            let (distance, edge) = (u.hypot(v), self.shape.edge(v.atan2(u)));
            let cover = ((edge - distance) * self.radius + 0.5).clamp(0.0, 1.0);
            if cover == 0.0 {
                continue;
            }
            if cover >= 0.5 {
                bbox = [bbox[0].min(x), bbox[1].min(y), bbox[2].max(x + 1), bbox[3].max(y + 1)];
            }
            // Lit from the upper left, darker towards the edge.
            let light = 1.12 - 0.3 * (distance / edge).powi(3) - 0.15 * (dx + dy) / (2.0 * self.radius);
            let colour = self.colours[usize::from(self.texture.second(u, v))];
            let at = ((y * width + x) * 3) as usize;
            for (pixel, value) in rgb[at..at + 3].iter_mut().zip(colour) {
                *pixel = (cover * value * light + (1.0 - cover) * f32::from(*pixel)).clamp(0.0, 255.0) as u8;
            }
        }
        bbox
    }
}

impl Shape {
    /// Distance from the centre to the edge in the direction of `angle`, at most 1.
    fn edge(self, angle: f32) -> f32 {
        let (sin, cos) = angle.sin_cos();
        match self {
            Self::Ellipse => 0.72 / (0.72 * cos).hypot(sin),
            Self::Star => 0.8 + 0.2 * (5.0 * angle).cos(),
            Self::Square => 0.77 * (sin.powi(8) + cos.powi(8)).powf(-0.125),
            Self::Blob => 0.84 + 0.1 * (3.0 * angle).sin() + 0.06 * (2.0 * angle + 1.0).cos(),
        }
    }
}

impl Texture {
    /// Whether the thing has its second colour there, in its own coordinates.
    pub fn second(self, u: f32, v: f32) -> bool {
        match self {
            Self::Stripes => (u * 3.5).rem_euclid(1.0) < 0.4,
            Self::Checks => ((u * 3.0).floor() + (v * 3.0).floor()).rem_euclid(2.0) == 1.0,
            Self::Dots => ((u * 2.5).rem_euclid(1.0) - 0.5).hypot((v * 2.5).rem_euclid(1.0) - 0.5) < 0.3,
            Self::Noise => noise(u * 6.0 + 40.0, v * 6.0 + 40.0) > 0.5,
        }
    }
}

/// Muted green, coarse patches and fine grain.
fn lawn(x: f32, y: f32) -> [f32; 3] {
    let coarse = noise(x / 48.0, y / 48.0) + 0.5 * noise(x / 17.0, y / 17.0);
    let fine = noise(x / 1.7, y / 4.0);
    let light = 0.72 + 0.16 * coarse + 0.26 * fine;
    [92.0 * light, 112.0 * light, 74.0 * light]
}

/// Smooth noise in 0..=1, one random value per unit square.
pub fn noise(x: f32, y: f32) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (s, t) = (smooth(x - left), smooth(y - top));
    let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let row = |y: f32| mix(hash(left, y), hash(left + 1.0, y), s);
    mix(row(top), row(top + 1.0), t)
}

/// A random number in 0..1 for two integers.
fn hash(x: f32, y: f32) -> f32 {
    let mut h = (x as i32 as u32).wrapping_mul(0x9E37_79B1) ^ (y as i32 as u32).wrapping_mul(0x85EB_CA77);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    (h ^ (h >> 15)) as f32 / u32::MAX as f32
}
