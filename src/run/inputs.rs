//! What arguments stand for: files, folders and URIs, in a stable order.

use super::RunError;
use crate::picture;
use crate::stream::preflight::Source;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// File name extensions that make a file in a folder a video.
const VIDEO_EXTENSIONS: [&str; 14] =
    ["mp4", "mov", "m4v", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "ogv", "flv", "wmv"];

/// One input.
pub enum Input {
    Still(PathBuf),
    Video(Source),
}

impl Input {
    /// What is shown and recorded.
    pub fn name(&self) -> String {
        match self {
            Self::Still(path) => path.display().to_string(),
            Self::Video(source) => source.name.clone(),
        }
    }
}

/// The inputs that `arguments` stand for, folders read to their depths, each folder's entries sorted by name; hidden entries and
/// files that are named neither like a picture nor like a video are left out. A file given by name is taken as what its
/// name says, and as a video otherwise. What cannot be read is in the second list.
pub fn expand(arguments: &[OsString]) -> (Vec<Input>, Vec<RunError>) {
    let (mut inputs, mut failures) = (Vec::new(), Vec::new());
    for argument in arguments {
        let path = Path::new(argument);
        match argument.to_string_lossy().contains("://") {
            false if path.is_dir() => walk(path, &mut inputs, &mut failures),
            false if picture::is_named_so(path) && path.exists() => inputs.push(Input::Still(path.to_owned())),
            _ => add_video(argument, &mut inputs, &mut failures),
        }
    }
    (inputs, failures)
}

fn add_video(name: &OsStr, inputs: &mut Vec<Input>, failures: &mut Vec<RunError>) {
    match Source::new(name) {
        Ok(source) => inputs.push(Input::Video(source)),
        Err(error) => failures.push(error.into()),
    }
}

fn walk(folder: &Path, inputs: &mut Vec<Input>, failures: &mut Vec<RunError>) {
    let entries = std::fs::read_dir(folder).and_then(|entries| {
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        Ok(paths)
    });
    let entries = entries.unwrap_or_else(|error| {
        failures.push(RunError::Input(format!("{}: {error}", folder.display())));
        Vec::new()
    });
    let is_video = |path: &Path| {
        path.extension()
            .is_some_and(|extension| VIDEO_EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
    };
    for path in entries {
        // A link to a folder may lead back up.
        let is_passed_over = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
            || path.is_symlink() && path.is_dir();
        if is_passed_over {
            continue;
        }
        if path.is_dir() {
            walk(&path, inputs, failures);
        } else if picture::is_named_so(&path) {
            inputs.push(Input::Still(path));
        } else if is_video(&path) {
            add_video(path.as_os_str(), inputs, failures);
        }
    }
}
