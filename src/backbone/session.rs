//! ONNX Runtime: finding its library, making a session, running it.

use super::cache::Cache;
use super::graph::{self, Dialect, Feature, INPUT, OUTPUT};
use super::{BackboneError, Checkpoint};
use crate::geometry::{Grid, PatchLayout};
use ndarray::Array2;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::TensorRef;
use std::error::Error;
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Attention takes time with the square of the patches; this many are 1024×1024 pixels at patch 8.
const MAX_PATCHES: usize = 16_384;
/// Raised when the same checkpoint gives another graph.
const GRAPH_VERSION: u32 = 1;
const LIBRARY: &str = "libonnxruntime.so";

/// How a session is run.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Threads of one run; by default as many as the process may use cores.
    pub threads: Option<usize>,
    /// The ONNX Runtime library; by default what [`find_library`] finds. A process loads one.
    pub library: Option<PathBuf>,
    /// The folder for graphs and optimised models; none is kept by default.
    pub cache: Option<PathBuf>,
}

/// A checkpoint ready to run on images of one size.
#[derive(Debug)]
pub struct Backbone {
    session: Session,
    layout: PatchLayout,
    /// `[N, D]` or `[heads, N]`.
    shape: (usize, usize),
    cache_warning: Option<String>,
}

impl Backbone {
    /// Makes the session for images of `width` × `height` pixels, which need not be a multiple of the patch. Loads the ONNX
    /// Runtime library on the first call of the process.
    pub fn open(
        checkpoint: &Checkpoint,
        feature: Feature,
        width: u32,
        height: u32,
        options: &SessionOptions,
    ) -> Result<Self, BackboneError> {
        Self::open_in(Dialect::Fused, checkpoint, feature, width, height, options)
    }

    /// Like [`Self::open`], with attention written in this dialect.
    pub fn open_in(
        dialect: Dialect,
        checkpoint: &Checkpoint,
        feature: Feature,
        width: u32,
        height: u32,
        options: &SessionOptions,
    ) -> Result<Self, BackboneError> {
        let layout = layout(checkpoint.patch(), width, height)?;
        let library = find_library(options.library.as_deref())?;
        let (environment, version) = environment(&library)?;
        let threads = options.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
        let builder = || session_builder(&environment, threads.unwrap_or(1));

        let (cache, mut cache_warning) = match options.cache.as_deref().map(|folder| (folder, Cache::open(folder))) {
            None => (None, None),
            Some((_, Ok(cache))) => (Some(cache), None),
            Some((folder, Err(error))) => (None, Some(unusable(folder, &error))),
        };
        let graph_key = key(&[
            checkpoint.hash().as_bytes(),
            format!("{GRAPH_VERSION} {:?} {feature:?} {dialect:?} {layout:?}", checkpoint.measures).as_bytes(),
        ]);
        let session_key = key(&[graph_key.as_bytes(), version.as_bytes(), processor().as_bytes()]);

        let kept = cache.as_ref().and_then(|cache| cache.read(&session_key)).and_then(|model| {
            let builder = builder().and_then(|b| Ok(b.with_optimization_level(GraphOptimizationLevel::Disable)?));
            builder.and_then(|mut builder| builder.commit_from_memory(&model)).ok()
        });
        let session = match (kept, cache) {
            (Some(session), _) => session,
            (None, None) => {
                let graph = graph::build(checkpoint, feature, dialect, &layout)?;
                builder().and_then(|mut builder| builder.commit_from_memory(&graph)).map_err(runtime)?
            }
            (None, Some(cache)) => {
                let kept = cache.read(&graph_key);
                let is_kept = kept.is_some();
                let graph = kept.map_or_else(|| graph::build(checkpoint, feature, dialect, &layout), Ok)?;
                let mut written = if is_kept { Ok(()) } else { cache.write(&graph_key, &graph) };
                let scratch = cache.scratch();
                let optimised = builder()
                    .and_then(|builder| builder.with_optimized_model_path(&scratch)?.commit_from_memory(&graph));
                written = written.and_then(|()| cache.write(&session_key, &std::fs::read(&scratch)?));
                let _ = std::fs::remove_file(&scratch);
                if let (Some(folder), Err(error)) = (&options.cache, &written) {
                    cache_warning = Some(unusable(folder, error));
                }
                // The reason may be the file it could not write.
                let again = |_| builder().and_then(|mut builder| builder.commit_from_memory(&graph));
                optimised.or_else(again).map_err(runtime)?
            }
        };
        let patches = layout.grid.patches();
        let shape = match feature {
            Feature::ClsAttention => (checkpoint.heads(), patches),
            _ => (patches, checkpoint.dim()),
        };
        Ok(Self { session, layout, shape, cache_warning })
    }

