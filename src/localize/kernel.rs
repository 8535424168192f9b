//! The only unsafe code of the localizer: SIMD for the sign matrix, each form beside its portable twin.

/// Patches in a panel: one word of bits.
pub const LANES: usize = 64;
/// Patches that a panel meets at a time: with them the sums of a part fill the registers.
pub const COLS: usize = 6;
/// Lanes whose values lie side by side in a panel.
pub const PART: usize = 16;

/// Two neighbouring columns of a patch, in integers: one instruction multiplies and adds both.
pub type Pair = [i16; 2];

/// Which products of a tile are above or below the limits; bit l is lane l of the panel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tile {
    pub above: [u64; COLS],
    pub below: [u64; COLS],
}

/// The products of the lanes of `panel` (`[LANES / PART, P, PART]`) with `rows` (`P` each), against `(low, high)`: *above* where
/// `product > high`, *below* where `product < low`. Sums wrap around, so every machine gives the same.
pub fn tile(panel: &[Pair], rows: [&[Pair]; COLS], limits: (i32, i32)) -> Tile {
    let pairs = panel.len() / LANES;
    // Checked here so that the kernels need not.
    let (panel, rows) = (&panel[..LANES * pairs], rows.map(|row| &row[..pairs]));
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() && is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the features are there; the panel has 64 pairs for each of every row.
            return unsafe { x86::tile_avx512(panel, rows, limits) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: AVX2 is there; the panel has 64 pairs for each of every row.
            return unsafe { x86::tile_avx2(panel, rows, limits) };
        }
    }
    tile_portable(panel, rows, limits)
}

