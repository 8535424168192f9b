//! The mask of an object in the pixels of its picture: patches scaled up, as polygons along their borders and as run lengths.

use crate::geometry::{Grid, PatchLayout, PixelBox};
use crate::localize::components::component_of;
use crate::record::MaskRecord;

/// Directions on the lattice of patch corners, clockwise.
const STEPS: [(isize, isize); 4] = [(1, 0), (0, 1), (-1, 0), (0, -1)];

/// A mask whose cells are patches, the outermost of them up to its box, and whose edges are whole pixels.
#[derive(Clone, Debug)]
pub struct PatchMask {
    grid: Grid,
    cells: Vec<bool>,
    /// Pixels at which columns and rows of cells begin, and where the last one ends; ascending, each cell at least a pixel.
    xs: Vec<u32>,
    ys: Vec<u32>,
    /// Width and height of the picture.
    size: (u32, u32),
}

impl PatchMask {
    /// The mask of a model's input with this layout, over a picture of `size`, width and height in pixels, which reaches exactly as far as
    /// `[xmin, ymin, xmax, ymax]`: what reads a mask takes its extent for the box, and a box may be finer than patches. What is outside is
    /// cut off, the outermost cells end with the box, and where no cell is in there, all of it is.
    pub fn new(mask: &MaskRecord, layout: &PatchLayout, size: (u32, u32), [xmin, ymin, xmax, ymax]: [u32; 4]) -> Self {
        let [rows, cols] = mask.size;
        let runs = mask.counts.iter().enumerate();
        let by_column: Vec<bool> =
            runs.flat_map(|(at, &count)| std::iter::repeat_n(at % 2 == 1, count)).take(rows * cols).collect();
        let is_on = |row: usize, col: usize| by_column.get(col * rows + row).copied().unwrap_or_default();
        let edge = |patch: usize| {
            let at = |image: u32| (patch as u64 * u64::from(layout.patch)).min(image.into()) as u32;
            let corner = PixelBox { xmin: at(layout.image_width), ymin: at(layout.image_height), xmax: 0, ymax: 0 };
            layout.frame_from_image(&corner, size.0, size.1)
        };
        let within = |at: u32, low: u32, high: u32| at.min(high).max(low);
        let xs: Vec<u32> = (0..=cols).map(|col| within(edge(col).xmin, xmin, xmax)).collect();
        let ys: Vec<u32> = (0..=rows).map(|row| within(edge(row).ymin, ymin, ymax)).collect();
        // A patch may be smaller than a pixel of a small picture: what falls between two pixels is left out.
        let wide = |edges: &[u32]| (0..edges.len() - 1).filter(|&at| edges[at] < edges[at + 1]).collect::<Vec<_>>();
        let (wide_cols, wide_rows) = (wide(&xs), wide(&ys));
        let cols = from_first_to_last(&wide_cols, |col| wide_rows.iter().any(|&row| is_on(row, col)));
        let rows = from_first_to_last(&wide_rows, |row| wide_cols.iter().any(|&col| is_on(row, col)));
        let edges = |cells: &[usize], edges: &[u32], low: u32, high: u32| -> Vec<u32> {
            let inner = cells.iter().skip(1).map(|&at| edges[at]);
            std::iter::once(low).chain(inner).chain([high]).collect()
        };
        let cells = match cols.is_empty() {
            true => vec![true],
            false => rows.iter().flat_map(|&row| cols.iter().map(move |&col| is_on(row, col))).collect(),
        };
        Self {
            grid: Grid { rows: rows.len().max(1), cols: cols.len().max(1) },
            cells,
            xs: edges(cols, &xs, xmin, xmax),
            ys: edges(rows, &ys, ymin, ymax),
            size,
        }
    }

    /// Closed rings of `[x, y]` in pixels, clockwise, the first point not repeated: one for each 4-connected part. A hole is
    /// joined to what surrounds it by a seam without width, so that filling a ring by the even-odd rule, as COCO's tools do,
    /// leaves the hole empty.
    pub fn polygons(&self) -> Vec<Vec<[u32; 2]>> {
        let mut rest = self.cells.clone();
        let mut polygons = Vec::new();
        for seed in 0..rest.len() {
            if !rest[seed] {
                continue;
            }
            let mut part = vec![false; rest.len()];
            for patch in component_of(&rest, self.grid, seed) {
                (rest[patch], part[patch]) = (false, true);
            }
            let ring = without_straight_points(&joined(rings(&part, self.grid)));
            polygons.push(ring.iter().map(|&[x, y]| [self.xs[x], self.ys[y]]).collect());
        }
        polygons
    }

