//! The only unsafe code of the localizer: SIMD for the sign matrix, each form beside its portable twin.

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "SIMD, once it is known to be there"))]

/// Patches in a panel: one word of bits.
pub const LANES: usize = 64;
/// Patches that a panel meets at a time: with them the sums of a part fill the registers.
pub const COLS: usize = 6;
/// Lanes whose values lie side by side in a panel.
pub const PART: usize = 16;

/// No value of a patch is further from zero, so that a sum of four products stays in an i16.
pub const MOST: i8 = 90;
/// Four neighbouring columns of a patch, in integers: one instruction multiplies and adds them all.
pub type Quad = [i8; 4];
/// A quad in a panel, with [`OFFSET`] added to every value: the instruction multiplies unsigned bytes by signed ones.
pub type Lane = [u8; 4];
pub const OFFSET: u8 = 128;

/// A patch that a panel meets.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub quads: &'a [Quad],
    /// Of all its values.
    pub sum: i32,
    /// What products are compared with.
    pub center: i32,
    /// How far a product must be from the center, beyond the limit of the lane.
    pub limit: i32,
}

/// Which products of a tile are further above the center than the limits, and which are not further away than these; bit l is lane
/// l of the panel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tile {
    pub above: [u64; COLS],
    pub unsure: [u64; COLS],
}

/// The products of the lanes of `panel` (`[LANES / PART, Q, PART]`) with `rows` (`Q` each), against the sums of the limits of lane
/// and row. `Q` is even; sums must not leave an i32.
pub fn tile(panel: &[Lane], limits: &[i32; LANES], rows: [Row; COLS]) -> Tile {
    let quads = panel.len() / LANES;
    assert!(quads.is_multiple_of(2), "{quads} quads");
    // Checked here so that the kernels need not.
    let (panel, rows) = (&panel[..LANES * quads], rows.map(|row| Row { quads: &row.quads[..quads], ..row }));
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() && is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the features are there; the panel has 64 quads for each of every row.
            return unsafe { x86::tile_avx512(panel, limits, rows) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: AVX2 is there; the panel has 64 quads for each of every row.
            return unsafe { x86::tile_avx2(panel, limits, rows) };
        }
    }
    tile_portable(panel, limits, rows)
}

