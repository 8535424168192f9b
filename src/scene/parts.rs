//! Pieces of foreground, and how pieces become whole things.

use super::mask::Size;
use super::neck;

/// A column with this share of the pixels of the columns on both sides is where two things touch.
const SPLIT: f32 = 0.5;

/// A piece of foreground, by its pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
    /// Row by row over the bounding box.
    pub mask: Vec<bool>,
    pub area: usize,
}

impl Part {
    /// The places of its pixels in a picture of this width.
    pub fn pixels(&self, width: usize) -> impl Iterator<Item = usize> {
        let first = self.y * width + self.x;
        self.mask.chunks_exact(self.width.max(1)).enumerate().flat_map(move |(y, row)| {
            let inside = row.iter().enumerate().filter(|(_, is_in)| **is_in);
            inside.map(move |(x, _)| first + y * width + x)
        })
    }

    /// `[xmin, ymin, xmax, ymax]`.
    pub fn bounds(&self) -> [f32; 4] {
        [self.x, self.y, self.x + self.width, self.y + self.height].map(|edge| edge as f32)
    }

    /// The part of its columns `from..to`, in its own smallest box.
    pub fn columns(&self, from: usize, to: usize) -> Self {
        let has_row = |y: usize| self.mask[y * self.width..][from..to].contains(&true);
        let rows: Vec<usize> = (0..self.height).filter(|&y| has_row(y)).collect();
        let has_column = |x: usize| (0..self.height).any(|y| self.mask[y * self.width + x]);
        let columns: Vec<usize> = (from..to).filter(|&x| has_column(x)).collect();
        let (Some(&top), Some(&bottom), Some(&left), Some(&right)) =
            (rows.first(), rows.last(), columns.first(), columns.last())
        else {
            return Self { x: self.x, y: self.y, width: 0, height: 0, mask: Vec::new(), area: 0 };
        };
        let (width, height) = (right - left + 1, bottom - top + 1);
        let mask: Vec<bool> =
            (top..=bottom).flat_map(|y| self.mask[y * self.width..][left..=right].iter().copied()).collect();
        let area = mask.iter().filter(|is_in| **is_in).count();
        Self { x: self.x + left, y: self.y + top, width, height, mask, area }
    }
}

/// Pixels side by side in a row that are in a mask.
struct Run {
    y: usize,
    from: usize,
    to: usize,
}

/// The 8-connected components of a mask, in the order of their first pixels.
pub fn components(mask: &[u8], (width, height): Size) -> Vec<Part> {
    let mut runs: Vec<Run> = Vec::new();
    // Of each run an earlier one that it hangs together with, or itself.
    let mut up: Vec<u32> = Vec::new();
    let mut above = 0..0;
    for (y, row) in mask.chunks_exact(width).take(height).enumerate() {
        let first = runs.len();
        let mut near = above.clone();
        let mut from = end_of(row, 0, 0);
        while from < width {
            let to = end_of(row, from, u8::MAX);
            let own = runs.len();
            runs.push(Run { y, from, to });
            up.push(own as u32);
            // The next run can touch the last of these, too.
            near.start += runs[near.clone()].iter().take_while(|run| run.to < from).count();
            let mut other = near.start;
            while other < near.end && runs[other].from <= to {
                let [a, b] = [own, other].map(|run| climb(&mut up, run as u32));
                up[a.max(b) as usize] = a.min(b);
                other += 1;
            }
            from = end_of(row, to, 0);
        }
        above = first..runs.len();
    }
    let roots: Vec<usize> = (0..runs.len()).map(|run| climb(&mut up, run as u32) as usize).collect();
    // Of each root its part, which grows to hold all of its runs before any is drawn.
    let mut of_root = vec![0; runs.len()];
    let mut parts: Vec<Part> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        if roots[at] == at {
            of_root[at] = parts.len();
            parts.push(Part { x: run.from, y: run.y, width: 0, height: 0, mask: Vec::new(), area: 0 });
        }
        let part = &mut parts[of_root[roots[at]]];
        let right = (part.x + part.width).max(run.to);
        part.x = part.x.min(run.from);
        (part.width, part.height) = (right - part.x, run.y + 1 - part.y);
        part.area += run.to - run.from;
    }
    parts.iter_mut().for_each(|part| part.mask = vec![false; part.width * part.height]);
    for (run, root) in runs.iter().zip(roots) {
        let part = &mut parts[of_root[root]];
        let row = (run.y - part.y) * part.width;
        part.mask[row + run.from - part.x..row + run.to - part.x].fill(true);
    }
    parts
}

/// The end of the way up from here, which is its own next; the way there is half as long next time.
pub(super) fn climb(up: &mut [u32], mut at: u32) -> u32 {
    while up[at as usize] != at {
        let next = up[up[at as usize] as usize];
        up[at as usize] = next;
        at = next;
    }
    at
}

