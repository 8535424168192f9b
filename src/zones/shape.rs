//! Polygons and lines over a picture, in shares of it.

use serde::{Deserialize, Serialize};

/// More corners are no drawing by hand.
const MOST: usize = 128;
/// A polygon of a smaller share of the picture is a slip of the mouse.
const LEAST_AREA: f32 = 1e-5;

type Point = [f32; 2];

/// A polygon that does not cross itself, of three corners or more, closed by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Point>", into = "Vec<Point>")]
pub struct Polygon(Vec<Point>);

/// A line of one piece or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Point>", into = "Vec<Point>")]
pub struct Path(Vec<Point>);

/// Of a line, for who goes along it from its first point to its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Left,
    Right,
}

impl TryFrom<Vec<Point>> for Polygon {
    type Error = String;

    fn try_from(points: Vec<Point>) -> Result<Self, String> {
        check(&points, 3, "a polygon")?;
        let corners = points.len();
        let edge = |at: usize| [points[at], points[(at + 1) % corners]];
        for a in 0..corners {
            // Neighbours have a corner in common.
            let others = (a + 2..corners).filter(|b| (b + 1) % corners != a);
            for b in others {
                if do_cross(edge(a), edge(b)) {
                    let [[from, to], [other, end]] = [edge(a), edge(b)];
                    return Err(format!(
                        "the polygon crosses itself: {from:?} to {to:?} and {other:?} to {end:?} (give the corners in their order around it)"
                    ));
                }
            }
        }
        let polygon = Self(points);
        match polygon.area() {
            area if area >= LEAST_AREA => Ok(polygon),
            _ => Err("the polygon has no area: its corners lie on one line".into()),
        }
    }
}

impl TryFrom<Vec<Point>> for Path {
    type Error = String;

    fn try_from(points: Vec<Point>) -> Result<Self, String> {
        check(&points, 2, "a line")?;
        Ok(Self(points))
    }
}

impl From<Polygon> for Vec<Point> {
    fn from(Polygon(points): Polygon) -> Self {
        points
    }
}

impl From<Path> for Vec<Point> {
    fn from(Path(points): Path) -> Self {
        points
    }
}

fn check(points: &[Point], least: usize, what: &str) -> Result<(), String> {
    if !(least..=MOST).contains(&points.len()) {
        return Err(format!("{what} has {least} to {MOST} points, not {}", points.len()));
    }
    if let Some(point) = points.iter().find(|point| !point.iter().all(|share| (0.0..=1.0).contains(share))) {
        return Err(format!("{point:?} is outside: points are shares of the picture, [0, 0] to [1, 1]"));
    }
    let next = points.iter().zip(&points[1..]).find(|(a, b)| a == b);
    next.map_or(Ok(()), |(point, _)| Err(format!("{point:?} is there twice in a row")))
}

/// Twice the area of the triangle, positive where it goes clockwise as seen (y down).
fn turn(a: Point, b: Point, c: Point) -> f32 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

/// Whether two pieces have a point in common.
fn do_cross([a, b]: [Point; 2], [c, d]: [Point; 2]) -> bool {
    let is_between =
        |from: Point, to: Point, at: Point| (0..2).all(|k| (from[k].min(to[k])..=from[k].max(to[k])).contains(&at[k]));
    let (of_c, of_d) = (turn(a, b, c), turn(a, b, d));
    let (of_a, of_b) = (turn(c, d, a), turn(c, d, b));
    let are_apart = |one: f32, other: f32| one.signum() != other.signum() && one != 0.0 && other != 0.0;
    are_apart(of_c, of_d) && are_apart(of_a, of_b)
        || of_c == 0.0 && is_between(a, b, c)
        || of_d == 0.0 && is_between(a, b, d)
        || of_a == 0.0 && is_between(c, d, a)
        || of_b == 0.0 && is_between(c, d, b)
}

impl Polygon {
    pub fn points(&self) -> &[Point] {
        &self.0
    }

    /// As a share of the picture.
    pub fn area(&self) -> f32 {
        let edges = self.0.iter().zip(self.0.iter().cycle().skip(1));
        edges.map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum::<f32>().abs() / 2.0
    }

