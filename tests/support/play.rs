//! Draws scenes before a fixed camera in which something happens, and says what: people and cars that come, stop, cross lines, leave
//! things behind, under shake, noise, rain, leaves and changing light.
//!
//! A scene is a function of its number alone: its place, its things, their ways and every pixel. For the first four seconds nobody is there,
//! so that the scene can be known. Positions are in pixels of the picture, x to the right and y down; the truth follows from the ways, as
//! [`Play::truth`] says, and knows nothing of shake, which moves the picture and no thing.

use super::scene::{Picture, Texture, noise};
use mostream::record::EventName;
use mostream::zones::{Line, Side, Zone};
use serde_json::{Value, json};

pub const WIDTH: u32 = 320;
pub const HEIGHT: u32 = 240;
const W: f32 = WIDTH as f32;
const H: f32 = HEIGHT as f32;
/// So far the place reaches beyond the picture: for shake, and for a camera that is knocked.
const MARGIN: u32 = 128;
/// Seconds before anything happens.
pub const BARE: f32 = 4.0;
/// Who rests moves less than this share of the picture's width a second, and that for so many seconds.
const REST_SPEED: f32 = 0.02;
const REST: f32 = 2.0;
/// Who is nearer to an outline, as a share of the picture's height, is on neither side of it.
const NEAR: f32 = 0.02;

type Point = [f32; 2];

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    Crossing,
    Line,
    Stop,
    Left,
    Taken,
    Bend,
    Occluded,
    Zone,
    Stay,
    Border,
    Upset,
    Empty,
}

/// What makes it hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    Plain,
    Shake,
    Noise,
    Rain,
    Leaves,
    Headlights,
    Shadows,
    Cloud,
    Light,
    Mixed,
}

pub const SITUATIONS: [Situation; 12] = [
    Situation::Crossing,
    Situation::Line,
    Situation::Stop,
    Situation::Left,
    Situation::Taken,
    Situation::Bend,
    Situation::Occluded,
    Situation::Zone,
    Situation::Stay,
    Situation::Border,
    Situation::Upset,
    Situation::Empty,
];

pub const DISTURBANCES: [Disturbance; 10] = [
    Disturbance::Plain,
    Disturbance::Shake,
    Disturbance::Noise,
    Disturbance::Rain,
    Disturbance::Leaves,
    Disturbance::Headlights,
    Disturbance::Shadows,
    Disturbance::Cloud,
    Disturbance::Light,
    Disturbance::Mixed,
];

/// One scene.
pub struct Play {
    pub number: u64,
    pub situation: Situation,
    pub disturbance: Disturbance,
    /// Frames a second.
    pub rate: f32,
    pub frames: u32,
    pub zones: Vec<Zone>,
    pub lines: Vec<Line>,
    /// Who walks or drives; those that are carried follow.
    actors: Vec<Actor>,
    items: Vec<Item>,
    /// `[xmin, ymin, xmax, ymax]`; it belongs to the place, and hides who goes behind it.
    post: Option<[u32; 4]>,
    /// The bare place with its margins, packed RGB.
    place: Vec<u8>,
    weather: Weather,
}

/// One that moves by itself.
struct Actor {
    look: Look,
    /// Width and height in pixels.
    size: Point,
    course: Course,
    /// When it begins to bend down.
    bends: Option<f32>,
    /// Pixels by which its feet go up and down.
    wobble: f32,
}

/// One that is carried, by the first actor.
struct Item {
    look: Look,
    size: Point,
    /// Where it stands.
    place: Point,
    /// When it is put down, or picked up.
    moved: f32,
    is_left: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Person,
    Car,
    Animal,
    Bag,
    Bush,
}

#[derive(Clone, Copy)]
struct Look {
    kind: Kind,
    texture: Texture,
    /// The texture's two colours.
    colours: [[f32; 3]; 2],
}

/// How one looks at a time.
#[derive(Clone, Copy, Debug)]
struct Pose {
    /// The bottom's centre.
    foot: Point,
    size: Point,
    /// Of its steps, in radians.
    gait: f32,
    /// 1 where it looks to the right, -1 to the left.
    faces: f32,
}

/// What else moves and changes.
#[derive(Default)]
struct Weather {
    /// Standard deviation in grey levels.
    noise: f32,
    /// The camera's shake in pixels, and when it is knocked to another view, and how far.
    shake: f32,
    knocked: Option<(f32, Point)>,
    /// From when until when something hangs before the camera, and how grey it is.
    covered: Option<(f32, f32, f32)>,
    streaks: u32,
    leaves: Vec<Leaves>,
    /// When each car's light begins to sweep over the ground, for how long, and at which height.
    headlights: Vec<[f32; 3]>,
    /// How dark the shadows of things are, 0 to 1.
    shadows: f32,
    /// When a cloud's shadow comes, and for how long.
    clouds: Vec<[f32; 2]>,
    /// From when on all pixels are so many times as bright.
    light: Vec<(f32, f32)>,
}

struct Leaves {
    centre: Point,
    radius: f32,
    /// Pixels.
    sway: f32,
    /// Radians a second.
    pace: f32,
}

/// A way of straight pieces, each with its time; it may begin and end gently.
#[derive(Default)]
struct Course {
    legs: Vec<Leg>,
}

struct Leg {
    from: Point,
    to: Point,
    start: f32,
    end: f32,
    /// Whether it speeds up at its beginning, and slows down at its end.
    gentle: [bool; 2],
}

/// Seconds to speed up or slow down in.
const RAMP: f32 = 0.6;

impl Course {
    fn from(at: Point, time: f32) -> Self {
        Self { legs: vec![Leg { from: at, to: at, start: time, end: time, gentle: [false; 2] }] }
    }

    fn here(&self) -> (Point, f32) {
        self.legs.last().map_or(([0.0; 2], 0.0), |leg| (leg.to, leg.end))
    }

    /// Straight on to a place, at so many widths of the picture a second.
    fn go(mut self, to: Point, speed: f32, gentle: [bool; 2]) -> Self {
        let (from, start) = self.here();
        let way = (to[0] - from[0]).hypot(to[1] - from[1]);
        let ramps = gentle.iter().filter(|is| **is).count() as f32 * RAMP / 2.0;
        let speed = (speed * W).min(way / ramps.max(1e-6));
        self.legs.push(Leg { from, to, start, end: start + way / speed + ramps, gentle });
        self
    }

    fn rest(mut self, seconds: f32) -> Self {
        let (at, start) = self.here();
        self.legs.push(Leg { from: at, to: at, start, end: start + seconds, gentle: [false; 2] });
        self
    }

    fn at(&self, time: f32) -> Point {
        let leg = self.legs.iter().find(|leg| time < leg.end).or(self.legs.last()).unwrap();
        let share = leg.share(time);
        [0, 1].map(|axis| leg.from[axis] + share * (leg.to[axis] - leg.from[axis]))
    }

    /// 1 where it goes or last went to the right, -1 to the left.
    fn faces(&self, time: f32) -> f32 {
        let gone = self.legs.iter().filter(|leg| leg.to[0] != leg.from[0]);
        let mut begun = gone.clone().rev().skip_while(|leg| leg.start > time);
        begun.next().or(gone.clone().next()).map_or(1.0, |leg| (leg.to[0] - leg.from[0]).signum())
    }

    /// Pixels gone.
    fn gone(&self, time: f32) -> f32 {
        let way = |leg: &Leg| leg.share(time) * (leg.to[0] - leg.from[0]).hypot(leg.to[1] - leg.from[1]);
        self.legs.iter().map(way).sum()
    }
}

