//! JSON Lines: one record per line, in a file that appears when it is complete, or on stdout; each is written as it comes, so that the
//! partial file of a killed program holds all of them.

use crate::partial::PartialFile;
use crate::record::FrameRecord;
use std::io::{self, Write};
use std::path::Path;

/// Writes records.
pub struct RecordWriter {
    out: Box<dyn Write + Send>,
    file: Option<PartialFile>,
}

impl RecordWriter {
    pub fn stdout() -> Self {
        Self { out: Box::new(io::stdout()), file: None }
    }

    /// To a file. What is no regular file (a pipe, a device) is written directly.
    pub fn create(path: &Path) -> io::Result<Self> {
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            let file = std::fs::OpenOptions::new().write(true).open(path)?;
            return Ok(Self { out: Box::new(file), file: None });
        }
        let (file, handle) = PartialFile::create(path)?;
        Ok(Self { out: Box::new(handle), file: Some(file) })
    }

    /// Adds a line.
    pub fn write(&mut self, record: &FrameRecord) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()
    }

    /// Gives the file its name.
    pub fn finish(self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), PartialFile::commit)
    }
}
