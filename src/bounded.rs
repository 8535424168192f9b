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

/// The text of such a file, without a byte order mark.
pub fn read_text(path: &Path, most: u64) -> Result<String> {
    let bytes = read(path, most)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::new(ErrorKind::InvalidData, format!("it is not UTF-8: {}", error.utf8_error())))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