impl Leg {
    /// Of its way that is done.
    fn share(&self, time: f32) -> f32 {
        let (whole, done) = (self.end - self.start, (time - self.start).clamp(0.0, (self.end - self.start).max(0.0)));
        if whole <= 0.0 {
            return f32::from(u8::from(time >= self.end));
        }
        let ramp = RAMP.min(whole / 2.0);
        let [begins, ends] = self.gentle.map(|is| if is { ramp } else { 0.0 });
        // Its full speed is 1.
        let all = whole - (begins + ends) / 2.0;
        let gone = if done < begins {
            done * done / (2.0 * begins)
        } else if done > whole - ends {
            all - (whole - done).powi(2) / (2.0 * ends)
        } else {
            done - begins / 2.0
        };
        gone / all
    }
}

impl Actor {
    fn at(&self, time: f32) -> Pose {
        let [x, y] = self.course.at(time);
        // Down in 0.4 s, down for 0.9 s, up in 0.4 s.
        let down = self.bends.map_or(0.0, |start| {
            let since = time - start;
            smooth((since / 0.4).min((1.7 - since) / 0.4).clamp(0.0, 1.0))
        });
        let height = self.size[1] * (1.0 - 0.5 * down);
        let width = self.size[0] * (1.0 + 0.25 * down);
        let sway = self.wobble * (8.0 * time).sin();
        Pose {
            foot: [x, y + sway],
            size: [width, height],
            gait: self.course.gone(time) / (0.16 * self.size[1]),
            faces: self.course.faces(time),
        }
    }
}

impl Item {
    fn at(&self, time: f32, carrier: &Actor) -> Pose {
        let held = {
            let Pose { foot, size, .. } = carrier.at(time);
            let side = (self.place[0] - carrier.course.at(self.moved)[0]).signum();
            [foot[0] + side * 0.4 * size[0], foot[1] - 0.3 * size[1]]
        };
        let share = smooth(((time - self.moved) / 0.5 + 0.5).clamp(0.0, 1.0));
        let share = if self.is_left { share } else { 1.0 - share };
        Pose {
            foot: [0, 1].map(|axis| held[axis] + share * (self.place[axis] - held[axis])),
            size: self.size,
            gait: 0.0,
            faces: 1.0,
        }
    }

    fn stands(&self, time: f32) -> bool {
        if self.is_left { time > self.moved + 0.25 } else { time < self.moved - 0.25 }
    }
}

impl Pose {
    /// `[xmin, ymin, xmax, ymax]`
    fn bbox(&self) -> [f32; 4] {
        let Self { foot: [x, y], size: [width, height], .. } = *self;
        [x - width / 2.0, y - height, x + width / 2.0, y]
    }

    fn touches(&self, other: &[f32; 4]) -> bool {
        let own = self.bbox();
        (0..2).all(|axis| own[axis] < other[axis + 2] + 2.0 && other[axis] < own[axis + 2] + 2.0)
    }

    /// Whether half of it and the middle of its bottom are in the picture.
    fn is_there(&self) -> bool {
        let [xmin, ymin, xmax, ymax] = self.bbox();
        let inside = (xmax.min(W) - xmin.max(0.0)).max(0.0) * (ymax.min(H) - ymin.max(0.0)).max(0.0);
        let [x, y] = self.foot;
        inside >= 0.5 * self.size[0] * self.size[1] && (0.0..W).contains(&x) && (0.0..H).contains(&y)
    }

    fn share(&self) -> Point {
        [self.foot[0] / W, self.foot[1] / H]
    }
}

/// A random number after the other.
struct Random(u64);

impl Random {
    /// As SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn share(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    fn within(&mut self, low: f32, high: f32) -> f32 {
        low + self.share() * (high - low)
    }

    fn of(&mut self, count: u64) -> u64 {
        self.next() % count
    }

    fn flip(&mut self) -> bool {
        self.of(2) == 0
    }
}