    /// How the patches lie over the image.
    pub fn layout(&self) -> PatchLayout {
        self.layout
    }

    /// Why nothing was kept in the cache, where it was asked for.
    pub fn cache_warning(&self) -> Option<&str> {
        self.cache_warning.as_deref()
    }

    /// Packed RGB `[height, width, 3]` → features `[N, D]`, or `[heads, N]` for the attention.
    pub fn features(&mut self, rgb: &[u8]) -> Result<Array2<f32>, BackboneError> {
        let (width, height) = (self.layout.image_width as usize, self.layout.image_height as usize);
        if rgb.len() != 3 * width * height {
            return Err(BackboneError::Pixels { width, height, got: rgb.len() });
        }
        let input = TensorRef::from_array_view(([1, height, width, 3], rgb)).map_err(runtime)?;
        let output = self.session.run(ort::inputs![INPUT => input]).map_err(runtime)?;
        let (_, values) = output[OUTPUT].try_extract_tensor::<f32>().map_err(runtime)?;
        Array2::from_shape_vec(self.shape, values.to_vec()).map_err(runtime)
    }
}

/// How the patches lie over an image of this size; an error where there are none or too many.
pub(super) fn layout(patch: u32, width: u32, height: u32) -> Result<PatchLayout, BackboneError> {
    let grid = Grid { rows: height.div_ceil(patch) as usize, cols: width.div_ceil(patch) as usize };
    match grid.rows.checked_mul(grid.cols) {
        Some(1..=MAX_PATCHES) => Ok(PatchLayout { grid, patch, image_width: width, image_height: height }),
        _ => Err(BackboneError::Size(format!(
            "a model input of {width}x{height} has {}x{} patches of {patch} pixels (expected 1 to {MAX_PATCHES} patches)",
            grid.cols, grid.rows
        ))),
    }
}

fn session_builder(environment: &Environment, threads: usize) -> ort::Result<SessionBuilder> {
    Ok(Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        // A thread that waits in a loop takes the core from the other stages.
        .with_intra_op_spinning(false)?)
}

fn runtime(error: impl std::fmt::Display) -> BackboneError {
    BackboneError::Runtime(error.to_string())
}

fn unusable(folder: &Path, error: &std::io::Error) -> String {
    format!("the cache {} is not used: {error}", folder.display())
}

fn key(parts: &[&[u8]]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    hasher.finalize()
}

/// What an optimised model depends on besides the library: its kernels are chosen for the processor.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kept =
        |line: &&str| ["model name", "flags", "Features", "CPU part"].iter().any(|field| line.starts_with(field));
    let first = text.split("\n\n").next().unwrap_or_default();
    std::iter::once(std::env::consts::ARCH).chain(first.lines().filter(kept)).collect::<Vec<_>>().join("\n")
}

/// What an ONNX Runtime library is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeInfo {
    pub version: String,
    /// The names of its execution providers.
    pub providers: Vec<String>,
}

/// Loads the library and asks it.
pub fn runtime_info(library: &Path) -> Result<RuntimeInfo, BackboneError> {
    let (_, version) = environment(library)?;
    let (mut names, mut count) = (std::ptr::null_mut::<*mut c_char>(), 0);
    // SAFETY: the library is loaded and has this API; it gives a list of `count` C strings, which is given back unchanged.
    let providers = unsafe {
        let status = (ort::api().GetAvailableProviders)(&mut names, &mut count);
        ort::Error::result_from_status(status).map_err(runtime)?;
        let text = |index| CStr::from_ptr(*names.offset(index)).to_string_lossy().into_owned();
        let providers = (0..count as isize).map(text).collect();
        let status = (ort::api().ReleaseAvailableProviders)(names, count);
        ort::Error::result_from_status(status).map_err(runtime)?;
        providers
    };
    Ok(RuntimeInfo { version, providers })
}

