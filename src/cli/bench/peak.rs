//! What the cores can do at most: multiply-adds of f32 in registers, nothing read or written.

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "SIMD, once it is known to be there"))]

use std::hint::black_box;
use std::time::Instant;

/// Vectors of sums: enough to hide an addition's latency, few enough for 16 registers.
const SUMS: usize = 12;
/// Long enough that starting threads does not count: some ten milliseconds.
const STEPS: usize = 10_000_000;

/// The operations per second, a multiplication and an addition being two, of this many threads at once.
pub fn operations_per_second(threads: usize) -> f64 {
    let start = Instant::now();
    let operations: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(multiply_add)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
    });
    operations as f64 / start.elapsed().as_secs_f64()
}

/// Does [`STEPS`] steps with the widest vectors there are, and tells the number of operations.
fn multiply_add() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn avx512() -> usize {
            steps::<16>(f32::mul_add)
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2() -> usize {
            steps::<8>(f32::mul_add)
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature is there.
            return unsafe { avx512() };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features are there.
            return unsafe { avx2() };
        }
    }
    if cfg!(target_arch = "aarch64") { steps::<4>(f32::mul_add) } else { steps::<4>(|a, b, c| a * b + c) }
}

#[inline(always)]
fn steps<const LANES: usize>(multiply_add: impl Fn(f32, f32, f32) -> f32) -> usize {
    let (factor, term) = black_box(([0.999f32; LANES], [0.001f32; LANES]));
    let mut sums = black_box([[1f32; LANES]; SUMS]);
    for _ in 0..STEPS {
        for sum in &mut sums {
            for ((lane, factor), term) in sum.iter_mut().zip(factor).zip(term) {
                *lane = multiply_add(*lane, factor, term);
            }
        }
    }
    black_box(sums);
    2 * STEPS * SUMS * LANES
}