    /// Pixels of the mask.
    pub fn area(&self) -> u64 {
        let on = self.cells.iter().enumerate().filter(|(_, is_on)| **is_on);
        on.map(|(at, _)| self.span(&self.xs, at % self.grid.cols) * self.span(&self.ys, at / self.grid.cols)).sum()
    }

    /// COCO's uncompressed run lengths: column by column, the first run is background.
    pub fn run_lengths(&self) -> Vec<u64> {
        let (mut counts, mut on) = (vec![0], false);
        let mut add = |is_on: bool, pixels: u64| {
            if is_on != on && pixels > 0 {
                on = is_on;
                counts.push(0);
            }
            if let Some(last) = counts.last_mut() {
                *last += pixels;
            }
        };
        let ends = |edges: &[u32], side: u32| {
            let [first, last] = [edges.first(), edges.last()].map(|edge| edge.copied().unwrap_or_default());
            [u64::from(first), side.saturating_sub(last).into()]
        };
        let ([left, right], [above, below]) = (ends(&self.xs, self.size.0), ends(&self.ys, self.size.1));
        add(false, left * u64::from(self.size.1));
        for col in 0..self.grid.cols {
            for _ in 0..self.span(&self.xs, col) {
                add(false, above);
                (0..self.grid.rows)
                    .for_each(|row| add(self.cells[row * self.grid.cols + col], self.span(&self.ys, row)));
                add(false, below);
            }
        }
        add(false, right * u64::from(self.size.1));
        counts
    }

    fn span(&self, edges: &[u32], at: usize) -> u64 {
        u64::from(edges[at + 1] - edges[at])
    }
}

/// Of these in their order, those from the first to the last of which it holds.
fn from_first_to_last(all: &[usize], holds: impl Fn(usize) -> bool) -> &[usize] {
    let first = all.iter().position(|&at| holds(at));
    let last = all.iter().rposition(|&at| holds(at));
    first.zip(last).map_or(&[], |(first, last)| &all[first..=last])
}

/// The borders of one 4-connected part as rings of neighbouring lattice points `[x, y]`, the part to the right of the way. The
/// outer one comes first; the others are its holes, where cells that touch at a corner are apart and empty ones together.
fn rings(part: &[bool], grid: Grid) -> Vec<Vec<[usize; 2]>> {
    let width = grid.cols + 1;
    let is_on = |row: usize, col: usize| row < grid.rows && col < grid.cols && part[row * grid.cols + col];
    // Bit d of a lattice point: a border leaves it in direction d.
    let mut borders = vec![0u8; width * (grid.rows + 1)];
    for (row, col) in (0..grid.rows).flat_map(|row| (0..grid.cols).map(move |col| (row, col))) {
        if is_on(row, col) {
            let at = row * width + col;
            // A wrapped index is outside the grid.
            borders[at] |= u8::from(!is_on(row.wrapping_sub(1), col));
            borders[at + 1] |= u8::from(!is_on(row, col + 1)) << 1;
            borders[at + width + 1] |= u8::from(!is_on(row + 1, col)) << 2;
            borders[at + width] |= u8::from(!is_on(row, col.wrapping_sub(1))) << 3;
        }
    }
    let mut left = borders.clone();
    let mut rings = Vec::new();
    for start in 0..borders.len() {
        while left[start] != 0 {
            let first = left[start].trailing_zeros() as usize;
            let (mut at, mut heading, mut ring) = (start, first, Vec::new());
            loop {
                left[at] &= !(1 << heading);
                ring.push([at % width, at / width]);
                let (dx, dy) = STEPS[heading];
                at = at.wrapping_add_signed(dx + dy * width as isize);
                // Sharpest to the right first: it stays with its own cell where two touch at a corner.
                let turns = [heading + 1, heading, heading + 3].map(|turn| turn % 4);
                let Some(next) = turns.into_iter().find(|turn| borders[at] & (1 << turn) != 0) else { break };
                if (at, next) == (start, first) {
                    break;
                }
                heading = next;
            }
            rings.push(ring);
        }
    }
    rings
}

