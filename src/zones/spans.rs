//! Which pixels polygons touch.

use super::Polygon;
use std::ops::Range;

/// Of each row of a picture of this size, the columns that one of the polygons touches, in order and apart from each other.
pub fn spans(polygons: &[Polygon], (width, height): (usize, usize)) -> Vec<Vec<Range<usize>>> {
    let mut rows = vec![Vec::new(); height];
    for polygon in polygons {
        let points = polygon.points().iter().map(|[x, y]| [x * width as f32, y * height as f32]);
        let points = Vec::from_iter(points);
        let edges = points.iter().zip(points.iter().cycle().skip(1)).map(|(a, b)| [*a, *b]);
        let edges = Vec::from_iter(edges);
        for (row, columns) in rows.iter_mut().enumerate() {
            touched(&edges, row as f32, width, columns);
        }
    }
    rows.iter_mut().for_each(join);
    rows
}

/// A pixel that is touched either has an edge in it, or lies inside from its one side to the other, at the middle of its row, too.
fn touched(edges: &[[[f32; 2]; 2]], row: f32, width: usize, columns: &mut Vec<Range<usize>>) {
    let mut add = |from: f32, to: f32| columns.push(from as usize..(to.ceil() as usize).min(width));
    let across = |[[ax, ay], [bx, by]]: [[f32; 2]; 2], y: f32| ax + (bx - ax) * ((y - ay) / (by - ay));
    let mut crossings = Vec::new();
    for edge @ [[ax, ay], [bx, by]] in edges.iter().copied() {
        let (top, bottom) = (ay.min(by), ay.max(by));
        if top >= row + 1.0 || bottom <= row {
            continue;
        }
        let (from, to) = match ay == by {
            true => (ax, bx),
            false => (across(edge, top.max(row)), across(edge, bottom.min(row + 1.0))),
        };
        add(from.min(to), from.max(to));
        if (ay > row + 0.5) != (by > row + 0.5) {
            crossings.push(across(edge, row + 0.5));
        }
    }
    crossings.sort_by(f32::total_cmp);
    crossings.chunks_exact(2).for_each(|inside| add(inside[0], inside[1]));
}

/// Those that overlap or meet become one.
fn join(columns: &mut Vec<Range<usize>>) {
    columns.retain(|columns| !columns.is_empty());
    columns.sort_by_key(|columns| columns.start);
    columns.dedup_by(|next, before| {
        let meets = next.start <= before.end;
        if meets {
            before.end = before.end.max(next.end);
        }
        meets
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn polygon(points: &[[f32; 2]]) -> Option<Polygon> {
        points.to_vec().try_into().ok()
    }

    fn has(rows: &[Vec<Range<usize>>], x: usize, y: usize) -> bool {
        rows[y].iter().any(|columns| columns.contains(&x))
    }

    #[test]
    fn a_rectangle_on_whole_pixels_takes_these_and_no_more() {
        let square = polygon(&[[0.25, 0.1], [0.75, 0.1], [0.75, 0.9], [0.25, 0.9]]).unwrap();
        let rows = spans(std::slice::from_ref(&square), (40, 30));
        for (y, row) in rows.iter().enumerate() {
            let wanted = (3..27).contains(&y).then_some(10..30);
            assert!(row.iter().eq(wanted.iter()), "row {y}: {row:?}");
        }
        // A row that is touched by a tenth of it is touched.
        assert!(spans(&[square], (40, 29))[2].iter().eq(std::iter::once(&(10..30))));
        let all = polygon(&[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]).unwrap();
        assert!(spans(&[all], (7, 5)).iter().all(|row| row.iter().eq(std::iter::once(&(0..7)))));
    }

    proptest! {
        /// Held to many places of each pixel, each by itself.
        #[test]
        fn every_pixel_of_which_a_place_is_inside_is_touched(
            corners in prop::collection::vec([0.0f32..=1.0, 0.0f32..=1.0], 3..7),
            (width, height) in (1usize..24, 1usize..24),
        ) {
            let Some(polygon) = polygon(&corners) else { return Ok(()) };
            let rows = spans(std::slice::from_ref(&polygon), (width, height));
            const PLACES: usize = 9;
            for (x, y) in (0..width).flat_map(|x| (0..height).map(move |y| (x, y))) {
                let share = |at: usize, place: usize, size: usize| (at as f32 + (place as f32 + 0.5) / PLACES as f32) / size as f32;
                let is_inside = (0..PLACES * PLACES).any(|place| {
                    polygon.contains([share(x, place % PLACES, width), share(y, place / PLACES, height)])
                });
                prop_assert!(!is_inside || has(&rows, x, y), "({x}, {y}) is inside, and not touched");
                // And none is that is far from it.
                let middle = [share(x, PLACES / 2, width), share(y, PLACES / 2, height)];
                let across = width as f32 / height as f32;
                let far = 1.0 / height as f32;
                prop_assert!(!has(&rows, x, y) || polygon.depth(middle, across) > -far, "({x}, {y}) is far, and touched");
            }
        }
    }
}