/// Written so that compilers use the vector registers of any machine.
fn tile_portable(panel: &[Lane], limits: &[i32; LANES], rows: [Row; COLS]) -> Tile {
    let quads = panel.len() / LANES;
    let mut tile = Tile::default();
    for part in 0..LANES / PART {
        let mut sums = [[0i32; PART]; COLS];
        for (k, lanes) in panel[part * PART * quads..][..PART * quads].chunks_exact(PART).enumerate() {
            for (sums, row) in sums.iter_mut().zip(&rows) {
                let row = row.quads[k].map(i32::from);
                for (sum, lane) in sums.iter_mut().zip(lanes) {
                    let lane = lane.map(|value| i32::from(value) - i32::from(OFFSET));
                    *sum += row[0] * lane[0] + row[1] * lane[1] + row[2] * lane[2] + row[3] * lane[3];
                }
            }
        }
        for (col, (sums, row)) in sums.into_iter().zip(rows).enumerate() {
            for (lane, sum) in (part * PART..).zip(sums) {
                let (distance, limit) = (sum - row.center, limits[lane] + row.limit);
                tile.above[col] |= u64::from(distance > limit) << lane;
                tile.unsure[col] |= u64::from(distance.abs() <= limit) << lane;
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
    ($(#[$meta:meta])* $vis:vis $name:ident($($arg:ident: $type:ty),*) -> $result:ty $body:block) => {
        $(#[$meta])*
        #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "SIMD, once it is known to be there"))]
        $vis fn $name($($arg: $type),*) -> $result {
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
pub(crate) use vectorized;

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
    use super::{COLS, LANES, Lane, OFFSET, PART, Row, Tile};
    use std::arch::x86_64::*;

    /// # Safety
    /// Every row has at least `panel.len() / LANES` quads.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub unsafe fn tile_avx512(panel: &[Lane], limits: &[i32; LANES], rows: [Row; COLS]) -> Tile {
        const PARTS: usize = LANES / PART;
        let quads = panel.len() / LANES;
        let mut sums = [[_mm512_setzero_si512(); PARTS]; COLS];
        for k in 0..quads {
            // SAFETY: a part has 16 lanes for each k, and k is below the number of quads, which every row reaches.
            let lanes: [_; PARTS] = std::array::from_fn(|part| unsafe {
                _mm512_loadu_si512(panel.as_ptr().add((part * quads + k) * PART).cast())
            });
            for col in 0..COLS {
                // SAFETY: as above.
                let row = _mm512_set1_epi32(unsafe { rows[col].quads.as_ptr().add(k).cast::<i32>().read_unaligned() });
                for part in 0..PARTS {
                    sums[col][part] = _mm512_dpbusd_epi32(sums[col][part], lanes[part], row);
                }
            }
        }
        let mut tile = Tile::default();
        for (col, (sums, row)) in sums.into_iter().zip(rows).enumerate() {
            // What the offset added to the sums is taken away again.
            let center = _mm512_set1_epi32(row.center.wrapping_add(row.sum.wrapping_mul(i32::from(OFFSET))));
            for (part, sum) in sums.into_iter().enumerate() {
                let distance = _mm512_sub_epi32(sum, center);
                // SAFETY: every part has 16 limits.
                let limit = unsafe { _mm512_loadu_si512(limits.as_ptr().add(PART * part).cast()) };
                let limit = _mm512_add_epi32(limit, _mm512_set1_epi32(row.limit));
                tile.above[col] |= u64::from(_mm512_cmpgt_epi32_mask(distance, limit)) << (PART * part);
                let unsure = _mm512_cmple_epi32_mask(_mm512_abs_epi32(distance), limit);
                tile.unsure[col] |= u64::from(unsure) << (PART * part);
            }
        }
        tile
    }

    /// # Safety
    /// Every row has at least `panel.len() / LANES` quads, which is an even number.
    #[target_feature(enable = "avx2")]
    pub unsafe fn tile_avx2(panel: &[Lane], limits: &[i32; LANES], rows: [Row; COLS]) -> Tile {
        let quads = panel.len() / LANES;
        let (ones, offset) = (_mm256_set1_epi16(1), _mm256_set1_epi8(OFFSET as i8));
        let mut tile = Tile::default();
        for lane in (0..LANES).step_by(8) {
            // SAFETY: the panel has 64 lanes for each of the quads, and this part of it 16.
            let lanes = unsafe { panel.as_ptr().add(lane / PART * PART * quads + lane % PART) };
            let mut sums = [_mm256_setzero_si256(); COLS];
            for k in (0..quads).step_by(2) {
                // SAFETY: as above; the number of quads, which every row reaches, is even, and k + 1 is below it.
                let lanes = [k, k + 1]
                    .map(|k| unsafe { _mm256_xor_si256(_mm256_loadu_si256(lanes.add(k * PART).cast()), offset) });
                // The instruction multiplies unsigned bytes by signed ones, so the row gets the signs of both.
                let sizes = lanes.map(|lanes| _mm256_abs_epi8(lanes));
                for col in 0..COLS {
                    let products: [_; 2] = std::array::from_fn(|i| {
                        // SAFETY: as above.
                        let row = unsafe { rows[col].quads.as_ptr().add(k + i).cast::<i32>().read_unaligned() };
                        _mm256_maddubs_epi16(sizes[i], _mm256_sign_epi8(_mm256_set1_epi32(row), lanes[i]))
                    });
                    let products = _mm256_add_epi16(products[0], products[1]);
                    sums[col] = _mm256_add_epi32(sums[col], _mm256_madd_epi16(products, ones));
                }
            }
            // SAFETY: every lane has a limit.
            let limits = unsafe { _mm256_loadu_si256(limits.as_ptr().add(lane).cast()) };
            let mask = |bits: __m256i| u64::from(_mm256_movemask_ps(_mm256_castsi256_ps(bits)) as u8);
            for (col, (sum, row)) in sums.into_iter().zip(rows).enumerate() {
                let distance = _mm256_sub_epi32(sum, _mm256_set1_epi32(row.center));
                let limit = _mm256_add_epi32(limits, _mm256_set1_epi32(row.limit));
                tile.above[col] |= mask(_mm256_cmpgt_epi32(distance, limit)) << lane;
                tile.unsure[col] |= (mask(_mm256_cmpgt_epi32(_mm256_abs_epi32(distance), limit)) ^ 0xff) << lane;
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
            half in 1usize..10, values in prop::collection::vec(-9i8..=9, 4 * 20 * (LANES + COLS)),
            scale in prop::sample::select(vec![1i8, MOST / 9]), limits in prop::collection::vec(0i32..30, LANES + COLS),
            center in -50i32..50,
        ) {
            let quads = 2 * half;
            // The greater scale reaches MOST, the smaller makes some products equal a limit.
            let values: Vec<Quad> = values.as_chunks().0.iter().map(|quad: &Quad| quad.map(|value| value * scale)).collect();
            let (lanes, rest) = values.split_at(quads * LANES);
            let panel: Vec<Lane> = lanes.iter().map(|quad| quad.map(|value| OFFSET.wrapping_add_signed(value))).collect();
            let (of_lanes, of_rows) = limits.as_chunks::<LANES>();
            let row = |col: usize| {
                let quads = &rest[col * quads..][..quads];
                let sum = quads.as_flattened().iter().map(|&value| i32::from(value)).sum();
                Row { quads, sum, center, limit: of_rows[col] }
            };
            let rows = std::array::from_fn(row);
            let portable = tile_portable(&panel, &of_lanes[0], rows);
            for (col, row) in rows.iter().enumerate() {
                for (lane, limit) in of_lanes[0].iter().enumerate() {
                    let lanes = lanes[lane / PART * PART * quads + lane % PART..].iter().step_by(PART);
                    let product = |(at, by): (&Quad, &Quad)| (0..4).map(|i| i32::from(at[i]) * i32::from(by[i])).sum::<i32>();
                    let sum: i32 = lanes.zip(row.quads).map(product).sum();
                    let (high, low) = (center + limit + row.limit, center - limit - row.limit);
                    prop_assert_eq!(portable.above[col] >> lane & 1 == 1, sum > high);
                    prop_assert_eq!(portable.unsure[col] >> lane & 1 == 1, (low..=high).contains(&sum));
                }
            }
            prop_assert_eq!(tile(&panel, &of_lanes[0], rows), portable);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                // SAFETY: AVX2 is there, and every row has that many quads.
                prop_assert_eq!(unsafe { x86::tile_avx2(&panel, &of_lanes[0], rows) }, portable);
            }
        }
    }
}