/// Where the pixels end that are as this one, 0 or 255, from a place in a row on.
fn end_of(row: &[u8], from: usize, kind: u8) -> usize {
    let rest = &row[from..];
    let same = rest.as_chunks::<8>().0.iter().take_while(|eight| **eight == [kind; 8]).count() * 8;
    from + same + rest[same..].iter().take_while(|pixel| (**pixel == 0) == (kind == 0)).count()
}

/// Cuts a part into things: at its thinnest column where both sides are large and tall, as people side by side are, and where it is
/// thin between two that are thick. `least` is the smallest area of a thing.
pub fn split(part: Part, least: f32, out: &mut Vec<Part>) {
    if (part.area as f32) < 2.0 * least || part.width < 8 {
        return out.push(part);
    }
    let Some(things) = side_by_side(&part, least).or_else(|| neck::cut(&part, least)) else { return out.push(part) };
    for thing in things {
        split(thing, least, out);
    }
}

fn side_by_side(part: &Part, least: f32) -> Option<Vec<Part>> {
    let at = thin_column(part)?;
    let sides = [part.columns(0, at), part.columns(at, part.width)];
    let is_side = |side: &Part| {
        side.area as f32 >= (0.2 * part.area as f32).max(0.5 * least)
            && side.height as f32 >= (1.2 * side.width as f32).max(0.55 * part.height as f32)
    };
    sides.iter().all(is_side).then(|| sides.into())
}

/// The column that is thinnest in comparison with the fullest on either side, where it is thin enough. A column is as full as it is far
/// from its first pixel to its last: what has holes because it looks like the scene here and there is one thing.
fn thin_column(part: &Part) -> Option<usize> {
    let mut ends = vec![(part.height, 0); part.width];
    for (y, row) in part.mask.chunks_exact(part.width).enumerate() {
        let inside = ends.iter_mut().zip(row).filter(|(_, is_in)| **is_in);
        inside.for_each(|((first, end), _)| (*first, *end) = ((*first).min(y), y + 1));
    }
    let columns: Vec<f32> = ends.iter().map(|&(first, end)| end.saturating_sub(first) as f32).collect();
    let last = part.width - 1;
    let smooth: Vec<f32> =
        (0..=last).map(|x| (columns[x.saturating_sub(1)] + columns[x] + columns[(x + 1).min(last)]) / 3.0).collect();
    let fullest = |most: &mut f32, column: &f32| {
        *most = most.max(*column);
        Some(*most)
    };
    let before: Vec<f32> = smooth.iter().scan(0.0, fullest).collect();
    let mut after: Vec<f32> = smooth.iter().rev().scan(0.0, fullest).collect();
    after.reverse();
    let share = |x: usize| smooth[x] / before[x].min(after[x]);
    let at = (2..part.width.saturating_sub(2)).min_by(|&a, &b| share(a).total_cmp(&share(b)))?;
    (share(at) <= SPLIT).then_some(at)
}

/// Unites boxes, the larger with what is 60 % inside it, or short, no wider, and just above or below it (at most `gap` away).
/// `unite` joins what else is known of the second to the first.
pub fn join<T>(things: &mut Vec<([f32; 4], T)>, gap: f32, mut unite: impl FnMut(&mut T, T)) {
    while let Some((into, from)) = pair(things, gap) {
        let (small, known) = things.remove(from);
        let into = if from < into { into - 1 } else { into };
        let (large, own) = &mut things[into];
        *large = union(large, &small);
        unite(own, known);
    }
}

fn union(a: &[f32; 4], b: &[f32; 4]) -> [f32; 4] {
    [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]
}

fn area(a: &[f32; 4]) -> f32 {
    (a[2] - a[0]) * (a[3] - a[1])
}

fn pair<T>(things: &[([f32; 4], T)], gap: f32) -> Option<(usize, usize)> {
    let all = 0..things.len();
    let mut pairs = all.clone().flat_map(|i| all.clone().map(move |j| (i, j))).filter(|(i, j)| i != j);
    pairs.find(|&(i, j)| {
        let (a, b) = (&things[i].0, &things[j].0);
        area(a) >= area(b) && belongs(a, b, gap)
    })
}

