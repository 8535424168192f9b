//! Where the engines that TensorRT builds are kept: they run on one GPU, with one driver and one TensorRT.

#![expect(unsafe_code, reason = "a C library is loaded and called")]

use super::cache::Cache;
use super::provider::Precision;
use std::fs;
use std::path::{Path, PathBuf};

/// TensorRT's library, the newest that ONNX Runtime is built for first.
const LIBRARIES: [&str; 3] = ["libnvinfer.so.10", "libnvinfer.so.8", "libnvinfer.so"];

/// All that an engine depends on.
pub struct EngineKey {
    /// Of the checkpoint, what it puts out, and the grid.
    pub graph: blake3::Hash,
    pub precision: Precision,
    pub batch: usize,
    pub machine: GpuMachine,
    pub onnx_runtime: String,
}

/// What an engine is built on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuMachine {
    /// The GPUs' names, and the number of the one in use.
    pub gpu: String,
    pub driver: String,
    pub tensorrt: String,
}

impl GpuMachine {
    /// This machine's, with the GPU of this number.
    pub fn here(gpu: u16) -> Self {
        let read = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).ok();
        let line = |path: &str| read(Path::new(path)).map(|text| text.lines().next().unwrap_or_default().to_owned());
        let cards = fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
        let mut names: Vec<String> = cards
            .filter_map(|card| {
                let text = read(&card.path().join("information"))?;
                let model = text.lines().find(|line| line.starts_with("Model:"))?.to_owned();
                Some(format!("{} {model}", card.file_name().display()))
            })
            .collect();
        names.sort();
        // A Jetson has no such list, but a name of its own.
        names.extend(line("/proc/device-tree/model"));
        let driver = line("/proc/driver/nvidia/version").or_else(|| line("/etc/nv_tegra_release"));
        Self {
            gpu: format!("{gpu} of {}", names.join(", ")),
            driver: driver.unwrap_or_default(),
            tensorrt: tensorrt_version().map(|version| version.to_string()).unwrap_or_default(),
        }
    }
}

/// TensorRT's version as one number, where its library can be loaded.
fn tensorrt_version() -> Option<i32> {
    type Version = unsafe extern "C" fn() -> i32;
    LIBRARIES.into_iter().find_map(|name| {
        // SAFETY: the library is TensorRT's by its name; the function is called as its header declares it. It stays loaded, for
        // ONNX Runtime, since unloading would run its destructors.
        unsafe {
            let library = libloading::Library::new(name).ok()?;
            let version = library.get::<Version>(b"getInferLibVersion").ok().map(|version| version());
            std::mem::forget(library);
            version
        }
    })
}

impl EngineKey {
    /// The folder for these engines in `cache`, which is made where it is missing. Engines of the same model and GPU that another
    /// driver, TensorRT or ONNX Runtime made are of no use any more, and go.
    pub fn folder(&self, cache: &Cache) -> std::io::Result<PathBuf> {
        let Self { graph, precision, batch, machine, onnx_runtime } = self;
        let of_model =
            super::cache::key(&[graph.as_bytes(), format!("{precision} {batch}").as_bytes(), machine.gpu.as_bytes()]);
        let of_stack =
            super::cache::key(&[machine.driver.as_bytes(), machine.tensorrt.as_bytes(), onnx_runtime.as_bytes()]);
        let short = |hash: blake3::Hash| hash.to_hex()[..32].to_owned();
        cache.folder_of("engine", &short(of_model), &short(of_stack))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> EngineKey {
        EngineKey {
            graph: blake3::hash(b"graph"),
            precision: Precision::Fp16,
            batch: 8,
            machine: GpuMachine { gpu: "0 of H100".into(), driver: "570.1".into(), tensorrt: "101301".into() },
            onnx_runtime: "1.32.0".into(),
        }
    }

    #[test]
    fn another_model_gpu_precision_or_batch_has_engines_of_its_own() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(&home.path().join("cache")).unwrap();
        let first = key().folder(&cache).unwrap();
        fs::write(first.join("a.engine"), "engine").unwrap();
        let others = [
            EngineKey { graph: blake3::hash(b"other"), ..key() },
            EngineKey { precision: Precision::Fp32, ..key() },
            EngineKey { batch: 16, ..key() },
            EngineKey { machine: GpuMachine { gpu: "1 of H100".into(), ..key().machine }, ..key() },
        ];
        let mut folders: Vec<PathBuf> = others.iter().map(|other| other.folder(&cache).unwrap()).collect();
        folders.push(first.clone());
        folders.sort();
        folders.dedup();
        assert_eq!(folders.len(), 5);
        assert_eq!(key().folder(&cache).unwrap(), first);
        assert!(first.join("a.engine").is_file(), "it is still there, and used again");
    }

    #[test]
    fn engines_of_another_driver_tensorrt_or_onnx_runtime_are_built_again() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(&home.path().join("cache")).unwrap();
        for other in [
            EngineKey { machine: GpuMachine { driver: "575.0".into(), ..key().machine }, ..key() },
            EngineKey { machine: GpuMachine { tensorrt: "101400".into(), ..key().machine }, ..key() },
            EngineKey { onnx_runtime: "1.33.0".into(), ..key() },
        ] {
            let stale = key().folder(&cache).unwrap();
            fs::write(stale.join("a.engine"), "engine").unwrap();
            let fresh = other.folder(&cache).unwrap();
            assert_ne!(fresh, stale);
            assert!(!stale.exists(), "the stale engine is gone");
            assert_eq!(fs::read_dir(&fresh).unwrap().count(), 0);
        }
    }
}
