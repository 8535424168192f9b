//! The only unsafe code of the localizer: SIMD for the sign matrix, each form beside its portable twin.

/// Patches in a panel: one word of bits.
pub const LANES: usize = 64;
/// Patches that a panel meets at a time: with them the sums of a tile fill the registers.
pub const COLS: usize = 6;

/// Which products of a tile are surely above or below their limits; bit l is lane l of the panel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tile {
    pub above: [u64; COLS],
    pub below: [u64; COLS],
}

/// The products of the lanes of `panel` (`[D, 64]`) with `rows` (`D` each) in f32, against each row's `(low, high)`:
/// *above* where `product > high`, *below* where `product < low`. The order of summation is not specified.
pub fn tile(panel: &[f32], rows: [&[f32]; COLS], limits: [(f32, f32); COLS]) -> Tile {
    let dim = panel.len() / LANES;
    // Checked here so that the kernels need not.
    let rows = rows.map(|row| &row[..dim]);
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: AVX-512F is there, and every row has as many values as the panel has groups of lanes.
            return unsafe { x86::tile_avx512(panel, rows, limits) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: AVX2 and FMA are there, and every row has as many values as the panel has groups of lanes.
            return unsafe { x86::tile_avx2(panel, rows, limits) };
        }
    }
    tile_portable(panel, rows, limits)
}

/// Written so that compilers use the vector registers of any machine: 16 lanes by 6 rows fit 32 registers of 4.
fn tile_portable(panel: &[f32], rows: [&[f32]; COLS], limits: [(f32, f32); COLS]) -> Tile {
    const PART: usize = 16;
    let mut tile = Tile::default();
    for part in (0..LANES).step_by(PART) {
        let mut sums = [[0f32; PART]; COLS];
        for (k, lanes) in panel.chunks_exact(LANES).enumerate() {
            let lanes = &lanes[part..part + PART];
            for (sums, row) in sums.iter_mut().zip(&rows) {
                for (sum, lane) in sums.iter_mut().zip(lanes) {
                    *sum += lane * row[k];
                }
            }
        }
        for (col, (low, high)) in limits.into_iter().enumerate() {
            for (lane, &sum) in sums[col].iter().enumerate() {
                tile.above[col] |= u64::from(sum > high) << (part + lane);
                tile.below[col] |= u64::from(sum < low) << (part + lane);
            }
        }
    }
    tile
}

