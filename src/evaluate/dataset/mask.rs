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

/// Reads a palette's indices, or grey values, as they are. A colour picture is black but for one colour, which is object
/// 255.
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
    let mut foreground = None;
    let mut boxes = [[u32::MAX, u32::MAX, 0, 0]; 256];
    for (y, row) in (0..height).zip(pixels.chunks_exact(frame.line_size)) {
        for x in 0..width {
            let at = x as usize * color.samples();
            let number = match color {
                ColorType::Rgb | ColorType::Rgba => match &row[at..at + 3] {
                    [0, 0, 0] => 0,
                    found if *foreground.get_or_insert(found) == found => 255,
                    _ => return Err(fault(path, "it has several colours (expected a palette, or shades of grey)")),
                },
                ColorType::GrayscaleAlpha => row[at],
                ColorType::Grayscale | ColorType::Indexed => value(row, at, depth as usize),
            };
            let [xmin, ymin, xmax, ymax] = &mut boxes[usize::from(number)];
            (*xmin, *ymin) = ((*xmin).min(x), (*ymin).min(y));
            (*xmax, *ymax) = ((*xmax).max(x + 1), (*ymax).max(y + 1));
        }
    }
    let objects = (0..=255).zip(boxes).skip(1).filter(|(_, bbox)| bbox[2] > 0).collect();
    Ok(Mask { size: (width, height), objects })
}

/// Pixel `x` of a row of palette indices or grey values.
fn value(row: &[u8], x: usize, bits: usize) -> u8 {
    let shift = 8 - bits - x * bits % 8;
    row[x * bits / 8] >> shift & (u8::MAX >> (8 - bits))
}
