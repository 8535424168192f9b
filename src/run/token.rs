//! The token of the page: the user's, or one that is made for a run and kept in a file that nobody else may read.

use super::RunError;
use super::scene::state_folder;
use crate::bounded;
use std::fs::{DirBuilder, File, OpenOptions, remove_file};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Of a file with a token.
const MOST_BYTES: u64 = 64 << 10;

/// One that was made, in a file that goes with the run.
pub(super) struct Made {
    pub token: String,
    pub file: PathBuf,
}

impl Drop for Made {
    fn drop(&mut self) {
        remove_file(&self.file).ok();
    }
}

/// The first line of the file.
pub(super) fn read(path: &Path) -> Result<String, RunError> {
    let fail = |why: String| RunError::Usage(format!("{}: {why}", path.display()));
    let text = bounded::read_text(path, MOST_BYTES).map_err(|error| fail(error.to_string()))?;
    match text.lines().next().map(str::trim) {
        Some(token) if token.len() >= 8 => Ok(token.to_owned()),
        _ => Err(fail("its first line is no token of at least 8 characters".into())),
    }
}

/// A token of the system's chance, in the state directory under the name of the page's port.
pub(super) fn make(port: u16) -> io::Result<Made> {
    let mut chance = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut chance)?;
    let token = chance.map(|byte| format!("{byte:02x}")).concat();
    let none = || io::Error::new(ErrorKind::NotFound, "neither STATE_DIRECTORY nor HOME is set");
    let folder = state_folder().ok_or_else(none)?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let file = folder.join(format!("page-{port}.token"));
    // Of a run that was killed; its rights may be others.
    remove_file(&file).or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
    let made = Made { token, file };
    writeln!(open, "{}", made.token)?;
    Ok(made)
}
