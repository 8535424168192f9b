//! JSON Lines of live sources: frames and states as they come, under the final name, for as many sources as share the file.

use super::segments;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Writes whole lines, each in one go: what a killed program leaves is every line that was written.
pub struct LiveRecordWriter {
    out: Out,
    /// The name of the files, how long one takes lines, and since when this one does.
    rotation: Option<(PathBuf, Duration, Instant)>,
}

enum Out {
    Stdout(io::Stdout),
    File(File),
}

impl LiveRecordWriter {
    pub fn stdout() -> Self {
        Self { out: Out::Stdout(io::stdout()), rotation: None }
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
        Ok(Self { out: Out::File(file), rotation: None })
    }

    /// To a new file every so long, named by [`segments`].
    pub fn rotating(path: &Path, length: Duration) -> io::Result<Self> {
        let (_, file) = segments::create(path, SystemTime::now())?;
        Ok(Self { out: Out::File(file), rotation: Some((path.to_owned(), length, Instant::now())) })
    }

    /// Adds a line.
    pub fn write(&mut self, record: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        if let Some((path, length, begun)) = &mut self.rotation
            && begun.elapsed() >= *length
        {
            self.out = Out::File(segments::create(path, SystemTime::now())?.1);
            *begun = Instant::now();
        }
        match &mut self.out {
            Out::Stdout(out) => {
                let mut out = out.lock();
                out.write_all(&line)?;
                out.flush()
            }
            Out::File(file) => append_whole(file, &line),
        }
    }
}

/// Writes all of the line, or none of it where the disk is full.
fn append_whole(file: &mut File, line: &[u8]) -> io::Result<()> {
    let end = file.metadata()?.len();
    file.write_all(line).inspect_err(|_| {
        // A device or a pipe has no length, and keeps what it took.
        file.set_len(end).ok();
    })
}