/// The outer ring with its holes joined to it, each by a seam from its leftmost point to the left.
fn joined(rings: Vec<Vec<[usize; 2]>>) -> Vec<[usize; 2]> {
    let mut rings = rings.into_iter();
    let mut outer = rings.next().unwrap_or_default();
    // What a seam meets first is the outer ring or a hole that begins farther left, which is joined by then.
    let mut holes: Vec<(usize, Vec<[usize; 2]>)> = rings
        .map(|mut hole| {
            let leftmost = (0..hole.len()).min_by_key(|&at| hole[at]).unwrap_or_default();
            hole.rotate_left(leftmost);
            (hole[0][0], hole)
        })
        .collect();
    holes.sort_by_key(|(x, _)| *x);
    for (x, mut hole) in holes {
        let y = hole[0][1];
        let meets = (0..=x).rev().find_map(|x| outer.iter().position(|point| *point == [x, y]));
        if let Some(at) = meets {
            hole.extend([hole[0], outer[at]]);
            outer.splice(at + 1..at + 1, hole);
        }
    }
    outer
}

/// The ring without points that repeat and without those that the way goes straight through.
fn without_straight_points(ring: &[[usize; 2]]) -> Vec<[usize; 2]> {
    let mut points = ring.to_vec();
    points.dedup();
    let direction = |a: [usize; 2], b: [usize; 2]| (a[0].cmp(&b[0]), a[1].cmp(&b[1]));
    let turns = |at: &usize| {
        let before = points[(at + points.len() - 1) % points.len()];
        direction(before, points[*at]) != direction(points[*at], points[(at + 1) % points.len()])
    };
    (0..points.len()).filter(turns).map(|at| points[at]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The mask with these cells, scaled to this size in pixels, as far as a box, none being as far as its cells; and the pixels by a look at
    /// each.
    fn scaled(rows: &[&str], width: u32, height: u32, bbox: Option<[u32; 4]>) -> (PatchMask, Vec<bool>) {
        let grid = Grid { rows: rows.len(), cols: rows[0].len() };
        let is_on = |row: usize, col: usize| rows[row].as_bytes()[col] == b'#';
        let patches = (0..grid.patches()).filter(|at| is_on(at / grid.cols, at % grid.cols)).collect::<Vec<_>>();
        // The last column and row of patches reach past the image.
        let (image_width, image_height) = (grid.cols as u32 * 4 - 1, grid.rows as u32 * 4 - 2);
        let layout = PatchLayout { grid, patch: 4, image_width, image_height };
        let record = MaskRecord::new(&patches, layout.grid.rows, layout.grid.cols);
        let mut pixels = vec![false; (width * height) as usize];
        for patch in patches {
            let (row, col) = (patch / grid.cols, patch % grid.cols);
            let bbox = layout.pixels_from_patches(row..row + 1, col..col + 1);
            let bbox = layout.frame_from_image(&bbox, width, height);
            for (x, y) in (bbox.xmin..bbox.xmax).flat_map(|x| (bbox.ymin..bbox.ymax).map(move |y| (x, y))) {
                pixels[(y * width + x) as usize] = true;
            }
        }
        let at = |x: u32, y: u32| pixels[(y * width + x) as usize];
        let all = [0, 0, width, height];
        let bbox = bbox.unwrap_or_else(|| extent(&at, all).unwrap_or(all));
        let mask = PatchMask::new(&record, &layout, (width, height), bbox);
        // What is nearer to the box's edge than any pixel of it is like that pixel.
        let near = extent(&at, bbox);
        let is_on = |x: u32, y: u32| {
            (bbox[0]..bbox[2]).contains(&x)
                && (bbox[1]..bbox[3]).contains(&y)
                && near.is_none_or(|[xmin, ymin, xmax, ymax]| at(x.clamp(xmin, xmax - 1), y.clamp(ymin, ymax - 1)))
        };
        let pixels = (0..width * height).map(|pixel| is_on(pixel % width, pixel / width)).collect();
        (mask, pixels)
    }

    /// How far the pixels in a box reach that are on; none where none is.
    fn extent(is_on: &impl Fn(u32, u32) -> bool, [xmin, ymin, xmax, ymax]: [u32; 4]) -> Option<[u32; 4]> {
        let all = (ymin..ymax).flat_map(|y| (xmin..xmax).map(move |x| (x, y))).filter(|&(x, y)| is_on(x, y));
        let (xs, ys): (Vec<u32>, Vec<u32>) = all.unzip();
        Some([*xs.iter().min()?, *ys.iter().min()?, xs.iter().max()? + 1, ys.iter().max()? + 1])
    }

    /// Every pixel whose centre is in the ring by the even-odd rule.
    fn filled(ring: &[[u32; 2]], width: u32, height: u32) -> Vec<bool> {
        let is_in = |x: f64, y: f64| {
            let crossings = (0..ring.len()).filter(|&at| {
                let (a, b) = (ring[at].map(f64::from), ring[(at + 1) % ring.len()].map(f64::from));
                // Edges are horizontal or vertical.
                a[0] > x && (a[1] > y) != (b[1] > y)
            });
            crossings.count() % 2 == 1
        };
        (0..width * height).map(|at| is_in(f64::from(at % width) + 0.5, f64::from(at / width) + 0.5)).collect()
    }

    fn check(rows: &[&str], width: u32, height: u32) {
        check_within(rows, width, height, None);
    }

    fn check_within(rows: &[&str], width: u32, height: u32, bbox: Option<[u32; 4]>) {
        let (mask, pixels) = scaled(rows, width, height, bbox);
        let mut times = vec![0; pixels.len()];
        for ring in mask.polygons() {
            assert!(ring.len() >= 4, "{ring:?}");
            filled(&ring, width, height).iter().zip(&mut times).for_each(|(is_in, times)| *times += u32::from(*is_in));
        }
        assert_eq!(
            times,
            pixels.iter().map(|&on| u32::from(on)).collect::<Vec<_>>(),
            "{rows:?} at {width}x{height}: {bbox:?}"
        );
        let is_on = |x: u32, y: u32| pixels[(y * width + x) as usize];
        assert!(bbox.is_none_or(|bbox| extent(&is_on, [0, 0, width, height]) == Some(bbox)), "{rows:?}: {bbox:?}");
        assert_eq!(mask.area(), pixels.iter().filter(|on| **on).count() as u64);
        let runs = mask.run_lengths();
        let mut columns = runs.iter().enumerate().flat_map(|(at, &n)| std::iter::repeat_n(at % 2 == 1, n as usize));
        for (x, y) in (0..width).flat_map(|x| (0..height).map(move |y| (x, y))) {
            assert_eq!(columns.next(), Some(pixels[(y * width + x) as usize]), "run lengths at {x},{y}");
        }
        assert_eq!(columns.next(), None);
    }

    #[test]
    fn parts_holes_and_corners_come_out_as_drawn() {
        check(&["#"], 10, 7);
        check(&["#.", ".#"], 12, 12);
        check(&["###", "#.#", "###"], 20, 20);
        check(&["#####", "#.#.#", "##.##", "#.#.#", "#####"], 50, 31);
        check(&["#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"], 40, 40);
        check(&["####", "#.##", "##.#", "####"], 33, 33);
        check(&["####", "##.#", "#.##", "####"], 33, 33);
        check(&["...", "..."], 9, 9);
        check(&["#.#.#", "....#", "#####"], 2, 1);
        check(&["##", "##"], 1, 1);
    }

    #[test]
    fn a_square_is_four_points_and_a_ring_is_one_polygon() {
        let (square, _) = scaled(&["##", "##"], 70, 60, None);
        assert_eq!(square.polygons(), [[[0, 0], [70, 0], [70, 60], [0, 60]]]);
        let (ring, _) = scaled(&["###", "#.#", "###"], 90, 90, None);
        assert_eq!(ring.polygons().len(), 1);
        let (two, _) = scaled(&["#.", ".#"], 90, 90, None);
        assert_eq!(two.polygons().len(), 2);
    }

    proptest! {
        #[test]
        fn polygons_and_run_lengths_fill_the_mask(
            rows in (1usize..8, 1usize..8).prop_flat_map(|(rows, cols)| prop::collection::vec(
                prop::collection::vec(prop::bool::weighted(0.6), cols).prop_map(|row| {
                    row.iter().map(|&on| if on { '#' } else { '.' }).collect::<String>()
                }), rows)),
            width in 1u32..40, height in 1u32..40, corners in any::<[u32; 4]>(),
        ) {
            let rows = rows.iter().map(String::as_str).collect::<Vec<_>>();
            check(&rows, width, height);
            let (xmin, ymin) = (corners[0] % width, corners[1] % height);
            let (xmax, ymax) = (xmin + 1 + corners[2] % (width - xmin), ymin + 1 + corners[3] % (height - ymin));
            check_within(&rows, width, height, Some([xmin, ymin, xmax, ymax]));
        }
    }
}