fn smooth(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

fn luma([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// What a person, a car or another thing looks like that is so much brighter than a ground of this grey.
fn look(random: &mut Random, kind: Kind, ground: f32, contrast: f32) -> Look {
    let grey = (ground + contrast).clamp(14.0, 242.0);
    // A tint has no brightness of its own.
    let tint = [random.within(-30.0, 30.0), random.within(-12.0, 12.0), random.within(-30.0, 30.0)];
    let own = luma(tint);
    let depth = random.within(5.0, 0.3 * contrast.abs().clamp(20.0, 60.0));
    let colours = [-depth, depth].map(|step| tint.map(|channel| (grey + step + channel - own).clamp(4.0, 250.0)));
    let texture = match random.of(4) {
        0 => Texture::Stripes,
        1 => Texture::Checks,
        2 => Texture::Dots,
        _ => Texture::Noise,
    };
    Look { kind, texture, colours }
}

impl Play {
    /// Numbers from 0 give every situation under every disturbance, 120 of them, and then again with other places, things and ways.
    pub fn new(number: u64) -> Self {
        let situation = SITUATIONS[(number % 12) as usize];
        let disturbance = DISTURBANCES[(number / 12 % 10) as usize];
        let mut random = Random(number.wrapping_mul(0xA24B_AED4_963E_E407) ^ 0x5EED);
        let place = place(&mut random);
        let mut play = Self {
            number,
            situation,
            disturbance,
            rate: if random.flip() { 12.5 } else { 15.0 },
            frames: 0,
            zones: Vec::new(),
            lines: Vec::new(),
            actors: Vec::new(),
            items: Vec::new(),
            post: None,
            place,
            weather: Weather { noise: 1.5, ..Weather::default() },
        };
        let end = play.stage(&mut random);
        play.frames = ((end + 2.0).max(20.0) * play.rate) as u32;
        play.disturb(&mut random, end.max(18.0));
        play
    }

    /// A still empty scene of so many seconds, with noise, swaying leaves, and another light every few minutes.
    pub fn still(number: u64, seconds: f32) -> Self {
        let mut random = Random(number ^ 0x57_1114);
        let place = place(&mut random);
        let mut weather = Weather { noise: 4.0, ..Weather::default() };
        weather.leaves = leaves(&mut random);
        let mut time = random.within(100.0, 160.0);
        let mut is_usual = true;
        while time < seconds - 10.0 {
            let factor = if random.flip() { 0.6 } else { 1.5 };
            weather.light.push((time, if is_usual { factor } else { 1.0 }));
            is_usual = !is_usual;
            time += random.within(120.0, 300.0);
        }
        let rate = 5.0;
        Self {
            number,
            situation: Situation::Empty,
            disturbance: Disturbance::Mixed,
            rate,
            frames: (seconds * rate) as u32,
            zones: Vec::new(),
            lines: Vec::new(),
            actors: Vec::new(),
            items: Vec::new(),
            post: None,
            place,
            weather,
        }
    }

    /// Such as `017-border-leaves`.
    pub fn name(&self) -> String {
        let word = |word: String| word.to_lowercase();
        format!(
            "{:03}-{}-{}",
            self.number,
            word(format!("{:?}", self.situation)),
            word(format!("{:?}", self.disturbance))
        )
    }

    /// One that is so large and stands so high: its size, and where its feet go.
    fn cast(&self, random: &mut Random, kind: Kind, most: f32) -> (Point, f32) {
        let least: f32 = 0.003;
        let area = least * (most / least).powf(random.share()) * W * H;
        let aspect = match kind {
            Kind::Person => 0.4,
            Kind::Car => 1.9,
            _ => 1.3,
        };
        let size = [(area * aspect).sqrt(), (area / aspect).sqrt()];
        let lane = random.within((size[1] / H + 0.03).max(0.55), 0.92) * H;
        (size, lane)
    }

    /// So far outside nothing is to be seen of one of this size.
    fn out(&self, size: Point) -> f32 {
        let has_shadow = matches!(self.disturbance, Disturbance::Shadows | Disturbance::Mixed);
        size[0] / 2.0 + 10.0 + if has_shadow { 2.0 * shadow_length(size) } else { 0.0 }
    }

    fn dress(&self, random: &mut Random, kind: Kind, lane: f32) -> Look {
        let ground = self.grey_at(lane);
        let strong = random.within(24.0, 115.0);
        let is_brighter = if ground + strong > 236.0 {
            false
        } else if ground - strong < 18.0 {
            true
        } else {
            random.flip()
        };
        look(random, kind, ground, if is_brighter { strong } else { -strong })
    }

    /// The ground's mean grey in the rows above a lane.
    fn grey_at(&self, lane: f32) -> f32 {
        let rows = (lane as u32).saturating_sub(24)..(lane as u32).min(HEIGHT);
        let at = |x: u32, y: u32| 3 * ((y + MARGIN) * (WIDTH + 2 * MARGIN) + x + MARGIN) as usize;
        let greys = rows.flat_map(|y| (0..WIDTH).step_by(4).map(move |x| (x, y)));
        let (sum, count) = greys.fold((0.0, 0.0), |(sum, count), (x, y)| {
            let pixel = &self.place[at(x, y)..][..3];
            (sum + luma([pixel[0], pixel[1], pixel[2]].map(f32::from)), count + 1.0)
        });
        sum / count
    }

    /// Puts the things of the situation on their ways; when the last of them is over.
    fn stage(&mut self, random: &mut Random) -> f32 {
        let start = BARE + random.within(0.3, 1.5);
        // Who stops for a moment only is not slow.
        let slowest =
            if matches!(self.situation, Situation::Left | Situation::Taken | Situation::Line | Situation::Zone) {
                0.12
            } else {
                0.06
            };
        let speed = random.within(slowest, 0.2);
        let is_mirrored = random.flip();
        let somebody = |random: &mut Random| match random.of(5) {
            0 => Kind::Car,
            1 => Kind::Animal,
            _ => Kind::Person,
        };
        let (kind, most) = match self.situation {
            Situation::Bend | Situation::Left | Situation::Taken => (Kind::Person, 0.12),
            Situation::Occluded => (somebody(random), 0.04),
            Situation::Crossing | Situation::Border => (somebody(random), 0.06),
            _ => (somebody(random), 0.15),
        };
        let (mut size, lane) = self.cast(random, kind, most);
        if matches!(self.situation, Situation::Left | Situation::Taken) {
            // What is carried has 0.3 % of the frame at least, and a fifth of its carrier.
            let grow = (0.015 * W * H / (size[0] * size[1])).sqrt().max(1.0);
            size = size.map(|side| side * grow);
        }
        let lane = lane.max(size[1] + 6.0).min(0.94 * H);
        let look = self.dress(random, kind, lane);
        let out = [-self.out(size), W + self.out(size)];
        let (enter, leave) = ([out[0], lane], [out[1], lane]);
        let x = |share: f32| share * W;
        let walk = Course::from(enter, start);
        let mut actor = Actor { look, size, course: Course::default(), bends: None, wobble: 0.0 };
        let mut tail = 0.0;
        match self.situation {
            Situation::Crossing => {
                actor.course = walk.go(leave, speed, [false; 2]);
                let kind = somebody(random);
                let (other_size, _) = self.cast(random, kind, 0.06);
                let lane = (lane - random.within(0.1, 0.35) * size[1].min(other_size[1])).max(other_size[1] + 4.0);
                let look = self.dress(random, kind, lane);
                let from = [W + self.out(other_size), lane];
                let course = Course::from(from, start + random.within(0.0, 1.5));
                let course = course.go([-self.out(other_size), lane], random.within(0.06, 0.2), [false; 2]);
                self.actors.push(Actor { look, size: other_size, course, bends: None, wobble: 0.0 });
            }
            Situation::Line => {
                let at = random.within(0.42, 0.58);
                let lean = random.within(-0.08, 0.08);
                let top = (lane / H - 0.25).max(0.02);
                let points = vec![[at + lean, 0.99], [at - lean, top]];
                self.lines.push(serde_json::from_value(json!({ "name": "gate", "points": points })).unwrap());
                actor.course = match random.of(3) {
                    0 => walk.go(leave, speed, [false; 2]),
                    1 => {
                        let there = walk.go([x(at + 0.22), lane], speed, [false, true]).rest(random.within(3.5, 5.0));
                        there.go(enter, speed, [true, false])
                    }
                    _ => {
                        // Up to the line, and back.
                        let there = walk.go([x(at - lean.abs() - 0.08), lane], speed, [false, true]).rest(0.3);
                        there.go(enter, speed, [true, false])
                    }
                };
            }
            Situation::Stop => {
                let there = walk.go([x(random.within(0.35, 0.65)), lane], speed, [false, true]);
                actor.course = if random.of(3) == 0 {
                    tail = 8.0;
                    there
                } else {
                    there.rest(random.within(4.0, 9.0)).go(leave, speed, [true, false])
                };
            }
            Situation::Left | Situation::Taken => {
                let is_left = self.situation == Situation::Left;
                let stop = [x(random.within(0.4, 0.6)), lane];
                let there = walk.go(stop, speed, [false, true]);
                let moved = there.here().1 + 0.45;
                let there = there.rest(0.9);
                let area = random.within(0.2, 0.3) * size[0] * size[1];
                let aspect = random.within(0.8, 1.4);
                let item = [(area * aspect).sqrt(), (area / aspect).sqrt()];
                // Behind the one who brings it, before the one who takes it.
                let side = if is_left { -1.0 } else { 1.0 };
                let place = [stop[0] + side * (size[0] / 2.0 + item[0] / 2.0), lane + random.within(0.0, 3.0)];
                let look = self.dress(random, Kind::Bag, lane);
                self.items.push(Item { look, size: item, place, moved, is_left });
                // Who brings something goes on, who takes something may turn back.
                let is_on = is_left || random.flip();
                actor.course = there.go(if is_on { leave } else { enter }, speed, [true, false]);
                tail = 8.0;
            }
            Situation::Bend => {
                let there = walk.go([x(random.within(0.35, 0.65)), lane], speed, [false, true]);
                actor.bends = Some(there.here().1 + random.within(1.0, 1.6));
                actor.course = there.rest(random.within(4.5, 6.0)).go(leave, speed, [true, false]);
            }
            Situation::Occluded => {
                actor.course = walk.go(leave, speed, [false; 2]);
                let wide = size[0] + 2.0 + speed * W * random.within(0.7, 1.3);
                let left = x(random.within(0.4, 0.6)) - wide / 2.0;
                let top = (lane - size[1] - random.within(10.0, 40.0)).max(0.0);
                let bottom = (lane + random.within(4.0, 12.0)).min(H);
                self.post = Some([left as u32, top as u32, (left + wide) as u32, bottom as u32]);
            }
            Situation::Zone | Situation::Stay | Situation::Border => {
                let (left, right) = (random.within(0.26, 0.36), random.within(0.66, 0.76));
                let (over, under) = match self.situation {
                    Situation::Border => (0.3, 0.0),
                    _ => (random.within(0.14, 0.25), random.within(0.05, 0.09)),
                };
                let (top, bottom) = (lane / H - over, (lane / H + under).min(0.995));
                let polygon = vec![[left + 0.03, top], [right - 0.03, top], [right, bottom], [left, bottom]];
                let mut zone = json!({ "name": "yard", "polygon": polygon });
                let middle = [x((left + right) / 2.0), lane];
                actor.course = match self.situation {
                    Situation::Zone if random.of(3) > 0 => walk.go(leave, speed, [false; 2]),
                    Situation::Zone => walk.go(middle, speed, [false, true]).rest(0.3).go(enter, speed, [true, false]),
                    Situation::Stay => {
                        let stay = random.within(3.0, 5.0).round();
                        zone["stay"] = json!(stay);
                        let there = walk.go(middle, speed, [false, true]).rest(stay + random.within(1.5, 4.0));
                        there.go(leave, speed, [true, false])
                    }
                    _ => {
                        actor.wobble = 0.01 * H;
                        let deep = lane - 0.12 * H;
                        let inner = [x(left + 0.1), deep];
                        let along = [[x(left + 0.16), lane], [x(right - 0.16), lane], [x(right - 0.1), deep]];
                        let way = Course::from([enter[0], deep], start).go(inner, speed, [false; 2]);
                        let way = along.into_iter().fold(way, |way, place| way.go(place, speed, [false; 2]));
                        way.go([leave[0], deep], speed, [false; 2])
                    }
                };
                self.zones.push(serde_json::from_value(zone).unwrap());
            }
            Situation::Upset => {
                actor.course = walk.go(leave, random.within(0.12, 0.2), [false; 2]);
                let upset = actor.course.here().1 + random.within(2.0, 3.0);
                if (self.number / 12 + self.number / 120).is_multiple_of(2) {
                    let far = [random.within(0.2, 0.35) * W, random.within(0.02, 0.1) * H];
                    let far = if random.flip() { far } else { far.map(|step| -step) };
                    self.weather.knocked = Some((upset, far));
                    // In the new view somebody comes, too, when that is known.
                    let (size, lane) = self.cast(random, Kind::Person, 0.06);
                    let look = self.dress(random, Kind::Person, lane);
                    let course = Course::from([-self.out(size), lane], upset + 7.0);
                    let course = course.go([W + self.out(size), lane], random.within(0.12, 0.2), [false; 2]);
                    self.actors.push(Actor { look, size, course, bends: None, wobble: 0.0 });
                } else {
                    let until = upset + random.within(3.0, 6.0);
                    self.weather.covered = Some((upset, until, if random.flip() { 18.0 } else { 120.0 }));
                    tail = until - upset + 6.0;
                }
            }
            Situation::Empty => return 20.0,
        }
        self.actors.insert(0, actor);
        if is_mirrored {
            self.mirror();
        }
        self.actors.iter().map(|actor| actor.course.here().1).fold(0.0, f32::max) + tail
    }

    /// What went to the right goes to the left.
    fn mirror(&mut self) {
        for actor in &mut self.actors {
            actor.course.legs.iter_mut().for_each(|leg| (leg.from[0], leg.to[0]) = (W - leg.from[0], W - leg.to[0]));
        }
        self.items.iter_mut().for_each(|item| item.place[0] = W - item.place[0]);
        if let Some([xmin, _, xmax, _]) = &mut self.post {
            (*xmin, *xmax) = (WIDTH - *xmax, WIDTH - *xmin);
        }
        let turned = |points: &[Point]| -> Vec<Point> { points.iter().map(|[x, y]| [1.0 - x, *y]).collect() };
        self.zones.iter_mut().for_each(|zone| zone.polygon = turned(zone.polygon.points()).try_into().unwrap());
        self.lines.iter_mut().for_each(|line| line.points = turned(line.points.points()).try_into().unwrap());
    }

    /// `end` is when the last thing is over.
    fn disturb(&mut self, random: &mut Random, end: f32) {
        let weather = &mut self.weather;
        match self.disturbance {
            Disturbance::Plain => {}
            Disturbance::Shake => weather.shake = random.within(1.0, 8.0),
            Disturbance::Noise => weather.noise = random.within(5.0, 12.0),
            Disturbance::Rain => weather.streaks = random.within(40.0, 140.0) as u32,
            Disturbance::Leaves => weather.leaves = leaves(random),
            Disturbance::Headlights => {
                let mut time = BARE + random.within(0.5, 3.0);
                while time < end {
                    weather.headlights.push([time, random.within(1.5, 3.0), random.within(0.5, 0.9)]);
                    time += random.within(4.0, 7.0);
                }
            }
            Disturbance::Shadows => weather.shadows = random.within(0.25, 0.5),
            Disturbance::Cloud => {
                let mut time = BARE + random.within(0.5, 3.0);
                while time < end {
                    weather.clouds.push([time, random.within(5.0, 8.0)]);
                    time += random.within(9.0, 12.0);
                }
            }
            Disturbance::Light => {
                // Not while the camera is covered or knocked.
                let first = BARE + random.within(1.5, 3.0);
                let factor = if random.flip() { 0.6 } else { 1.5 };
                weather.light = vec![(first, factor), (first + random.within(3.0, 4.0), 1.0)];
            }
            Disturbance::Mixed => {
                weather.shake = random.within(0.5, 2.0);
                weather.noise = random.within(3.0, 6.0);
                weather.shadows = random.within(0.2, 0.4);
                weather.leaves = leaves(random);
            }
        }
        if let Some([xmin, ymin, xmax, ymax]) = self.post {
            // Of the place, so that it shakes with it.
            let wide = WIDTH + 2 * MARGIN;
            let tone = random.within(50.0, 190.0);
            for (x, y) in (ymin..ymax).flat_map(|y| (xmin..xmax).map(move |x| (x, y))) {
                let at = 3 * ((y + MARGIN) * wide + x + MARGIN) as usize;
                let edge = if x - xmin < 2 || xmax - x <= 2 { 0.75 } else { 1.0 };
                let grain = 0.9 + 0.2 * noise(x as f32 / 2.5, y as f32 / 9.0);
                self.place[at..at + 3]
                    .copy_from_slice(&[1.0, 0.97, 0.9].map(|part| (part * tone * edge * grain) as u8));
            }
        }
    }

    /// When a frame is, in seconds.
    fn time(&self, frame: u32) -> f32 {
        frame as f32 / self.rate
    }

    fn ns(&self, frame: u32) -> u64 {
        (f64::from(frame) / f64::from(self.rate) * 1e9).round() as u64
    }

    /// All that are in the scene at a time: the actors, then what they carry or carried.
    fn poses(&self, time: f32) -> Vec<(Look, Pose)> {
        let actors = self.actors.iter().map(|actor| (actor.look, actor.at(time)));
        let items = self.items.iter().map(|item| (item.look, item.at(time, &self.actors[0])));
        actors.chain(items).collect()
    }

    /// All frames; boxes as in [`Play::draw`].
    pub fn pictures(&self) -> impl Iterator<Item = Picture> + '_ {
        (0..self.frames).map(|frame| self.draw(frame))
    }

    /// One frame, and of each actor and then of what is carried the box of its pixels, as if nothing hid it; all zero where it has none.
    pub fn draw(&self, frame: u32) -> Picture {
        let (time, weather) = (self.time(frame), &self.weather);
        let mut random = Random((self.number << 32 | u64::from(frame)) ^ 0xF0F0);
        let away = weather.away(time);
        let mut rgb = crop(&self.place, away);
        // How much the picture is moved for what has a place in it.
        let shake = weather.shaken(time);
        weather.leaves.iter().for_each(|leaves| leaves.draw(time, away, &mut rgb));
        let place = self.post.map(|_| rgb.clone());
        let moved = |pose: &Pose| Pose { foot: [0, 1].map(|axis| pose.foot[axis] - shake[axis]), ..*pose };
        let poses = self.poses(time);
        let mut order: Vec<usize> = (0..poses.len()).collect();
        // Who stands lower is nearer; what is carried is before its carrier.
        let depth = |at: usize| {
            if at < self.actors.len() { poses[at].1.foot[1] } else { self.actors[0].course.at(time)[1] + 0.5 }
        };
        order.sort_by(|a, b| depth(*a).total_cmp(&depth(*b)));
        if weather.shadows > 0.0 {
            order.iter().for_each(|at| cast_shadow(&moved(&poses[*at].1), weather.shadows, &mut rgb));
        }
        let mut boxes = vec![[0; 4]; poses.len()];
        for at in order {
            let (look, pose) = &poses[at];
            boxes[at] = figure(look, &moved(pose), |pixel, cover, colour| {
                for (value, colour) in rgb[3 * pixel..][..3].iter_mut().zip(colour) {
                    *value = (cover * colour + (1.0 - cover) * f32::from(*value)).clamp(0.0, 255.0) as u8;
                }
            });
        }
        if let (Some(post), Some(place)) = (self.post, place) {
            let edge = |at: usize| (post[at] as f32 - shake[at % 2]).clamp(0.0, [W, H][at % 2]).round() as u32;
            for y in edge(1)..edge(3) {
                let row = 3 * (y * WIDTH + edge(0)) as usize..3 * (y * WIDTH + edge(2)) as usize;
                rgb[row.clone()].copy_from_slice(&place[row]);
            }
        }
        weather.shine(time, &mut rgb);
        weather.rain(&mut random, &mut rgb);
        weather.cover(time, &mut rgb);
        grain(&mut random, weather.noise, &mut rgb);
        Picture { rgb, boxes }
    }

    /// What happens, by the times of the frames that show it first:
    ///
    /// - `object`: from when half of a thing and the middle of its bottom are in the picture until they are not; hidden ones are there.
    /// - `stopped`: from when it moves by less than 2 % of the picture's width a second, for two seconds at least, until it moves more.
    /// - `zone`: the middle of its bottom is in the polygon; `stay`: from when it was in there for so long. At a distance of less than 2 % of the
    ///   picture's height from the outline it is where it was before; when it has gone farther, it has crossed where it last did.
    /// - `line`: the same of a line, with the side to which it was crossed.
    /// - `left_behind`: from when it stands and nobody touches it any more. What is carried is no object of its own.
    /// - `taken_away`: when nothing is at the place any more where it stood.
    /// - `camera_moved`, `covered`: from the first frame that is moved or partly covered to the first that is not. `light`: its first frame.
    ///
    /// What goes on at the end of the clip has no end.
    pub fn truth(&self) -> Value {
        let mut events = Vec::new();
        for (number, actor) in self.actors.iter().enumerate() {
            let poses: Vec<Pose> = (0..self.frames).map(|frame| actor.at(self.time(frame))).collect();
            let mut tell = |name: EventName, (start, end): (u32, u32), zone: Option<&str>, side: Option<Side>| {
                events.push(self.event(name, start, Some(end), Some(number), zone, side));
            };
            let there: Vec<bool> = poses.iter().map(Pose::is_there).collect();
            runs(&there).into_iter().for_each(|span| tell(EventName::Object, span, None, None));
            let speed = |frame: usize| {
                let [a, b] = [frame.saturating_sub(1), frame].map(|at| actor.course.at(self.time(at as u32)));
                (b[0] - a[0]).hypot(b[1] - a[1]) / W * self.rate
            };
            let still: Vec<bool> = (0..poses.len()).map(|at| there[at] && speed(at) < REST_SPEED).collect();
            for span in runs(&still).into_iter().filter(|(start, end)| (end - start) as f32 >= REST * self.rate) {
                tell(EventName::Stopped, span, None, None);
            }
            for zone in &self.zones {
                let depth = |pose: &Pose| zone.polygon.depth(pose.share(), W / H);
                for (start, end) in spans(poses.iter().map(depth)) {
                    tell(EventName::Zone, (start, end), Some(&zone.name), None);
                    let stay = zone.stay.map(|stay| start + (stay * self.rate).ceil() as u32);
                    if let Some(stay) = stay.filter(|stay| *stay < end) {
                        tell(EventName::Stay, (stay, end), Some(&zone.name), None);
                    }
                }
            }
            for line in &self.lines {
                for (frame, side) in crossings(line, &poses) {
                    tell(EventName::Line, (frame, frame), Some(&line.name), Some(side));
                }
            }
        }
        for (number, item) in self.items.iter().enumerate() {
            let stands = Pose { foot: item.place, size: item.size, gait: 0.0, faces: 1.0 }.bbox();
            let is_bare = |frame: u32| {
                let time = self.time(frame);
                let is_away = item.is_left || !item.at(time, &self.actors[0]).touches(&stands);
                is_away && !self.actors[0].at(time).touches(&stands)
            };
            let is_over = |frame: &u32| {
                let time = self.time(*frame);
                time > item.moved + 0.25 && item.stands(time) == item.is_left && is_bare(*frame)
            };
            let name = if item.is_left { EventName::LeftBehind } else { EventName::TakenAway };
            let thing = self.actors.len() + number;
            let end = item.is_left.then_some(self.frames);
            events.extend(
                (0..self.frames)
                    .find(is_over)
                    .map(|at| self.event(name, at, end.or(Some(at)), Some(thing), None, None)),
            );
        }
        let first = |time: f32| (time * self.rate).ceil() as u32;
        if let Some((time, _)) = self.weather.knocked {
            events.push(self.event(EventName::CameraMoved, first(time), Some(first(time + KNOCK)), None, None, None));
        }
        if let Some((start, end, _)) = self.weather.covered {
            events.push(self.event(EventName::Covered, first(start), Some(first(end)), None, None, None));
        }
        for (time, _) in &self.weather.light {
            events.push(self.event(EventName::Light, first(*time), Some(first(*time)), None, None, None));
        }
        events.sort_by_key(|event| event["start_ns"].as_u64());
        json!({
            "clip": format!("{}.mp4", self.name()),
            "situation": format!("{:?}", self.situation).to_lowercase(),
            "disturbance": format!("{:?}", self.disturbance).to_lowercase(),
            "frames": self.frames,
            "rate": self.rate,
            "zone": self.zones,
            "line": self.lines,
            "things": self.things(),
            "events": events,
        })
    }

    fn event(
        &self,
        name: EventName,
        start: u32,
        end: Option<u32>,
        thing: Option<usize>,
        zone: Option<&str>,
        side: Option<Side>,
    ) -> Value {
        let end = end.filter(|end| *end < self.frames).map(|end| self.ns(end));
        let mut event = json!({ "event": name, "start_ns": self.ns(start), "end_ns": end });
        let known = [
            ("thing", thing.map(|thing| json!(thing + 1))),
            ("zone", zone.map(Value::from)),
            ("side", side.map(|side| json!(side))),
        ];
        known.into_iter().filter_map(|(key, value)| Some((key, value?))).for_each(|(key, value)| event[key] = value);
        event
    }

    /// Of each thing, numbered from 1: what it is, its share of the picture, and its contrast: by how many grey levels it is brighter than the
    /// ground around it, in the mean over its way, without weather.
    fn things(&self) -> Vec<Value> {
        let bare = crop(&self.place, [0.0; 2]);
        let grey = |at: usize| luma([bare[3 * at], bare[3 * at + 1], bare[3 * at + 2]].map(f32::from));
        let looks: Vec<Look> = self.poses(0.0).into_iter().map(|(look, _)| look).collect();
        let things = looks.iter().enumerate().map(|(at, look)| {
            let (mut steps, mut sum, mut size) = (0.0f32, 0.0, [0.0; 2]);
            for frame in (0..self.frames).step_by(self.rate as usize) {
                let pose = self.poses(self.time(frame))[at].1;
                let [xmin, ymin, xmax, ymax] = pose.bbox();
                if xmin < 4.0 || xmax > W - 4.0 || ymin < 0.0 || ymax > H {
                    continue;
                }
                let (mut own, mut own_count, mut covered) = (0.0, 0.0f32, Vec::new());
                figure(look, &pose, |pixel, cover, colour| {
                    if cover >= 0.5 {
                        own += luma(colour);
                        own_count += 1.0;
                    }
                    covered.push(pixel);
                });
                let reach = |low: f32, high: f32, most: f32| {
                    let beside = 0.25 * (high - low);
                    (low - beside).max(0.0) as usize..(high + beside).min(most) as usize
                };
                let around =
                    reach(ymin, ymax, H).flat_map(|y| reach(xmin, xmax, W).map(move |x| y * WIDTH as usize + x));
                let hidden: std::collections::HashSet<usize> = covered.into_iter().collect();
                let (ground, count) = around
                    .filter(|pixel| !hidden.contains(pixel))
                    .fold((0.0, 0.0f32), |(sum, count), pixel| (sum + grey(pixel), count + 1.0));
                sum += own / own_count.max(1.0) - ground / count.max(1.0);
                steps += 1.0;
                size = pose.size;
            }
            json!({
                "thing": at + 1,
                "what": format!("{:?}", look.kind).to_lowercase(),
                "share": size[0] * size[1] / (W * H),
                "contrast": (sum / steps.max(1.0)).round(),
            })
        });
        things.collect()
    }
}

/// From when to when it holds; the end is the first frame that it does not, or the number of frames.
fn runs(holds: &[bool]) -> Vec<(u32, u32)> {
    let mut runs = Vec::new();
    let mut start = None;
    for (frame, holds) in holds.iter().copied().chain([false]).enumerate() {
        match start {
            None if holds => start = Some(frame as u32),
            Some(first) if !holds => {
                runs.push((first, frame as u32));
                start = None;
            }
            _ => {}
        }
    }
    runs
}

/// The runs of what is inside by these depths; nearer to the outline than [`NEAR`] it is where it was.
fn spans(depths: impl Iterator<Item = f32>) -> Vec<(u32, u32)> {
    let (mut inside, mut before, mut since, mut holds) = (false, false, 0, Vec::new());
    for (frame, depth) in depths.enumerate() {
        if (depth > 0.0) != before {
            (before, since) = (depth > 0.0, frame);
        }
        holds.push(inside);
        if depth.abs() >= NEAR && before != inside {
            inside = before;
            holds[since..].iter_mut().for_each(|holds| *holds = inside);
        }
    }
    runs(&holds)
}

/// When the line was crossed for good, and to which side.
fn crossings(line: &Line, poses: &[Pose]) -> Vec<(u32, Side)> {
    let mut found = Vec::new();
    let (mut anchor, mut last): (Option<Point>, Option<u32>) = (None, None);
    for (frame, pose) in poses.iter().enumerate() {
        let place = pose.share();
        if frame > 0 && line.points.crossed(poses[frame - 1].share(), place).is_some() {
            last = Some(frame as u32);
        }
        if line.points.distance(place, W / H) >= NEAR {
            let side = anchor.and_then(|anchor| line.points.crossed(anchor, place));
            found.extend(last.zip(side));
            anchor = Some(place);
        }
    }
    found
}

/// Seconds in which a camera is knocked elsewhere.
const KNOCK: f32 = 0.3;

impl Weather {
    /// By shake alone, in pixels.
    fn shaken(&self, time: f32) -> Point {
        let wave = |a: f32, b: f32, c: f32| {
            0.5 * (a * time).sin() + 0.3 * (b * time + 1.0).sin() + 0.2 * (c * time + 2.0).sin()
        };
        // From the beginning on: the place is known as a shaking one.
        [self.shake * wave(9.1, 15.7, 23.3), 0.7 * self.shake * wave(7.7, 13.9, 27.1)]
    }

    /// Where the picture lies in the place.
    fn away(&self, time: f32) -> Point {
        let shake = self.shaken(time);
        let knocked = self
            .knocked
            .map_or([0.0; 2], |(start, far)| far.map(|far| far * smooth(((time - start) / KNOCK).clamp(0.0, 1.0))));
        [0, 1].map(|axis| shake[axis] + knocked[axis])
    }

    /// Clouds, headlights, and the light of all.
    fn shine(&self, time: f32, rgb: &mut [u8]) {
        let factor = self.light.iter().rfind(|(start, _)| *start <= time).map_or(1.0, |(_, factor)| *factor);
        let now = |start: f32, length: f32| Some((time - start) / length).filter(|share| (0.0..1.0).contains(share));
        let lamps: Vec<(f32, f32)> = (self.headlights.iter())
            .filter_map(|[start, length, height]| Some((now(*start, *length)?, *height)))
            .map(|(share, height)| ((1.6 * share - 0.3) * W, height * H))
            .collect();
        let clouds: Vec<f32> =
            self.clouds.iter().filter_map(|[start, length]| Some((2.4 * now(*start, *length)? - 0.7) * W)).collect();
        if factor == 1.0 && lamps.is_empty() && clouds.is_empty() {
            return;
        }
        for (at, pixel) in rgb.chunks_exact_mut(3).enumerate() {
            let (x, y) = ((at as u32 % WIDTH) as f32, (at as u32 / WIDTH) as f32);
            let lamp: f32 =
                lamps.iter().map(|(lx, ly)| (-((x - lx) / 46.0).powi(2) - ((y - ly) / 22.0).powi(2)).exp()).sum();
            let dark: f32 = clouds
                .iter()
                .map(|cx| 0.38 * smooth((1.6 - (x - cx + 0.3 * (y - 0.5 * H)).abs() / (0.35 * W)).clamp(0.0, 1.0)))
                .sum();
            let gain = (1.0 + 0.7 * lamp) * (1.0 - dark).max(0.4) * factor;
            for value in pixel {
                *value = (f32::from(*value) * gain + 34.0 * lamp * factor).clamp(0.0, 255.0) as u8;
            }
        }
    }

    fn rain(&self, random: &mut Random, rgb: &mut [u8]) {
        for _ in 0..self.streaks {
            let (x, y) = (random.within(0.0, W), random.within(-10.0, H));
            let (long, bright) = (random.within(8.0, 20.0), random.within(14.0, 40.0));
            for step in 0..long as u32 {
                let (x, y) = (x - 0.2 * step as f32, y + step as f32);
                if (0.0..W).contains(&x) && (0.0..H).contains(&y) {
                    let at = 3 * (y as u32 * WIDTH + x as u32) as usize;
                    rgb[at..at + 3].iter_mut().for_each(|value| *value = (f32::from(*value) + bright).min(255.0) as u8);
                }
            }
        }
    }

    /// A cloth that comes down in 0.4 s, and goes up.
    fn cover(&self, time: f32, rgb: &mut [u8]) {
        let Some((start, end, grey)) = self.covered else { return };
        let share = ((time - start) / 0.4).min((end - time) / 0.4).clamp(0.0, 1.0);
        let rows = (share * H).ceil() as u32;
        for (at, pixel) in rgb.chunks_exact_mut(3).enumerate().take((rows * WIDTH) as usize) {
            let (x, y) = ((at as u32 % WIDTH) as f32, (at as u32 / WIDTH) as f32);
            let fold = 0.88 + 0.24 * noise(x / 40.0 + y / 160.0, y / 90.0);
            pixel.iter_mut().for_each(|value| *value = (grey * fold) as u8);
        }
    }
}

fn leaves(random: &mut Random) -> Vec<Leaves> {
    let count = 2 + random.of(3);
    let one = |random: &mut Random| Leaves {
        centre: [random.within(0.0, W), random.within(0.0, 0.36) * H],
        radius: random.within(18.0, 42.0),
        sway: random.within(1.0, 4.0),
        pace: random.within(2.0, 6.0),
    };
    (0..count).map(|_| one(random)).collect()
}

impl Leaves {
    /// `away` is where the picture lies in the place.
    fn draw(&self, time: f32, away: Point, rgb: &mut [u8]) {
        let [cx, cy] = [0, 1].map(|axis| self.centre[axis] - away[axis]);
        let gust = 0.6 + 0.4 * (0.9 * time).sin();
        let reach = self.radius + 4.0;
        let rows = (cy - reach).max(0.0) as u32..(cy + reach).clamp(0.0, H) as u32;
        let columns = (cx - reach).max(0.0) as u32..(cx + reach).clamp(0.0, W) as u32;
        for (x, y) in rows.flat_map(|y| columns.clone().map(move |x| (x, y))) {
            let (dx, dy) = (x as f32 - cx, y as f32 - cy);
            // Farther from the stem it sways more, and every branch for itself.
            let swing = self.sway * gust * (self.pace * time + 0.09 * dx + 0.06 * dy).sin();
            let (u, v) = (dx + swing + 300.0, dy + 0.4 * swing + 300.0);
            let leaf = noise(u / 4.0, v / 3.2);
            let cover =
                (5.0 * (1.0 - dx.hypot(dy) / self.radius) + 3.0 * (noise(u / 7.0, v / 7.0) - 0.5)).clamp(0.0, 1.0);
            if cover > 0.0 {
                let at = 3 * (y * WIDTH + x) as usize;
                for (value, part) in rgb[at..at + 3].iter_mut().zip([0.72, 1.0, 0.5]) {
                    *value = (cover * part * (36.0 + 100.0 * leaf) + (1.0 - cover) * f32::from(*value)) as u8;
                }
            }
        }
    }
}

/// Of one of this size, from the middle to where it fades.
fn shadow_length(size: Point) -> f32 {
    0.35 * size[1] + 0.5 * size[0]
}

/// Soft, to the lower right of its feet.
fn cast_shadow(pose: &Pose, dark: f32, rgb: &mut [u8]) {
    let Pose { foot: [x, y], size: [width, height], .. } = *pose;
    let (long, thick) = (shadow_length(pose.size), (0.12 * width + 0.04 * height).max(2.0));
    let (cx, cy) = (x + 0.6 * long, y - 0.3 * thick);
    let rows = (cy - 2.0 * thick).max(0.0) as u32..(cy + 2.0 * thick).clamp(0.0, H) as u32;
    let columns = (cx - 2.0 * long).max(0.0) as u32..(cx + 2.0 * long).clamp(0.0, W) as u32;
    for (x, y) in rows.flat_map(|y| columns.clone().map(move |x| (x, y))) {
        let away = ((x as f32 - cx) / long).hypot((y as f32 - cy) / thick);
        let gain = 1.0 - dark * smooth((2.0 - 1.5 * away).clamp(0.0, 1.0));
        let at = 3 * (y * WIDTH + x) as usize;
        rgb[at..at + 3].iter_mut().for_each(|value| *value = (f32::from(*value) * gain) as u8);
    }
}

/// Sensor noise, the same in all channels: rows of a table of normal numbers, each from another place on.
fn grain(random: &mut Random, deviation: f32, rgb: &mut [u8]) {
    const LONG: usize = 1 << 14;
    static NORMAL: std::sync::LazyLock<Vec<f32>> = std::sync::LazyLock::new(|| {
        let mut random = Random(7);
        (0..LONG).map(|_| (0..12).map(|_| random.share()).sum::<f32>() - 6.0).collect()
    });
    for row in rgb.chunks_exact_mut(3 * WIDTH as usize) {
        let from = random.of((LONG - WIDTH as usize) as u64) as usize;
        for (pixel, normal) in row.chunks_exact_mut(3).zip(&NORMAL[from..]) {
            let step = (deviation * normal).round();
            pixel.iter_mut().for_each(|value| *value = (f32::from(*value) + step).clamp(0.0, 255.0) as u8);
        }
    }
}

/// The picture at a distance in pixels from the middle of the place.
fn crop(place: &[u8], away: Point) -> Vec<u8> {
    let wide = (WIDTH + 2 * MARGIN) as usize;
    let from = away.map(|away| away + MARGIN as f32);
    let [left, top] = from.map(|from| from.floor() as usize);
    let [across, down] = from.map(|from| from - from.floor());
    let at = |y: usize| &place[3 * ((top + y) * wide + left)..][..3 * (WIDTH as usize + 1)];
    let mut rgb = Vec::with_capacity((3 * WIDTH * HEIGHT) as usize);
    for y in 0..HEIGHT as usize {
        let row = at(y);
        if across == 0.0 && down == 0.0 {
            rgb.extend_from_slice(&row[..3 * WIDTH as usize]);
            continue;
        }
        let below = at(y + 1);
        let mix = |a: u8, b: u8, share: f32| f32::from(a) + (f32::from(b) - f32::from(a)) * share;
        rgb.extend((0..3 * WIDTH as usize).map(|x| {
            let (over, under) = (mix(row[x], row[x + 3], across), mix(below[x], below[x + 3], across));
            (over + (under - over) * down + 0.5) as u8
        }));
    }
    rgb
}

/// Gives every pixel of a figure, its cover from 0 to 1 and its colour to `put`; the box of those that it covers by half, all zero where there
/// are none.
fn figure(look: &Look, pose: &Pose, mut put: impl FnMut(usize, f32, [f32; 3])) -> [u32; 4] {
    let Pose { foot: [x, y], size: [width, height], gait, faces } = *pose;
    let [xmin, ymin, xmax, ymax] = pose.bbox();
    let rows = (ymin - 1.0).clamp(0.0, H) as u32..(ymax + 2.0).clamp(0.0, H) as u32;
    let columns = (xmin - 1.0).clamp(0.0, W) as u32..(xmax + 2.0).clamp(0.0, W) as u32;
    let mut bbox: Option<[u32; 4]> = None;
    for (px, py) in rows.flat_map(|y| columns.clone().map(move |x| (x, y))) {
        // Across from -1 to 1, down from 0 to 1.
        let u = faces * (px as f32 + 0.5 - x) / (width / 2.0);
        let v = (py as f32 + 0.5 - (y - height)) / height;
        let (edge, part) = look.kind.edge(u, v, gait, [width / 2.0, height]);
        let cover = (edge + 0.5).clamp(0.0, 1.0);
        if cover == 0.0 {
            continue;
        }
        if cover >= 0.5 {
            let known = bbox.unwrap_or([px, py, px + 1, py + 1]);
            bbox = Some([known[0].min(px), known[1].min(py), known[2].max(px + 1), known[3].max(py + 1)]);
        }
        let light = (1.06 - 0.1 * u - 0.08 * v) * part;
        let colour = look.colours[usize::from(look.texture.second(u, 2.0 * v - 1.0))].map(|value| value * light);
        put((py * WIDTH + px) as usize, cover, colour);
    }
    bbox.unwrap_or_default()
}

impl Kind {
    /// How far a place is inside, in pixels, and how bright that part is. `half` is half the width and the height in pixels.
    fn edge(self, u: f32, v: f32, gait: f32, half: Point) -> (f32, f32) {
        // Of a rounded shape with this centre and these radii; the higher the power, the more corners.
        let round = |centre: Point, radius: Point, power: i32| {
            let (du, dv) = (((u - centre[0]) / radius[0]).abs(), ((v - centre[1]) / radius[1]).abs());
            let far = (du.powi(power) + dv.powi(power)).powf(1.0 / power as f32);
            (1.0 - far) * (radius[0] * half[0]).min(radius[1] * half[1])
        };
        let all =
            |parts: &[(f32, f32)]| parts.iter().copied().fold((f32::MIN, 1.0), |a, b| if b.0 > a.0 { b } else { a });
        match self {
            Self::Person => {
                let leg = |side: f32| {
                    let down = ((v - 0.55) / 0.45).clamp(0.0, 1.0);
                    let middle = side * (0.28 + 0.3 * down * gait.sin());
                    ((0.32 - (u - middle).abs()) * half[0]).min((v - 0.5).min(1.0 - v) * half[1])
                };
                all(&[
                    (round([0.0, 0.1], [0.46, 0.1], 2), 0.9),
                    (round([0.0, 0.4], [0.92, 0.24], 4), 1.0),
                    (leg(-1.0), 0.82),
                    (leg(1.0), 0.86),
                ])
            }
            Self::Car => {
                let wheel = |side: f32| (round([0.55 * side, 0.86], [0.19, 0.14], 2), 0.35);
                let body = (round([0.0, 0.62], [1.0, 0.32], 6), 1.0);
                let cabin = (round([-0.1, 0.3], [0.62, 0.3], 4), if v > 0.12 && v < 0.34 { 0.7 } else { 1.0 });
                let wheels = all(&[wheel(-1.0), wheel(1.0)]);
                if wheels.0 > 0.0 { wheels } else { all(&[body, cabin, wheels]) }
            }
            Self::Animal => all(&[
                (round([-0.08, 0.42], [0.8, 0.3], 3), 1.0),
                (round([0.72, 0.22], [0.28, 0.22], 2), 0.92),
                (round([-0.6 + 0.1 * gait.sin(), 0.8], [0.12, 0.2], 4), 0.8),
                (round([0.45 - 0.1 * gait.sin(), 0.8], [0.12, 0.2], 4), 0.8),
            ]),
            Self::Bag => all(&[(round([0.0, 0.56], [1.0, 0.44], 6), 1.0), (round([0.0, 0.14], [0.4, 0.14], 4), 0.8)]),
            Self::Bush => (round([0.0, 0.5], [1.0, 0.5], 2), 1.0),
        }
    }
}

/// The bare place with its margins: ground, perhaps a wall, and some things that belong there.
fn place(random: &mut Random) -> Vec<u8> {
    let (wide, high) = (WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN);
    let (style, off) = (random.of(4), [random.within(0.0, 900.0), random.within(0.0, 900.0)]);
    let (base, wall) = (random.within(78.0, 150.0), MARGIN as f32 + random.within(0.3, 0.42) * H);
    let tint = [random.within(0.93, 1.08), 1.0, random.within(0.88, 1.06)];
    let ground = |x: f32, y: f32| {
        let rough =
            noise((x + off[0]) / 46.0, (y + off[1]) / 46.0) + 0.5 * noise((x + off[0]) / 15.0, (y + off[1]) / 15.0);
        let fine = noise((x + off[0]) / 1.7, (y + off[1]) / 2.6);
        let light = 0.72 + 0.18 * rough + 0.22 * fine;
        match style {
            // A lawn.
            0 => [0.82, 1.06, 0.62].map(|part| base * part * light),
            // Slabs.
            1 => {
                let (column, row) = (x.rem_euclid(38.0), y.rem_euclid(26.0));
                let joint = if column < 1.6 || row < 1.6 { 0.7 } else { 1.0 };
                let slab = 0.92 + 0.16 * noise((x / 38.0).floor() * 1.7 + off[0], (y / 26.0).floor() * 1.7);
                tint.map(|part| base * part * joint * slab * (0.86 + 0.14 * rough + 0.1 * fine))
            }
            // A road with a marking along it.
            2 => {
                let is_mark = (y - MARGIN as f32 - 0.72 * H).abs() < 2.5 && x.rem_euclid(52.0) < 26.0;
                let tone = if is_mark { 1.7 } else { 1.0 };
                tint.map(|part| 0.8 * base * part * tone * light)
            }
            _ => tint.map(|part| base * part * light),
        }
    };
    let bricks = |x: f32, y: f32| {
        let row = (y / 9.0).floor();
        let joint = if y.rem_euclid(9.0) < 1.2 || (x + 9.0 * (row % 2.0)).rem_euclid(19.0) < 1.2 { 1.25 } else { 1.0 };
        let grain = 0.85 + 0.3 * noise(x / 3.0 + off[0], y / 2.0);
        [1.08, 0.92, 0.82].map(|part| 0.85 * base * part * joint * grain)
    };
    let has_wall = style != 0 && random.flip();
    let pixels = (0..high).flat_map(|y| (0..wide).map(move |x| (x as f32, y as f32)));
    let mut rgb: Vec<u8> = pixels
        .flat_map(|(x, y)| if has_wall && y < wall { bricks(x, y) } else { ground(x, y) })
        .map(|value| value.clamp(0.0, 255.0) as u8)
        .collect();
    // What belongs there stands in the back.
    for _ in 0..2 + random.of(3) {
        let kind = if random.flip() { Kind::Bush } else { Kind::Bag };
        let size = [random.within(16.0, 44.0), random.within(14.0, 34.0)];
        let contrast = random.within(-45.0, 45.0);
        let own = look(random, kind, base, contrast);
        let pose =
            Pose { foot: [random.within(0.05, 0.95) * W, random.within(0.3, 0.46) * H], size, gait: 0.0, faces: 1.0 };
        figure(&own, &pose, |pixel, cover, colour| {
            let (x, y) = (pixel as u32 % WIDTH + MARGIN, pixel as u32 / WIDTH + MARGIN);
            for (value, colour) in rgb[3 * (y * wide + x) as usize..][..3].iter_mut().zip(colour) {
                *value = (cover * colour + (1.0 - cover) * f32::from(*value)).clamp(0.0, 255.0) as u8;
            }
        });
    }
    rgb
}
