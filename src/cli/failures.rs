//! What could not be used, or was passed over: told, and listed beside what was made of the rest.

use mostream::partial;
use mostream::run::inputs::{self, PassedOver};
use std::io;
use std::path::Path;
use tracing::warn;

/// Warns of each failure and, on one line, of what was passed over, also where else only errors are told; `FOLDER/failures.txt` has a line for
/// each, and is there only where there is one.
pub fn list(folder: &Path, failures: &[String], passed_over: &[PassedOver]) -> io::Result<()> {
    failures.iter().cloned().chain(inputs::summary(passed_over)).for_each(|line| warn!("{line}"));
    let of_passed =
        passed_over.iter().map(|PassedOver { path, why }| format!("{}: passed over: {why}", path.display()));
    let lines: Vec<String> =
        failures.iter().cloned().chain(of_passed).map(|line| line.replace('\n', " ") + "\n").collect();
    let path = folder.join("failures.txt");
    match lines.is_empty() {
        true if path.exists() => std::fs::remove_file(path),
        true => Ok(()),
        false => partial::write(&path, lines.concat().as_bytes()),
    }
}
