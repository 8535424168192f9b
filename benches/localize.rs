//! The localizer against one full `N×N×D` f32 matrix product on the same thread, on a golden case of 30×40 patches of width 192.
//!
//! `cargo bench --bench localize` first times everything in turn, round after round, and prints ratios: what else the machine does
//! then falls on both sides. Criterion's own figures follow. Every answer is checked against the golden case or a plain loop.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends where something is not as it should be, and prints its times"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use mostream::geometry::{Grid, PatchLayout};
use mostream::localize::affinity::SignMatrix;
use mostream::localize::{Features, Found, Localizer, Method, PatchOutput};
use ndarray::{Array2, ArrayView2};
use std::hint::black_box;
use std::time::{Duration, Instant};

const CASE: &str = "g30x40_d192_six";
const LAYOUT: PatchLayout =
    PatchLayout { grid: Grid { rows: 30, cols: 40 }, patch: 16, image_width: 640, image_height: 480 };
const ROUNDS: usize = 101;
/// MOST in the public PyTorch implementation on this grid, on two cores.
const PUBLIC_MOST_MS: f64 = 780.0;

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/localize")
}

fn features() -> Features<'static> {
    let values: Array2<f32> = ndarray_npy::read_npy(folder().join(format!("{CASE}.features.npy"))).unwrap();
    Features::new(LAYOUT.grid, values).unwrap()
}

/// `F·Fᵀ` by the `gemm` crate on one thread.
fn product_by_gemm(f: ArrayView2<f32>, out: &mut Array2<f32>) {
    let (n, dim) = f.dim();
    assert_eq!(out.dim(), (n, n));
    let stride = n as isize;
    #[expect(unsafe_code, reason = "the crate has no other call")]
    // SAFETY: `f` is [n, dim] and `out` is [n, n], both contiguous and row-major, which the strides describe.
    unsafe {
        gemm::gemm(
            n,
            n,
            dim,
            out.as_mut_ptr(),
            1,
            stride,
            false,
            f.as_ptr(),
            1,
            dim as isize,
            f.as_ptr(),
            dim as isize,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// `F·Fᵀ` by the `matrixmultiply` crate, through ndarray.
fn product_by_matrixmultiply(f: ArrayView2<f32>, out: &mut Array2<f32>) {
    ndarray::linalg::general_mat_mul(1.0, &f, &f.t(), 0.0, out);
}

fn check(features: &Features) {
    let f = features.values();
    let (n, _) = f.dim();
    let signs = SignMatrix::of(features);
    let mut products = [Array2::zeros((n, n)), Array2::zeros((n, n))];
    product_by_gemm(f, &mut products[0]);
    product_by_matrixmultiply(f, &mut products[1]);
    for i in 0..n {
        for j in 0..n {
            let exact: f64 = (0..f.ncols()).map(|c| f64::from(f[[i, c]]) * f64::from(f[[j, c]])).sum();
            assert_eq!(signs.is_positive(i, j), exact > 0.0, "sign at ({i}, {j})");
            for product in &products {
                assert!((f64::from(product[[i, j]]) - exact).abs() < 1e-2, "product at ({i}, {j})");
            }
        }
    }
    let text = std::fs::read_to_string(folder().join(format!("{CASE}.expected.json"))).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    let output = PatchOutput::Features(features.clone());
    for method in [Method::Most, Method::Lost, Method::TokenCut] {
        let (boxes, found) = Localizer { paper: true, ..Localizer::new(method) }.explain(&output, &LAYOUT).unwrap();
        let boxes: Vec<[f64; 4]> =
            boxes.iter().map(|d| [d.bbox.xmin, d.bbox.ymin, d.bbox.xmax, d.bbox.ymax].map(f64::from)).collect();
        let wanted = &expected[method.to_string()];
        let corners = |value: &serde_json::Value| serde_json::from_value::<[f64; 4]>(value.clone()).unwrap();
        match found {
            Found::Most(most) => {
                let wanted_boxes: Vec<[f64; 4]> = wanted["boxes"].as_array().unwrap().iter().map(corners).collect();
                assert_eq!(boxes, wanted_boxes);
                assert_eq!(serde_json::json!(most.seeds), wanted["seeds"]);
            }
            _ => assert_eq!(boxes, [corners(&wanted["box"])]),
        }
    }
}

type Task<'a> = (&'static str, Box<dyn FnMut() + 'a>);

fn tasks<'a>(features: &'a Features<'_>) -> Vec<Task<'a>> {
    let n = LAYOUT.grid.patches();
    let (mut a, mut b) = (Array2::zeros((n, n)), Array2::zeros((n, n)));
    let output = PatchOutput::Features(features.clone());
    let mut tasks: Vec<Task> = vec![
        ("product, gemm", Box::new(move || product_by_gemm(features.values(), black_box(&mut a)))),
        ("product, matrixmultiply", Box::new(move || product_by_matrixmultiply(features.values(), black_box(&mut b)))),
        ("signs", Box::new(|| drop(black_box(SignMatrix::of(features))))),
    ];
    for (name, method) in [("LOST", Method::Lost), ("MOST", Method::Most), ("TokenCut", Method::TokenCut)] {
        let output = output.clone();
        let localizer = Localizer::new(method);
        tasks.push((name, Box::new(move || drop(black_box(localizer.localize(&output, &LAYOUT))))));
    }
    tasks
}

fn ratios(tasks: &mut [Task]) {
    let mut times = vec![Vec::with_capacity(ROUNDS); tasks.len()];
    for _ in 0..ROUNDS {
        for ((_, task), times) in tasks.iter_mut().zip(&mut times) {
            let start = Instant::now();
            task();
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    let [fastest, median] = [0, ROUNDS / 2].map(|rank| times[0][rank].min(times[1][rank]));
    println!("{ROUNDS} rounds, one thread; the yardstick is the faster product");
    println!("{:24} {:>9} {:>9} {:>9} {:>9}", "", "min ms", "median", "min/yard", "med/yard");
    for ((name, _), times) in tasks.iter().zip(&times) {
        let (min, mid) = (times[0], times[ROUNDS / 2]);
        println!("{name:24} {min:9.3} {mid:9.3} {:9.3} {:9.3}", min / fastest, mid / median);
        if *name == "MOST" {
            println!("{:24} {:.0} times faster than the public implementation (median)", "", PUBLIC_MOST_MS / mid);
        }
    }
}

fn localize(criterion: &mut Criterion) {
    let features = features();
    check(&features);
    let mut tasks = tasks(&features);
    ratios(&mut tasks);
    let mut group = criterion.benchmark_group("localize 30x40x192");
    for (name, task) in &mut tasks {
        group.bench_function(*name, |bencher| bencher.iter(&mut *task));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = localize
}
criterion_main!(benches);