/// Written so that compilers use the vector registers of any machine.
fn tile_portable(panel: &[Pair], rows: [&[Pair]; COLS], (low, high): (i32, i32)) -> Tile {
    let pairs = panel.len() / LANES;
    let mut tile = Tile::default();
    for part in 0..LANES / PART {
        let mut sums = [[0i32; PART]; COLS];
        for (k, lanes) in panel[part * PART * pairs..][..PART * pairs].chunks_exact(PART).enumerate() {
            for (sums, row) in sums.iter_mut().zip(&rows) {
                let [a, b] = row[k].map(i32::from);
                for (sum, lane) in sums.iter_mut().zip(lanes) {
                    let [x, y] = lane.map(i32::from);
                    *sum = sum.wrapping_add((a * x).wrapping_add(b * y));
                }
            }
        }
        for (col, sums) in sums.into_iter().enumerate() {
            for (lane, sum) in sums.into_iter().enumerate() {
                tile.above[col] |= u64::from(sum > high) << (part * PART + lane);
                tile.below[col] |= u64::from(sum < low) << (part * PART + lane);
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
    use super::{COLS, LANES, PART, Pair, Tile};
    use std::arch::x86_64::*;

    /// # Safety
    /// Every row has at least `panel.len() / LANES` pairs.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub unsafe fn tile_avx512(panel: &[Pair], rows: [&[Pair]; COLS], (low, high): (i32, i32)) -> Tile {
        const PARTS: usize = LANES / PART;
        let pairs = panel.len() / LANES;
        let mut sums = [[_mm512_setzero_si512(); PARTS]; COLS];
        for k in 0..pairs {
            // SAFETY: a part has 16 lanes for each k, and k is below the number of pairs, which every row reaches.
            let lanes: [_; PARTS] = std::array::from_fn(|part| unsafe {
                _mm512_loadu_si512(panel.as_ptr().add((part * pairs + k) * PART).cast())
            });
            for col in 0..COLS {
                // SAFETY: as above.
                let pair = _mm512_set1_epi32(unsafe { rows[col].as_ptr().add(k).cast::<i32>().read_unaligned() });
                for part in 0..PARTS {
                    sums[col][part] = _mm512_dpwssd_epi32(sums[col][part], lanes[part], pair);
                }
            }
        }
        let (low, high) = (_mm512_set1_epi32(low), _mm512_set1_epi32(high));
        let mut tile = Tile::default();
        for (col, sums) in sums.into_iter().enumerate() {
            for (part, sum) in sums.into_iter().enumerate() {
                tile.above[col] |= u64::from(_mm512_cmpgt_epi32_mask(sum, high)) << (PART * part);
                tile.below[col] |= u64::from(_mm512_cmpgt_epi32_mask(low, sum)) << (PART * part);
            }
        }
        tile
    }

    /// # Safety
    /// Every row has at least `panel.len() / LANES` pairs.
    #[target_feature(enable = "avx2")]
    pub unsafe fn tile_avx2(panel: &[Pair], rows: [&[Pair]; COLS], (low, high): (i32, i32)) -> Tile {
        const HALVES: usize = PART / 8;
        let pairs = panel.len() / LANES;
        let (low, high) = (_mm256_set1_epi32(low), _mm256_set1_epi32(high));
        let mut tile = Tile::default();
        for part in 0..LANES / PART {
            let mut sums = [[_mm256_setzero_si256(); HALVES]; COLS];
            for k in 0..pairs {
                // SAFETY: a part has 16 lanes for each k, and k is below the number of pairs, which every row reaches.
                let lanes: [_; HALVES] = std::array::from_fn(|half| unsafe {
                    _mm256_loadu_si256(panel.as_ptr().add((part * pairs + k) * PART + 8 * half).cast())
                });
                for col in 0..COLS {
                    // SAFETY: as above.
                    let pair = _mm256_set1_epi32(unsafe { rows[col].as_ptr().add(k).cast::<i32>().read_unaligned() });
                    for half in 0..HALVES {
                        sums[col][half] = _mm256_add_epi32(sums[col][half], _mm256_madd_epi16(lanes[half], pair));
                    }
                }
            }
            let mask = |bits: __m256i| u64::from(_mm256_movemask_ps(_mm256_castsi256_ps(bits)) as u8);
            for (col, sums) in sums.into_iter().enumerate() {
                for (half, sum) in sums.into_iter().enumerate() {
                    tile.above[col] |= mask(_mm256_cmpgt_epi32(sum, high)) << (PART * part + 8 * half);
                    tile.below[col] |= mask(_mm256_cmpgt_epi32(low, sum)) << (PART * part + 8 * half);
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
            pairs in 1usize..20, values in prop::collection::vec((-9i16..=9, -9i16..=9), 20 * (LANES + COLS)),
            scale in prop::sample::select(vec![1i16, 3640]), low in -50i32..50, high in -50i32..50,
        ) {
            // The greater scale makes sums wrap around, the smaller makes some equal a limit.
            let values: Vec<Pair> = values.into_iter().map(|(a, b)| [a * scale, b * scale]).collect();
            let (panel, rest) = values.split_at(pairs * LANES);
            let rows = std::array::from_fn(|col| &rest[col * pairs..][..pairs]);
            let portable = tile_portable(panel, rows, (low, high));
            for (col, row) in rows.iter().enumerate() {
                for lane in 0..LANES {
                    let lanes = panel[lane / PART * PART * pairs + lane % PART..].iter().step_by(PART);
                    let product = |(at, by): (&Pair, &Pair)| (0..2).map(|i| i64::from(at[i]) * i64::from(by[i])).sum::<i64>();
                    let sum = lanes.zip(*row).map(product).sum::<i64>() as i32;
                    prop_assert_eq!(portable.above[col] >> lane & 1 == 1, sum > high);
                    prop_assert_eq!(portable.below[col] >> lane & 1 == 1, sum < low);
                }
            }
            prop_assert_eq!(tile(panel, rows, (low, high)), portable);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                // SAFETY: AVX2 is there, and every row has `pairs` pairs.
                prop_assert_eq!(unsafe { x86::tile_avx2(panel, rows, (low, high)) }, portable);
            }
        }
    }
}
