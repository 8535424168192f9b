//! JSON Lines: one record per line, each written in one go as it comes, so that what a killed program leaves is every line that was
//! written.

use crate::partial::PartialFile;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Writes records.
pub enum RecordWriter {
    Stdout(io::Stdout),
    /// Under its final name.
    File(File),
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

    /// Goes on after what is in the file.
    pub fn append(path: &Path) -> io::Result<Self> {
        let is_file = !std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        let mut file = OpenOptions::new().read(is_file).append(true).create(true).open(path)?;
        // A line that broke off, because the machine stopped, must not swallow the next one.
        if is_file && file.seek(SeekFrom::End(-1)).is_ok() {
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Self::File(file))
    }

    /// Adds a line.
    pub fn write(&mut self, record: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        match self {
            Self::Stdout(out) => {
                let mut out = out.lock();
                out.write_all(&line)?;
                out.flush()
            }
            Self::File(file) | Self::Partial(_, file) => write_whole(file, &line),
        }
    }

    /// Gives the file its name.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Self::Partial(file, _) => file.commit(),
            Self::Stdout(_) | Self::File(_) => Ok(()),
        }
    }
}

/// Writes all of the line, or none of it where the disk is full.
fn write_whole(file: &mut File, line: &[u8]) -> io::Result<()> {
    let end = file.metadata()?.len();
    file.write_all(line).inspect_err(|_| {
        // A device or a pipe has no length, and keeps what it took.
        file.set_len(end).ok();
    })
}
