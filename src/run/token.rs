//! What who looks on must know: the token of the page, the user's, or one that is made for a run and kept in a file that nobody else may read;
//! user name and password of the RTSP server.

use super::place::{Faults, Place};
use super::scene::state_folder;
use super::{RunError, Shared};
use crate::bounded;
use crate::publish::rtsp::{Access, Identity};
use crate::stream::camera::read_login;
use std::fs::{DirBuilder, File, OpenOptions, remove_file};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Of a file with a token.
const MOST_BYTES: u64 = 64 << 10;
/// Fewer characters are tried out.
const LEAST: usize = 8;

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
        Some(token) if token.len() >= LEAST => Ok(token.to_owned()),
        _ => Err(fail(format!("its first line is no token of at least {LEAST} characters"))),
    }
}

/// Who may watch over RTSP.
pub(super) fn access(shared: &Shared, faults: &mut Faults) -> Access {
    let login = |path: &Path| {
        let login = read_login(path)?;
        match login.1.len() >= LEAST {
            true => Ok(login),
            false => {
                Err(RunError::Usage(format!("{}: its password has fewer than {LEAST} characters", path.display())))
            }
        }
    };
    let place = Place::of_all;
    let login = shared.rtsp_out_credentials.as_deref().map(login).transpose();
    let identity = shared.rtsp_out_cert.as_deref().zip(shared.rtsp_out_key.as_deref());
    let identity = identity.map(|(certificate, key)| Identity::read(certificate, key)).transpose();
    Access {
        login: faults.note(place("rtsp-out-credentials"), login).flatten(),
        identity: faults.note(place("rtsp-out-cert"), identity).flatten(),
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
