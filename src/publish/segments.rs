//! The names of files that follow each other: `out.mp4` is `out-20261125T003000Z.mp4`, the time being its beginning in UTC, so that
//! a run that starts anew never writes over the files of an earlier one.

use crate::partial::PartialFile;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Files that begin within one second.
const MAX_PER_SECOND: u32 = 1000;

/// About two seconds of video.
const PROBE_BYTES: usize = 256 << 10;

/// Creates the next file of `path`, beginning at `time`: empty, and new.
pub fn create(path: &Path, time: SystemTime) -> io::Result<(PathBuf, File)> {
    let stem = path.file_stem().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "is no file name"))?;
    let time = humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "");
    for number in 1..=MAX_PER_SECOND {
        let mut name = stem.to_owned();
        name.push(format!("-{time}"));
        if number > 1 {
            name.push(format!("-{number}"));
        }
        if let Some(extension) = path.extension() {
            name.push(".");
            name.push(extension);
        }
        let candidate = path.with_file_name(name);
        match OpenOptions::new().append(true).create_new(true).open(&candidate) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => return created.map(|file| (candidate, file)),
        }
    }
    Err(io::Error::new(ErrorKind::AlreadyExists, format!("has {MAX_PER_SECOND} files of one second")))
}

/// An error where the disk of `path` does not take [`PROBE_BYTES`]: a file that begins with less is one that plays nothing.
pub fn probe(path: &Path) -> io::Result<()> {
    let (file, mut handle) = PartialFile::create(path)?;
    let written = handle.write_all(&[0; PROBE_BYTES]).and_then(|()| handle.flush());
    drop(file);
    written
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn files_have_their_time_and_none_is_written_over() {
        let folder = std::env::temp_dir().join(format!("mostream-segments-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let name = |path: &str| {
            let (path, _) =
                super::create(&folder.join(path), UNIX_EPOCH + Duration::from_millis(1_700_000_000_999)).unwrap();
            path.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(name("a.b.mp4"), "a.b-20231114T221320Z.mp4");
        assert_eq!(name("a.b.mp4"), "a.b-20231114T221320Z-2.mp4");
        assert_eq!(name("records"), "records-20231114T221320Z");
        assert!(super::create(Path::new("/"), UNIX_EPOCH).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
