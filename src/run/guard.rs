//! The one guard that keeps outputs off what is read, and off each other.

use super::RunError;
use crate::partial;
use std::path::Path;

/// Refuses outputs, each with its flag, that are one of the files `read`, or each other, by whatever name.
pub fn guard(outputs: &[(&Path, &str)], read: &[&Path]) -> Result<(), RunError> {
    refused(outputs, read).next().map_or(Ok(()), |(_, error)| Err(error))
}

/// All that are refused: which, and why.
pub(super) fn refused(outputs: &[(&Path, &str)], read: &[&Path]) -> impl Iterator<Item = (usize, RunError)> {
    outputs.iter().enumerate().filter_map(|(at, (path, flag))| {
        let refuse = |why: String| Some((at, RunError::Usage(why)));
        if let Some(input) = read.iter().find(|input| is_same(input, path)) {
            let also = if input == path { String::new() } else { format!(" ({})", input.display()) };
            return refuse(format!("{} is the input{also}: give another name for the output", path.display()));
        }
        let (_, other) = outputs[..at].iter().find(|(other, _)| is_same(other, path))?;
        let path = path.display();
        match other == flag {
            true => refuse(format!("{path} cannot be {flag} of two sources: name each, as by {{name}}")),
            false => refuse(format!("{path} cannot be both {other} and {flag}")),
        }
    })
}

/// Whether both are one file: by links, through other folders, in another case. Devices and pipes are nobody's file.
fn is_same(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        // Two that are not there yet.
        (Err(_), Err(_)) => {
            let whole = |path: &Path| {
                let path = partial::followed(path).unwrap_or_else(|_| path.to_owned());
                let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
                let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
                (folder, path.file_name().map(|name| name.to_string_lossy().to_lowercase()))
            };
            a != Path::new("-") && whole(a) == whole(b)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_output_is_an_input_or_another_output_by_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        std::fs::write(at("v.mp4"), "").unwrap();
        std::fs::write(at("w.mp4"), "").unwrap();
        std::os::unix::fs::symlink(at("v.mp4"), at("soft.mp4")).unwrap();
        std::fs::hard_link(at("v.mp4"), at("hard.mp4")).unwrap();
        let (input, with) = (at("v.mp4"), |path: &Path| guard(&[(path, "-o")], &[&at("v.mp4")]));
        for name in ["v.mp4", "./v.mp4", "sub/../v.mp4", "soft.mp4", "hard.mp4"] {
            assert!(matches!(with(&at(name)), Err(RunError::Usage(_))), "{name}");
        }
        for name in ["w.mp4", "new.mp4", "V.mp4"] {
            assert!(with(&at(name)).is_ok(), "{name}");
        }
        let both = |a: &str, b: &str| guard(&[(&at(a), "-o"), (&at(b), "--records")], &[&input]);
        for (a, b) in [("new", "new"), ("new", "sub/../new"), ("new", "NEW"), ("w.mp4", "w.mp4")] {
            assert!(both(a, b).is_err(), "{a} {b}");
        }
        assert!(both("new", "other").is_ok());
        // A link to a file that is not there yet is the file that it will be.
        std::os::unix::fs::symlink("new", at("dangling")).unwrap();
        assert!(both("new", "dangling").is_err() && both("dangling", "other").is_ok());
        let null = Path::new("/dev/null");
        assert!(guard(&[(null, "-o"), (null, "--records")], &[]).is_ok());
    }
}
