//! Frames of any size in the one grid that all sources share.

use crate::geometry::{Grid, PatchLayout};
use crate::localize::{Features, LocalizeError, PatchOutput};
use crate::stream::StreamError;
use crate::stream::frame::{Converter, Frame};
use gstreamer_video::VideoFormat;
use ndarray::{Array2, Axis, CowArray, Ix2, Slice, concatenate};

/// The part of the session's image that a frame of this displayed size fills, from the top left, its aspect kept; and the
/// patches there. The rest is black, and nobody looks at its patches.
pub fn part_of(session: &PatchLayout, (width, height): (u32, u32)) -> PatchLayout {
    let (full_width, full_height) = (session.image_width, session.image_height);
    let (width, height) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let scale = (f64::from(full_width) / width).min(f64::from(full_height) / height);
    // A difference of less than half a patch is stretched away: that is how the session's own aspect was rounded.
    let side = |side: f64, full: u32| match (side * scale).round() as u32 {
        fitted if full - fitted.min(full) <= session.patch / 2 => full,
        fitted => fitted.max(1),
    };
    let (image_width, image_height) = (side(width, full_width), side(height, full_height));
    let patches = |pixels: u32| pixels.div_ceil(session.patch) as usize;
    let grid = Grid { rows: patches(image_height), cols: patches(image_width) };
    PatchLayout { grid, patch: session.patch, image_width, image_height }
}

/// Makes the session's images of one source's frames.
pub struct Fitter {
    session: PatchLayout,
    current: Option<((u32, u32), PatchLayout, Converter)>,
}

impl Fitter {
    pub fn new(session: PatchLayout) -> Self {
        Self { session, current: None }
    }

    /// Writes the session's image with the frame in it; says where.
    pub fn fit(&mut self, frame: &Frame, pixels: &mut [u8]) -> Result<PatchLayout, StreamError> {
        let size = frame.display_size();
        let session = self.session;
        self.current.take_if(|(last, ..)| *last != size);
        let (_, part, converter) = self.current.get_or_insert_with(|| {
            let part = part_of(&session, size);
            let full = (session.image_width, session.image_height);
            (size, part, Converter::new(VideoFormat::Rgb, full, (part.image_width, part.image_height)))
        });
        converter.convert_into(frame, pixels)?;
        Ok(*part)
    }

    /// Writes the frame over the whole of the session's image, whatever its aspect.
    pub fn stretch(&mut self, frame: &Frame, pixels: &mut [u8]) -> Result<(), StreamError> {
        let (session, size) = (self.session, frame.display_size());
        let (_, _, converter) = self
            .current
            .get_or_insert_with(|| (size, session, Converter::to_model_rgb(session.image_width, session.image_height)));
        converter.convert_into(frame, pixels)
    }
}

/// What the session gave for the patches of `part` alone.
pub fn crop<'a>(
    values: CowArray<'a, f32, Ix2>,
    session: &PatchLayout,
    part: &PatchLayout,
    axis: Axis,
) -> CowArray<'a, f32, Ix2> {
    if part.grid == session.grid {
        return values;
    }
    let Grid { rows, cols } = part.grid;
    let first = |row: usize| row * session.grid.cols;
    let kept: Vec<_> =
        (0..rows).map(|row| values.slice_axis(axis, Slice::from(first(row)..first(row) + cols))).collect();
    // Whole rows of the grid, of one width: they always fit.
    concatenate(axis, &kept).unwrap_or_else(|_| Array2::default((0, 0))).into()
}

/// The features `[N, D]` or the attention `[heads, N]` of the session as the localizer takes them, for the patches of `part`.
pub fn patch_output<'a>(
    values: CowArray<'a, f32, Ix2>,
    is_attention: bool,
    session: &PatchLayout,
    part: &PatchLayout,
) -> Result<PatchOutput<'a>, LocalizeError> {
    Ok(match is_attention {
        true => PatchOutput::Attention(crop(values, session, part, Axis(1))),
        false => PatchOutput::Features(Features::new(part.grid, crop(values, session, part, Axis(0)))?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: PatchLayout =
        PatchLayout { grid: Grid { rows: 30, cols: 40 }, patch: 8, image_width: 320, image_height: 240 };

    #[test]
    fn frames_keep_their_aspect_in_the_shared_grid() {
        assert_eq!(part_of(&SESSION, (640, 480)), SESSION);
        // 16:9 fills the width: 320x180 pixels are 40x23 patches.
        let wide = part_of(&SESSION, (1920, 1080));
        assert_eq!((wide.image_width, wide.image_height, wide.grid), (320, 180, Grid { rows: 23, cols: 40 }));
        let tall = part_of(&SESSION, (1080, 1920));
        assert_eq!((tall.image_width, tall.image_height, tall.grid), (135, 240, Grid { rows: 30, cols: 17 }));
        assert_eq!(part_of(&SESSION, (100_000, 1)).grid, Grid { rows: 1, cols: 40 });
        assert_eq!(part_of(&SESSION, (853, 640)), SESSION, "less than half a patch is stretched");
    }

    #[test]
    fn only_the_patches_of_the_part_are_kept() {
        let session = PatchLayout { grid: Grid { rows: 2, cols: 3 }, patch: 8, image_width: 24, image_height: 16 };
        let part = PatchLayout { grid: Grid { rows: 2, cols: 2 }, patch: 8, image_width: 16, image_height: 16 };
        let values = Array2::from_shape_fn((6, 1), |(patch, _)| patch as f32);
        let cut = |values: &Array2<f32>, part, axis| crop(values.clone().into(), &session, part, axis).into_owned();
        assert_eq!(cut(&values, &part, Axis(0)).into_raw_vec_and_offset().0, [0.0, 1.0, 3.0, 4.0]);
        assert_eq!(cut(&values, &session, Axis(0)), values);
        assert_eq!(cut(&values.reversed_axes(), &part, Axis(1)).dim(), (1, 4));
    }
}
