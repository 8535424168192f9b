//! Masks of objects: PNG pictures whose pixels are object numbers.

use super::{DatasetError, fault, files};
use png::{BitDepth, ColorType, Decoder, Limits, Transformations};
use std::path::Path;

const MAX_FILE_BYTES: u64 = 64 << 20;
const MAX_PIXEL_BYTES: usize = 256 << 20;

/// The boxes of a mask.
pub struct Mask {
    /// Width and height.
    pub size: (u32, u32),
    /// `(number, [xmin, ymin, xmax, ymax])` by number, without 0; half-open.
    pub objects: Vec<(u8, [u32; 4])>,
}

/// Reads a palette's indices, or grey values, as they are. In a colour picture what is not black is object 255.
pub fn read(path: &Path) -> Result<Mask, DatasetError> {
    let failed = |error: png::DecodingError| fault(path, error);
    let mut decoder = Decoder::new_with_limits(files::open(path, MAX_FILE_BYTES)?, Limits { bytes: MAX_PIXEL_BYTES });
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(failed)?;
    let (width, height) = reader.info().size();
    let (color, depth) = reader.output_color_type();
    if depth == BitDepth::Sixteen {
        return Err(fault(path, "its pixels have 16 bits (expected at most 8)"));
    }
    let bytes = reader.output_buffer_size().filter(|&bytes| bytes <= MAX_PIXEL_BYTES);
    let bytes = bytes.ok_or_else(|| fault(path, format!("{width}x{height} pixels are too many")))?;
    let mut pixels = vec![0; bytes];
    let frame = reader.next_frame(&mut pixels).map_err(failed)?;
    let mut boxes = [[u32::MAX, u32::MAX, 0, 0]; 256];
    for (y, row) in (0..height).zip(pixels.chunks_exact(frame.line_size)) {
        for x in 0..width {
            let [xmin, ymin, xmax, ymax] = &mut boxes[usize::from(number(row, x as usize, color, depth as usize))];
            (*xmin, *ymin) = ((*xmin).min(x), (*ymin).min(y));
            (*xmax, *ymax) = ((*xmax).max(x + 1), (*ymax).max(y + 1));
        }
    }
    let objects = (0..=255).zip(boxes).skip(1).filter(|(_, bbox)| bbox[2] > 0).collect();
    Ok(Mask { size: (width, height), objects })
}

/// The object that pixel `x` of a row belongs to.
fn number(row: &[u8], x: usize, color: ColorType, bits: usize) -> u8 {
    let channels = color.samples();
    if channels == 1 {
        let shift = 8 - bits - x * bits % 8;
        return row[x * bits / 8] >> shift & (u8::MAX >> (8 - bits));
    }
    let colors = if color == ColorType::Rgb || color == ColorType::Rgba { 3 } else { 1 };
    if row[x * channels..][..colors].iter().all(|&value| value == 0) { 0 } else { 255 }
}
