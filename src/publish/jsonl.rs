//! JSON Lines: one record per line, each written in one go as it comes, so that what a killed program leaves is every line that was
//! written.

use crate::partial::PartialFile;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Writes records.
pub enum RecordWriter {
    Stdout(io::Stdout),
    /// Under its final name, a pipe or a device.
    File(File),
    /// Under its final name, after what was in it.
    Appended(PathBuf, File),
    /// Gets its name when it is complete.
    Partial(PartialFile, File),
}

impl RecordWriter {
    pub fn stdout() -> Self {
        Self::Stdout(io::stdout())
    }

    /// To a new file, which appears when it is complete. What is no regular file (a pipe, a device) is written directly.
    pub fn create(path: &Path) -> io::Result<Self> {
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            return Ok(Self::File(OpenOptions::new().write(true).open(path)?));
        }
        let (file, handle) = PartialFile::create(path)?;
        Ok(Self::Partial(file, handle))
    }

    /// Goes on after what is in the file. Where it is moved or removed, or its disk is another, the next line begins it anew.
    pub fn append(path: &Path) -> io::Result<Self> {
        match std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            true => Ok(Self::File(OpenOptions::new().append(true).open(path)?)),
            false => Ok(Self::Appended(path.to_owned(), open_after(path)?)),
        }
    }

    /// Adds a line; its bytes.
    pub fn write(&mut self, record: &impl Serialize) -> io::Result<u64> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        match self {
            Self::Stdout(out) => {
                let mut out = out.lock();
                out.write_all(&line)?;
                out.flush()
            }
            Self::Appended(path, file) => {
                let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
                if std::fs::metadata(&*path).map(place).ok() != file.metadata().map(place).ok() {
                    *file = open_after(path)?;
                }
                write_whole(file, &line)
            }
            Self::File(file) | Self::Partial(_, file) => write_whole(file, &line),
        }?;
        Ok(line.len() as u64)
    }

    /// Gives the file its name.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Partial(file, _) => file.commit(),
            Self::Stdout(_) | Self::File(_) | Self::Appended(..) => Ok(()),
        }
    }
}

/// A regular file, at its end. A line that broke off, because the machine stopped, must not swallow the next one.
fn open_after(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    if file.seek(SeekFrom::End(-1)).is_ok() {
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// Writes all of the line, or none of it where the disk is full.
fn write_whole(file: &mut File, line: &[u8]) -> io::Result<()> {
    let end = file.metadata()?.len();
    file.write_all(line).inspect_err(|_| {
        // A device or a pipe has no length, and keeps what it took.
        file.set_len(end).ok();
    })
}