/// Defines a function that is compiled for the widest vectors of each kind of machine, and picked when it is called.
///
/// What it calls must be `#[inline(always)]` to gain from that. Answers do not depend on the machine: Rust neither reorders nor
/// fuses floating-point operations.
macro_rules! vectorized {
    ($(#[$meta:meta])* $name:ident($($arg:ident: $type:ty),*) -> $result:ty $body:block) => {
        $(#[$meta])*
        fn $name($($arg: $type),*) -> $result {
            #[inline(always)]
            fn portable($($arg: $type),*) -> $result $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512vpopcntdq,popcnt")]
                fn avx512($($arg: $type),*) -> $result {
                    portable($($arg),*)
                }
                #[target_feature(enable = "avx2,popcnt")]
                fn avx2($($arg: $type),*) -> $result {
                    portable($($arg),*)
                }
                if $crate::localize::kernel::has_avx512() {
                    // SAFETY: the features are there.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
                    // SAFETY: the features are there.
                    return unsafe { avx2($($arg),*) };
                }
            }
            portable($($arg),*)
        }
    };
}
pub(super) use vectorized;

/// Whether the vectors of 512 bits are there, with all that `vectorized` asks of them.
#[cfg(target_arch = "x86_64")]
pub fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vpopcntdq")
        && is_x86_feature_detected!("popcnt")
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{COLS, LANES, Tile};
    use std::arch::x86_64::*;

    /// # Safety
    /// Every row has at least `panel.len() / LANES` values.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn tile_avx512(panel: &[f32], rows: [&[f32]; COLS], limits: [(f32, f32); COLS]) -> Tile {
        const PARTS: usize = LANES / 16;
        let mut sums = [[_mm512_setzero_ps(); PARTS]; COLS];
        for (k, lanes) in panel.chunks_exact(LANES).enumerate() {
            // SAFETY: `lanes` has 64 values.
            let lanes: [_; PARTS] =
                std::array::from_fn(|part| unsafe { _mm512_loadu_ps(lanes.as_ptr().add(16 * part)) });
            for col in 0..COLS {
                // SAFETY: k is below the number of groups of lanes, which every row reaches.
                let value = _mm512_set1_ps(unsafe { *rows[col].get_unchecked(k) });
                for part in 0..PARTS {
                    sums[col][part] = _mm512_fmadd_ps(lanes[part], value, sums[col][part]);
                }
            }
        }
        let mut tile = Tile::default();
        for col in 0..COLS {
            let (low, high) = (_mm512_set1_ps(limits[col].0), _mm512_set1_ps(limits[col].1));
            for (part, sum) in sums[col].into_iter().enumerate() {
                let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(sum, high);
                let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(sum, low);
                tile.above[col] |= u64::from(above) << (16 * part);
                tile.below[col] |= u64::from(below) << (16 * part);
            }
        }
        tile
    }

    /// # Safety
    /// Every row has at least `panel.len() / LANES` values.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn tile_avx2(panel: &[f32], rows: [&[f32]; COLS], limits: [(f32, f32); COLS]) -> Tile {
        const PARTS: usize = 2;
        let mut tile = Tile::default();
        for start in (0..LANES).step_by(8 * PARTS) {
            let mut sums = [[_mm256_setzero_ps(); PARTS]; COLS];
            for (k, lanes) in panel.chunks_exact(LANES).enumerate() {
                // SAFETY: `lanes` has 64 values, and `start` is at most 48.
                let lanes: [_; PARTS] =
                    std::array::from_fn(|part| unsafe { _mm256_loadu_ps(lanes.as_ptr().add(start + 8 * part)) });
                for col in 0..COLS {
                    // SAFETY: k is below the number of groups of lanes, which every row reaches.
                    let value = _mm256_set1_ps(unsafe { *rows[col].get_unchecked(k) });
                    for part in 0..PARTS {
                        sums[col][part] = _mm256_fmadd_ps(lanes[part], value, sums[col][part]);
                    }
                }
            }
            for col in 0..COLS {
                let (low, high) = (_mm256_set1_ps(limits[col].0), _mm256_set1_ps(limits[col].1));
                for (part, sum) in sums[col].into_iter().enumerate() {
                    let above = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(sum, high));
                    let below = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(sum, low));
                    tile.above[col] |= (above as u64) << (start + 8 * part);
                    tile.below[col] |= (below as u64) << (start + 8 * part);
                }
            }
        }
        tile
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_form_gives_the_same_tile(
            dim in 0usize..40, values in prop::collection::vec(-9i8..=9, 40 * (LANES + COLS)), limit in 0i8..50,
        ) {
            // Sums of products of small integers are exact in any order, and some equal a limit.
            let values: Vec<f32> = values.into_iter().map(f32::from).collect();
            let (panel, rest) = values.split_at(dim * LANES);
            let rows = std::array::from_fn(|col| &rest[col * dim..][..dim]);
            let limits = std::array::from_fn(|col| (-f32::from(limit), f32::from(limit) + col as f32));
            let portable = tile_portable(panel, rows, limits);
            for col in 0..COLS {
                for lane in 0..LANES {
                    let sum: f32 = (0..dim).map(|k| panel[k * LANES + lane] * rows[col][k]).sum();
                    prop_assert_eq!(portable.above[col] >> lane & 1 == 1, sum > limits[col].1);
                    prop_assert_eq!(portable.below[col] >> lane & 1 == 1, sum < limits[col].0);
                }
            }
            prop_assert_eq!(tile(panel, rows, limits), portable);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: the features are there, and every row has `dim` values.
                prop_assert_eq!(unsafe { x86::tile_avx2(panel, rows, limits) }, portable);
            }
        }
    }

    #[test]
    fn nan_is_neither_above_nor_below() {
        let row = [f32::NAN];
        assert_eq!(tile(&[1.0; LANES], [&row; COLS], [(0.0, 0.0); COLS]), Tile::default());
        assert_eq!(tile_portable(&[1.0; LANES], [&row; COLS], [(0.0, 0.0); COLS]), Tile::default());
    }
}
