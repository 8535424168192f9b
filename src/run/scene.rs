//! What still cameras have seen, kept in files between runs.

use crate::engine::KeptScene;
use crate::partial;
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use tracing::warn;

/// A larger file is no scene.
const MOST_BYTES: u64 = 256 << 20;

/// Where the scene of a camera with this name is kept.
pub fn usual_file(name: &str) -> Option<PathBuf> {
    Some(state_folder()?.join("scenes").join(format!("{name}.scene")))
}

/// Systemd's `STATE_DIRECTORY`, else the user's; it may not be there yet.
pub(super) fn state_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let of_user = || {
        let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")))?;
        Some(state.join("mostream"))
    };
    let of_service = variable("STATE_DIRECTORY").and_then(|all| Some(all.to_str()?.split(':').next()?.into()));
    of_service.or_else(of_user)
}

/// The scene in this file, seen `by` what keys depend on. Without it, and where it cannot be kept, the run goes on: that is logged once.
pub fn kept(file: &Path, by: &str) -> KeptScene {
    let before = match read(file) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                warn!("{}: the scene kept in it cannot be read: {error}", file.display());
            }
            None
        }
    };
    let (file, mut has_told) = (file.to_owned(), false);
    let keep = move |bytes: &[u8]| {
        if let Err(error) = write(&file, bytes)
            && !std::mem::replace(&mut has_told, true)
        {
            warn!("{}: the scene cannot be kept: {error}", file.display());
        }
    };
    KeptScene { by: by.to_owned(), before, keep: Box::new(keep) }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// It shows what the camera shows: others may not look into a folder that is made for it.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    partial::write(file, bytes)
}