/// The one environment of the process and the library's version; loads the library on the first call.
fn environment(library: &Path) -> Result<(Environment, String), BackboneError> {
    static LOADED: Mutex<Option<(PathBuf, Environment, String)>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((path, environment, version)) = &*loaded {
        if path != library {
            let (path, library) = (path.display(), library.display());
            return Err(BackboneError::Runtime(format!(
                "{library} cannot be loaded: {path} is, and a process has room for one"
            )));
        }
        return Ok((environment.clone(), version.clone()));
    }
    let version = version(library)?;
    let environment = ort::init_from(library).map_err(runtime)?.build().map_err(runtime)?;
    // What is fatal comes back as an error.
    environment.set_log_level(LogLevel::Fatal);
    *loaded = Some((library.to_owned(), environment.clone(), version.clone()));
    Ok((environment, version))
}

/// The version of the library, which must have the API this program is built for: `ort` panics where it has not.
fn version(library: &Path) -> Result<String, BackboneError> {
    type GetApiBase = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;
    let failed = |error: libloading::Error| {
        let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        BackboneError::LibraryMissing(format!(
            "the ONNX Runtime library {} cannot be loaded: {reason}",
            library.display()
        ))
    };
    // SAFETY: the file is named as ONNX Runtime's library; its one exported function is called as its header declares it.
    let (version, usable) = unsafe {
        let loaded = libloading::Library::new(library).map_err(failed)?;
        let get_api_base = loaded.get::<GetApiBase>(b"OrtGetApiBase").map_err(failed)?;
        let Some(base) = get_api_base().as_ref() else {
            return Err(BackboneError::Runtime(format!("{} has no API", library.display())));
        };
        let version = CStr::from_ptr((base.GetVersionString)()).to_string_lossy().into_owned();
        let usable = !(base.GetApi)(ort::sys::ORT_API_VERSION).is_null();
        // Unloading and loading again would run its static constructors twice.
        std::mem::forget(loaded);
        (version, usable)
    };
    match usable {
        true => Ok(version),
        false => Err(BackboneError::LibraryMissing(format!(
            "ONNX Runtime {version} ({}) is too old (expected at least 1.{})",
            library.display(),
            ort::MINOR_VERSION
        ))),
    }
}

/// The ONNX Runtime library: `explicit`, else `ORT_DYLIB_PATH`, else the newest next to the program, in the project's `.venv`,
/// in the active virtual environment, or in the system's library folders, in this order.
pub fn find_library(explicit: Option<&Path>) -> Result<PathBuf, BackboneError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = explicit.map(Path::to_owned).or_else(|| set("ORT_DYLIB_PATH")) {
        return match path.is_file() {
            true => Ok(path),
            false => {
                Err(BackboneError::LibraryMissing(format!("there is no ONNX Runtime library at {}", path.display())))
            }
        };
    }
    let mut folders: Vec<PathBuf> =
        std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned())).into_iter().collect();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv");
    for environment in std::iter::once(project).chain(set("VIRTUAL_ENV")) {
        for python in entries(&environment.join("lib"), "python3") {
            folders.push(python.join("site-packages/onnxruntime/capi"));
        }
    }
    folders.extend(set("LD_LIBRARY_PATH").iter().flat_map(std::env::split_paths));
    folders.extend(["/usr/local/lib", "/usr/lib64", "/usr/lib"].map(PathBuf::from));
    folders.push(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH).into());
    let newest = |folder: PathBuf| entries(&folder, LIBRARY).into_iter().max_by_key(|path| version_of_name(path));
    folders.into_iter().find_map(newest).ok_or_else(|| BackboneError::LibraryMissing(format!("no {LIBRARY} was found")))
}

/// The entries of `folder` whose names begin like this.
fn entries(folder: &Path, name: &str) -> Vec<PathBuf> {
    let list = std::fs::read_dir(folder).into_iter().flatten().flatten();
    list.filter(|entry| entry.file_name().to_string_lossy().starts_with(name)).map(|entry| entry.path()).collect()
}

/// `libonnxruntime.so.1.32.0` → `[1, 32, 0]`.
fn version_of_name(path: &Path) -> Vec<u32> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').filter_map(|part| part.parse().ok()).collect()
}
