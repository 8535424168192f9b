//! Files and folders of a data set, read with bounds.

use super::{DatasetError, fault};
use crate::bounded;
use crate::picture;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Take};
use std::path::{Component, Path, PathBuf};

/// Reads a file of at most `max_bytes` from its start.
pub fn open(path: &Path, max_bytes: u64) -> Result<BufReader<Take<File>>, DatasetError> {
    // Opening a pipe would wait for its other end.
    let metadata = std::fs::metadata(path).map_err(|error| fault(path, error))?;
    if !metadata.is_file() {
        return Err(fault(path, "it is no file"));
    }
    if metadata.len() > max_bytes {
        return Err(fault(path, format!("it has {} bytes (expected at most {max_bytes})", metadata.len())));
    }
    let file = File::open(path).map_err(|error| fault(path, error))?;
    Ok(BufReader::new(file.take(max_bytes)))
}

/// The text of a file of at most `max_bytes`, without a byte order mark.
pub fn read_text(path: &Path, max_bytes: u64) -> Result<String, DatasetError> {
    bounded::read_file(path, max_bytes).and_then(bounded::text).map_err(|error| fault(path, error))
}

/// `folder/name`, for a name from within the data set: one that leads out of the folder is refused.
pub fn inside(folder: &Path, name: &str) -> Result<PathBuf, DatasetError> {
    let is_plain = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    match !name.is_empty() && !name.contains('\0') && Path::new(name).components().all(is_plain) {
        true => Ok(folder.join(name)),
        false => Err(fault(folder, format!("{name:?} leads out of this folder (expected a path below it)"))),
    }
}

/// The entries of a folder, by name; hidden ones are left out.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let failed = |error| fault(folder, error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether the folder has an entry like this; false where it cannot be read.
pub fn has(folder: &Path, is_it: impl Fn(&Path) -> bool) -> bool {
    std::fs::read_dir(folder)
        .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| is_it(&entry.path()))))
}

/// The file's name without its extension.
pub fn stem(path: &Path) -> Result<&str, DatasetError> {
    path.file_stem().and_then(|stem| stem.to_str()).ok_or_else(|| fault(path, "its name is not UTF-8"))
}

/// Whether the file's name ends so, in any case.
pub fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// The pictures of a folder, by their names without extension, and what is wrong with others.
pub fn pictures(folder: &Path) -> Result<(BTreeMap<String, PathBuf>, Vec<DatasetError>), DatasetError> {
    let (mut found, mut failures) = (BTreeMap::new(), Vec::new());
    for path in list(folder)?.into_iter().filter(|path| picture::is_picture(path)) {
        match stem(&path).map(str::to_owned) {
            Err(error) => failures.push(error),
            Ok(name) if found.contains_key(&name) => failures.push(fault(&path, "another picture has this name")),
            Ok(name) => _ = found.insert(name, path),
        }
    }
    Ok((found, failures))
}
