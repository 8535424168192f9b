//! JSON Lines: one record per line, in a file that appears when it is complete, or on stdout as they come.

use crate::partial::PartialFile;
use crate::record::FrameRecord;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes records.
pub struct RecordWriter {
    out: Box<dyn Write + Send>,
    file: Option<PartialFile>,
    is_stdout: bool,
}

impl RecordWriter {
    /// To stdout; every line is flushed.
    pub fn stdout() -> Self {
        Self { out: Box::new(io::stdout()), file: None, is_stdout: true }
    }

    /// To a file. What is no regular file (a pipe, a device) is written directly.
    pub fn create(path: &Path) -> io::Result<Self> {
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            let file = std::fs::OpenOptions::new().write(true).open(path)?;
            return Ok(Self { out: Box::new(file), file: None, is_stdout: false });
        }
        let (file, handle) = PartialFile::create(path)?;
        Ok(Self { out: Box::new(BufWriter::new(handle)), file: Some(file), is_stdout: false })
    }

    /// Adds a line.
    pub fn write(&mut self, record: &FrameRecord) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        if self.is_stdout { self.out.flush() } else { Ok(()) }
    }

    /// Writes what is left and gives the file its name.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        self.file.as_ref().map_or(Ok(()), PartialFile::commit)
    }
}
