//! What the cores can do at most: multiply-adds in registers, nothing read or written.

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "SIMD, once it is known to be there"))]

use mostream::backbone::Precision;
use std::hint::black_box;
use std::time::Instant;

/// Vectors of sums that do not wait for each other: enough to hide an addition's latency, few enough for 16 registers.
const SUMS: usize = 12;
/// Long enough that starting threads does not count: some ten milliseconds.
const STEPS: usize = 4_000_000;
/// The best counts: the cores may be busy otherwise, and begin slowly.
const TRIES: usize = 5;

/// Operations per second, a multiplication and an addition being two.
#[derive(Clone, Copy)]
pub struct Peak {
    /// Of 32-bit floating point numbers, on all threads at once.
    pub floats: f64,
    /// Of bf16 and of 8-bit integers on all threads at once, and of the latter on one; none where it is not known how to do most.
    pub bf16: Option<f64>,
    pub int8: Option<f64>,
    pub int8_of_one: Option<f64>,
}

impl Peak {
    pub fn measure(threads: usize) -> Self {
        Self {
            floats: operations_per_second(threads, multiply_add_floats),
            bf16: multiply_add_bf16().map(|work| operations_per_second(threads, work)),
            int8: multiply_add_bytes().map(|work| operations_per_second(threads, work)),
            int8_of_one: multiply_add_bytes().map(|work| operations_per_second(1, work)),
        }
    }

    /// On all threads, of what a model computes in.
    pub fn of(self, precision: Precision) -> Option<f64> {
        match precision {
            Precision::Fp32 => Some(self.floats),
            Precision::Bf16 => self.bf16,
            Precision::Int8 => self.int8,
            Precision::Auto | Precision::Fp16 => None,
        }
    }
}

/// Of threads that each do this work, which tells its operations.
fn operations_per_second(threads: usize, work: fn() -> usize) -> f64 {
    let once = |_| {
        let start = Instant::now();
        let operations: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
        });
        operations as f64 / start.elapsed().as_secs_f64()
    };
    (0..TRIES).map(once).fold(0.0, f64::max)
}

/// [`STEPS`] steps, each adding to all the sums.
macro_rules! steps {
    ($zero:expr, $operations:expr, |$sum:ident| $step:expr) => {{
        let mut sums = black_box([$zero; SUMS]);
        for _ in 0..STEPS {
            for $sum in &mut sums {
                *$sum = $step;
            }
        }
        black_box(sums);
        STEPS * SUMS * $operations
    }};
}

/// With the widest vectors there are.
fn multiply_add_floats() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature is there.
            return unsafe { x86::floats_512() };
        }
        if is_x86_feature_detected!("avx") && is_x86_feature_detected!("fma") {
            // SAFETY: the features are there.
            return unsafe { x86::floats_256() };
        }
    }
    let (factor, term) = black_box(([0.999f32; 4], [0.001f32; 4]));
    let multiply_add = |a: f32, b: f32, c: f32| if cfg!(target_arch = "aarch64") { a.mul_add(b, c) } else { a * b + c };
    steps!([1f32; 4], 8, |sum| std::array::from_fn(|lane| multiply_add(sum[lane], factor[lane], term[lane])))
}

/// The work, where it is known.
fn multiply_add_bf16() -> Option<fn() -> usize> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
        // SAFETY: the features are there.
        return Some(|| unsafe { x86::bf16_512() });
    }
    None
}

/// The work, where it is known.
fn multiply_add_bytes() -> Option<fn() -> usize> {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the features are there.
            return Some(|| unsafe { x86::bytes_512() });
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the feature is there.
            return Some(|| unsafe { x86::bytes_256() });
        }
    }
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{STEPS, SUMS, black_box};
    use std::arch::x86_64::{
        _mm256_add_epi16, _mm256_fmadd_ps, _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_ps,
        _mm256_setzero_si256, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
        _mm512_set1_epi8, _mm512_set1_ps, _mm512_setzero_si512,
    };

    #[target_feature(enable = "avx512f")]
    pub fn floats_512() -> usize {
        let (factor, term) = black_box((_mm512_set1_ps(0.999), _mm512_set1_ps(0.001)));
        steps!(_mm512_set1_ps(1.0), 32, |sum| _mm512_fmadd_ps(*sum, factor, term))
    }

    #[target_feature(enable = "avx,fma")]
    pub fn floats_256() -> usize {
        let (factor, term) = black_box((_mm256_set1_ps(0.999), _mm256_set1_ps(0.001)));
        steps!(_mm256_set1_ps(1.0), 16, |sum| _mm256_fmadd_ps(*sum, factor, term))
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub fn bf16_512() -> usize {
        let half = |value: f32| _mm512_cvtne2ps_pbh(_mm512_set1_ps(value), _mm512_set1_ps(value));
        let (a, b) = black_box((half(0.5), half(0.25)));
        steps!(_mm512_set1_ps(1.0), 64, |sum| _mm512_dpbf16_ps(*sum, a, b))
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub fn bytes_512() -> usize {
        let (a, b) = black_box((_mm512_set1_epi8(3), _mm512_set1_epi8(-2)));
        steps!(_mm512_setzero_si512(), 128, |sum| _mm512_dpbusd_epi32(*sum, a, b))
    }

    #[target_feature(enable = "avx2")]
    pub fn bytes_256() -> usize {
        let b = black_box(_mm256_set1_epi8(-2));
        // The product is made of the sum, or it would be the same each time and made once.
        steps!(_mm256_setzero_si256(), 64, |sum| _mm256_add_epi16(b, _mm256_maddubs_epi16(*sum, b)))
    }
}
