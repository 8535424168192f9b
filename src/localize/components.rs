//! 4-connected components on the patch grid.

use crate::geometry::{Grid, PatchLayout, PixelBox};

/// The patches of the 4-connected component of `mask` that holds `seed`, ascending; empty where `seed` is not in it.
pub fn component_of(mask: &[bool], grid: Grid, seed: usize) -> Vec<usize> {
    component_where(|patch| mask[patch], grid, seed)
}

/// As [`component_of`], of the patches where `is_in`: it is asked once, and only about what is reached and what lies around that.
pub(super) fn component_where(is_in: impl Fn(usize) -> bool, grid: Grid, seed: usize) -> Vec<usize> {
    let mut reached = Vec::new();
    let mut is_seen = vec![false; grid.patches()];
    let mut open = Vec::new();
    let mut visit = |patch: usize, open: &mut Vec<usize>| {
        if !std::mem::replace(&mut is_seen[patch], true) && is_in(patch) {
            reached.push(patch);
            open.push(patch);
        }
    };
    visit(seed, &mut open);
    while let Some(patch) = open.pop() {
        let (row, col) = (patch / grid.cols, patch % grid.cols);
        if row > 0 {
            visit(patch - grid.cols, &mut open);
        }
        if row + 1 < grid.rows {
            visit(patch + grid.cols, &mut open);
        }
        if col > 0 {
            visit(patch - 1, &mut open);
        }
        if col + 1 < grid.cols {
            visit(patch + 1, &mut open);
        }
    }
    reached.sort_unstable();
    reached
}

/// The bounding box of `patches` in image pixels, clipped to the image; `None` where there are none.
pub fn bounding_box(patches: &[usize], layout: &PatchLayout) -> Option<PixelBox> {
    let cols = layout.grid.cols;
    let rows = patches.first()? / cols..patches.last()? / cols + 1;
    let left = patches.iter().map(|p| p % cols).min()?;
    let right = patches.iter().map(|p| p % cols).max()?;
    Some(layout.pixels_from_patches(rows, left..right + 1))
}

/// The patches of the largest 4-connected component of `mask`, ascending; the one with the lowest index among equals.
pub fn largest(mask: &[bool], grid: Grid) -> Vec<usize> {
    let mut rest = mask.to_vec();
    let mut largest = Vec::new();
    for seed in 0..mask.len() {
        let found = if rest[seed] { component_of(&rest, grid, seed) } else { continue };
        found.iter().for_each(|&patch| rest[patch] = false);
        if found.len() > largest.len() {
            largest = found;
        }
    }
    largest
}
