//! ONNX Runtime's library: where it is, whether it will do, what it can.

#![expect(unsafe_code, reason = "a C library is loaded and called")]

use super::BackboneError;
use super::provider::Device;
use ort::environment::Environment;
use ort::logging::LogLevel;
use std::error::Error;
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const LIBRARY: &str = "libonnxruntime.so";

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
    Ok(RuntimeInfo { version, providers: providers()? })
}

/// The names of the loaded library's execution providers.
pub(super) fn providers() -> Result<Vec<String>, BackboneError> {
    let (mut names, mut count) = (std::ptr::null_mut::<*mut c_char>(), 0);
    // SAFETY: the library is loaded and has this API; it gives a list of `count` C strings, which is given back unchanged.
    unsafe {
        let status = (ort::api().GetAvailableProviders)(&mut names, &mut count);
        ort::Error::result_from_status(status).map_err(BackboneError::runtime)?;
        let text = |index| CStr::from_ptr(*names.offset(index)).to_string_lossy().into_owned();
        let providers = (0..count as isize).map(text).collect();
        let status = (ort::api().ReleaseAvailableProviders)(names, count);
        ort::Error::result_from_status(status).map_err(BackboneError::runtime)?;
        Ok(providers)
    }
}

/// The library of the process, its environment and its version.
static LOADED: Mutex<Option<(PathBuf, Environment, String)>> = Mutex::new(None);

/// The library that is loaded already.
pub fn loaded() -> Option<PathBuf> {
    LOADED.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(path, ..)| path.clone())
}

/// The one environment of the process and the library's version; loads the library on the first call.
pub(super) fn environment(library: &Path) -> Result<(Environment, String), BackboneError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
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
    let environment =
        ort::init_from(library).map_err(BackboneError::runtime)?.build().map_err(BackboneError::runtime)?;
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
/// `.venv-openvino` and `.venv-gpu`, in the active virtual environment, or in the system's library folders, in this order. A
/// device that needs an execution provider gets the first library that has it beside it, where there is one; so does
/// [`Device::Auto`], in the order in which it tries devices.
pub fn find_library(explicit: Option<&Path>, device: Device) -> Result<PathBuf, BackboneError> {
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
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let environments = [".venv", ".venv-openvino", ".venv-gpu"].map(|name| project.join(name));
    for environment in environments.into_iter().chain(set("VIRTUAL_ENV")) {
        for python in entries(&environment.join("lib"), "python3") {
            folders.push(python.join("site-packages/onnxruntime/capi"));
        }
    }
    folders.extend(set("LD_LIBRARY_PATH").iter().flat_map(std::env::split_paths));
    folders.extend(["/usr/local/lib", "/usr/lib64", "/usr/lib"].map(PathBuf::from));
    folders.push(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH).into());
    let newest = |folder: PathBuf| entries(&folder, LIBRARY).into_iter().max_by_key(|path| version_of_name(path));
    let libraries: Vec<PathBuf> = folders.into_iter().filter_map(newest).collect();
    best(&libraries, device).ok_or_else(|| BackboneError::LibraryMissing(format!("no {LIBRARY} was found")))
}

/// The first of these libraries that has the provider of `device` beside it, else the first.
fn best(libraries: &[PathBuf], device: Device) -> Option<PathBuf> {
    let wanted = match device {
        Device::Auto => Device::automatic(),
        device => vec![device],
    };
    let files = wanted.iter().filter_map(|device| device.provider()).map(|provider| provider.file);
    let with = |file: &str| libraries.iter().find(|library| library.with_file_name(file).is_file());
    files.into_iter().find_map(with).or(libraries.first()).cloned()
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
