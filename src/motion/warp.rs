//! A picture laid back on an earlier one.

use super::camera::Movement;

/// Packed RGB of `size`, each pixel taken, bilinear, from where the camera's shake (in half-sized pixels) brought it; outside it is the
/// edge's.
pub fn laid_back(rgb: &[u8], (width, height): (usize, usize), shake: &Movement) -> Vec<u8> {
    let mut out = vec![0; rgb.len()];
    for (y, row) in out.chunks_exact_mut(3 * width).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let by = shake.by([x as f32 / 2.0, y as f32 / 2.0]);
            let across = (x as f32 + 2.0 * by[0]).clamp(0.0, width as f32 - 1.001);
            let down = (y as f32 + 2.0 * by[1]).clamp(0.0, height as f32 - 1.001);
            let (left, top) = (across as usize, down as usize);
            // Shares of 256.
            let [across, down] = [across - left as f32, down - top as f32].map(|share| (256.0 * share) as u32);
            let at = 3 * (top * width + left);
            for (colour, value) in pixel.iter_mut().enumerate() {
                let of = |at: usize| u32::from(rgb[at + colour]);
                let above = of(at) * (256 - across) + of(at + 3) * across;
                let below = of(at + 3 * width) * (256 - across) + of(at + 3 * width + 3) * across;
                *value = ((above * (256 - down) + below * down + (1 << 15)) >> 16) as u8;
            }
        }
    }
    out
}
