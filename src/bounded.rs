//! Small files that are read whole: never more of them than what they may hold, whatever the name leads to.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// The bytes of a file, or of a pipe, of at most `most` bytes.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = File::open(path)?;
    let refused = |what: String| Error::new(ErrorKind::InvalidData, what);
    let length = file.metadata()?.len();
    if length > most {
        return Err(refused(format!("it has {length} bytes (expected at most {most})")));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(refused(format!("it has more than {most} bytes"))),
        false => Ok(bytes),
    }
}

/// The same of a regular file alone: to open a pipe would wait for its other end.
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>> {
    match std::fs::metadata(path)?.is_file() {
        true => read(path, most),
        false => Err(Error::new(ErrorKind::InvalidInput, "it is no file")),
    }
}

/// The text of a file, or of a pipe, of at most `most` bytes, without a byte order mark.
pub fn read_text(path: &Path, most: u64) -> Result<String> {
    text(read(path, most)?)
}

/// What these bytes say, without a byte order mark.
pub fn text(bytes: Vec<u8>) -> Result<String> {
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::new(ErrorKind::InvalidData, format!("it is not UTF-8: {}", error.utf8_error())))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