    /// By the number of edges to its left that a place's row meets.
    pub fn contains(&self, [x, y]: Point) -> bool {
        let edges = self.0.iter().zip(self.0.iter().cycle().skip(1));
        let left =
            edges.filter(|([ax, ay], [bx, by])| (*ay > y) != (*by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax);
        left.count() % 2 == 1
    }

    /// How far a place is from the outline, where a unit across is `across` times one down; positive inside.
    pub fn depth(&self, at: Point, across: f32) -> f32 {
        let edges = self.0.iter().zip(self.0.iter().cycle().skip(1));
        let nearest = edges.map(|(a, b)| distance(*a, *b, at, across)).fold(f32::INFINITY, f32::min);
        if self.contains(at) { nearest } else { -nearest }
    }
}

/// Of a place from a piece of a line.
fn distance(a: Point, b: Point, at: Point, across: f32) -> f32 {
    let wide = |point: Point| [point[0] * across, point[1]];
    let (a, b, at) = (wide(a), wide(b), wide(at));
    let along = [b[0] - a[0], b[1] - a[1]];
    let length = (along[0] * along[0] + along[1] * along[1]).max(f32::MIN_POSITIVE);
    let share = (((at[0] - a[0]) * along[0] + (at[1] - a[1]) * along[1]) / length).clamp(0.0, 1.0);
    (at[0] - a[0] - share * along[0]).hypot(at[1] - a[1] - share * along[1])
}

impl Path {
    pub fn points(&self) -> &[Point] {
        &self.0
    }

    /// To which side who goes straight from one place to another gets over it; none where it is not met. Who meets it twice is where it was.
    pub fn crossed(&self, from: Point, to: Point) -> Option<Side> {
        let pieces = self.0.iter().zip(&self.0[1..]);
        let sides = pieces.filter(|(a, b)| do_cross([**a, **b], [from, to])).map(|(a, b)| turn(*a, *b, to));
        let sum: f32 = sides.filter(|side| *side != 0.0).map(f32::signum).sum();
        // y goes down: a turn to the right is positive.
        match sum {
            sum if sum > 0.0 => Some(Side::Right),
            sum if sum < 0.0 => Some(Side::Left),
            _ => None,
        }
    }

    /// How far a place is from it, where a unit across is `across` times one down.
    pub fn distance(&self, at: Point, across: f32) -> f32 {
        let pieces = self.0.iter().zip(&self.0[1..]);
        pieces.map(|(a, b)| distance(*a, *b, at, across)).fold(f32::INFINITY, f32::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polygon(points: &[Point]) -> Result<Polygon, String> {
        points.to_vec().try_into()
    }

    #[test]
    fn what_is_no_polygon_says_why() {
        let square = [[0.2, 0.2], [0.8, 0.2], [0.8, 0.6], [0.2, 0.6]];
        assert!((polygon(&square).unwrap().area() - 0.24).abs() < 1e-6);
        let bow = polygon(&[square[0], square[2], square[1], square[3]]).unwrap_err();
        assert!(bow.contains("crosses itself"), "{bow}");
        for (points, why) in [
            (&square[..2], "3 to 128 points, not 2"),
            (&[[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]], "no area"),
            (&[[0.1, 0.1], [1.2, 0.2], [0.3, 0.8]], "[1.2, 0.2] is outside"),
            (&[[0.1, 0.1], [f32::NAN, 0.2], [0.3, 0.8]], "outside"),
            (&[[0.1, 0.1], [0.1, 0.1], [0.3, 0.8]], "twice in a row"),
        ] {
            let told = polygon(points).unwrap_err();
            assert!(told.contains(why), "{points:?}: {told}");
        }
        assert!(Path::try_from(vec![[0.1, 0.1]]).is_err());
    }

    #[test]
    fn a_place_is_inside_as_deep_as_it_is_far_from_the_outline() {
        // An L, which is not convex.
        let l = polygon(&[[0.0, 0.0], [1.0, 0.0], [1.0, 0.5], [0.5, 0.5], [0.5, 1.0], [0.0, 1.0]]).unwrap();
        assert!(l.contains([0.25, 0.75]) && l.contains([0.75, 0.25]) && !l.contains([0.75, 0.75]));
        assert!((l.depth([0.25, 0.75], 1.0) - 0.25).abs() < 1e-6);
        assert!((l.depth([0.75, 0.75], 1.0) + 0.25).abs() < 1e-6);
        // Twice as wide as high.
        assert!((l.depth([0.25, 0.75], 2.0) - 0.25).abs() < 1e-6 && (l.depth([0.9, 0.25], 2.0) - 0.2).abs() < 1e-6);
    }

    #[test]
    fn a_line_is_crossed_to_the_side_that_is_come_to() {
        let up = Path::try_from(vec![[0.5, 1.0], [0.5, 0.0]]).unwrap();
        assert_eq!(up.crossed([0.4, 0.5], [0.6, 0.5]), Some(Side::Right));
        assert_eq!(up.crossed([0.6, 0.5], [0.4, 0.4]), Some(Side::Left));
        assert_eq!(up.crossed([0.6, 0.5], [0.7, 0.5]), None);
        // Round a corner: over both pieces and back.
        let corner = Path::try_from(vec![[0.0, 0.5], [0.5, 0.5], [0.5, 1.0]]).unwrap();
        assert_eq!(corner.crossed([0.25, 0.4], [0.6, 0.75]), None);
        assert_eq!(corner.crossed([0.25, 0.4], [0.25, 0.75]), Some(Side::Right));
        assert!((corner.distance([0.75, 0.75], 2.0) - 0.5).abs() < 1e-6);
    }
}