/// Whether the smaller b is a piece of a.
fn belongs(a: &[f32; 4], b: &[f32; 4], gap: f32) -> bool {
    let (across, down) = (a[2].min(b[2]) - a[0].max(b[0]), a[3].min(b[3]) - a[1].max(b[1]));
    let (width, height) = (a[2] - a[0], a[3] - a[1]);
    let (own_width, own_height) = (b[2] - b[0], b[3] - b[1]);
    let is_stacked = across > 0.5 * width.min(own_width)
        && -down < gap.min(0.2 * height)
        && own_height < 0.5 * height
        && own_width < 1.3 * width;
    is_stacked || across > 0.0 && down > 0.0 && across * down > 0.6 * area(b)
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn mask(rows: &[&str]) -> (Vec<u8>, Size) {
        let cells = rows.iter().flat_map(|row| row.bytes());
        (cells.map(|cell| if cell == b'#' { 255 } else { 0 }).collect(), (rows[0].len(), rows.len()))
    }

    #[test]
    fn components_touch_at_corners_and_know_their_pixels() {
        let (mask, size) = mask(&["#..#", ".#..", "...#"]);
        let parts = components(&mask, size);
        let bounds: Vec<_> = parts.iter().map(|part| (part.bounds(), part.area)).collect();
        assert_eq!(bounds, [([0.0, 0.0, 2.0, 2.0], 2), ([3.0, 0.0, 4.0, 1.0], 1), ([3.0, 2.0, 4.0, 3.0], 1)]);
        assert_eq!(parts[0].pixels(size.0).collect::<Vec<_>>(), [0, 5]);
    }

    #[test]
    fn components_are_those_of_a_plain_flood() {
        let mut random = Random::new(5);
        for (width, height) in [(1, 1), (1, 9), (9, 1), (7, 5), (8, 8), (37, 23), (64, 16)] {
            for share in [2, 3, 5, 9] {
                let mask = Vec::from_iter(
                    (0..width * height).map(|_| if random.next().is_multiple_of(share) { 0 } else { 255 }),
                );
                let mut of = vec![usize::MAX; mask.len()];
                let mut count = 0;
                for first in (0..mask.len()).filter(|&at| mask[at] != 0) {
                    let mut open = if of[first] == usize::MAX { vec![first] } else { vec![] };
                    count += open.len();
                    while let Some(at) = open.pop() {
                        of[at] = count - 1;
                        let is_near = |other: usize| {
                            (at % width).abs_diff(other % width) <= 1 && (at / width).abs_diff(other / width) <= 1
                        };
                        let near = (0..mask.len()).filter(|&at| mask[at] != 0 && of[at] == usize::MAX);
                        open.extend(near.filter(|&other| is_near(other)));
                    }
                }
                let parts = components(&mask, (width, height));
                assert_eq!(parts.len(), count);
                for (number, part) in parts.iter().enumerate() {
                    let plain = Vec::from_iter((0..mask.len()).filter(|&at| of[at] == number));
                    assert_eq!(part.pixels(width).collect::<Vec<_>>(), plain);
                    assert_eq!(part.area, plain.len());
                    let (xs, ys) = (plain.iter().map(|at| at % width), plain.iter().map(|at| at / width));
                    let sides = [xs.clone().min(), ys.clone().min(), xs.max(), ys.max()].map(Option::unwrap);
                    assert_eq!([part.x, part.y, part.x + part.width - 1, part.y + part.height - 1], sides);
                }
            }
        }
    }

    #[test]
    fn two_side_by_side_are_cut_where_they_touch_and_one_is_not() {
        let row = "#####...#####";
        let rows: Vec<&str> = (0..12).map(|y| if y == 6 { "#############" } else { row }).collect();
        let (two, size) = mask(&rows);
        let mut cut = Vec::new();
        split(components(&two, size).remove(0), 10.0, &mut cut);
        assert_eq!(cut.len(), 2, "{cut:?}");
        // Holes are no seam: a pattern that looks like the scene here and there.
        let rows: Vec<&str> = (0..12).map(|y| if y % 11 == 0 { "#############" } else { row }).collect();
        let (holed, size) = mask(&rows);
        let mut whole = Vec::new();
        split(components(&holed, size).remove(0), 10.0, &mut whole);
        assert_eq!(whole.len(), 1);
        let (one, size) = mask(&["#########"; 12]);
        let mut whole = Vec::new();
        split(components(&one, size).remove(0), 10.0, &mut whole);
        assert_eq!(whole.len(), 1);
    }

    #[test]
    fn pieces_above_and_inside_are_one_and_neighbours_are_not() {
        let mut things = vec![
            ([10.0, 20.0, 30.0, 60.0], 1),
            ([12.0, 12.0, 28.0, 18.0], 2),
            ([15.0, 30.0, 20.0, 40.0], 4),
            ([40.0, 20.0, 60.0, 60.0], 8),
        ];
        join(&mut things, 8.0, |own, other| *own += other);
        assert_eq!(things, [([10.0, 12.0, 30.0, 60.0], 7), ([40.0, 20.0, 60.0, 60.0], 8)]);
    }
}
