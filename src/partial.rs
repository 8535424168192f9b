//! Files that appear under their name only when they are complete.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every unfinished file of the process.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A file that is written beside its final name and renamed by [`commit`](Self::commit); removed when dropped before.
#[derive(Debug)]
pub struct PartialFile {
    temporary: PathBuf,
    target: PathBuf,
}

impl PartialFile {
    /// Creates the empty temporary file, in the target's folder, so that renaming it is atomic. A symbolic link stays: what it leads to is
    /// the target.
    pub fn create(target: &Path) -> io::Result<(Self, std::fs::File)> {
        let target = followed(target)?;
        if target.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory; give a file name"));
        }
        let name = target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "is no file name"))?;
        let mut temporary = name.to_owned();
        temporary.push(format!(".{}.part", std::process::id()));
        let temporary = target.with_file_name(temporary);
        // What a killed process of the same number left (in a container the number is always the same), or a link laid there.
        std::fs::remove_file(&temporary).ok();
        let file = std::fs::File::create_new(&temporary)?;
        if let Ok(mut unfinished) = UNFINISHED.lock() {
            unfinished.push(temporary.clone());
        }
        Ok((Self { temporary, target }, file))
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Gives the complete file its name, replacing what was there.
    pub fn commit(&self) -> io::Result<()> {
        std::fs::rename(&self.temporary, &self.target)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // Gone already after a commit.
        std::fs::remove_file(&self.temporary).ok();
        if let Ok(mut unfinished) = UNFINISHED.lock() {
            unfinished.retain(|path| *path != self.temporary);
        }
    }
}

/// Where a path leads, whether anything is there yet or not: symbolic links are followed to their end.
pub fn followed(path: &Path) -> io::Result<PathBuf> {
    /// As many as Linux follows.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        if !path.is_symlink() {
            return Ok(path);
        }
        let next = std::fs::read_link(&path)?;
        // Relative to the link's folder; an absolute one replaces it.
        path = path.parent().unwrap_or(Path::new("")).join(next);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "is a link that leads back to itself"))
}

/// Writes a whole file; its name appears when all of it is there. A device or a pipe is written to, not replaced.
pub fn write(target: &Path, content: &[u8]) -> io::Result<()> {
    if std::fs::metadata(target).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return std::fs::OpenOptions::new().write(true).open(target)?.write_all(content);
    }
    let (partial, mut file) = PartialFile::create(target)?;
    file.write_all(content)?;
    partial.commit()
}

/// An error where no file can appear under this name. Nothing is left behind, and what is there is not touched.
pub fn check(target: &Path) -> io::Result<()> {
    static PROBES: AtomicU64 = AtomicU64::new(0);
    let target = &followed(target)?;
    match std::fs::metadata(target) {
        Ok(there) if there.is_dir() => {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory; give a file name"));
        }
        // A device or a pipe: to open it may wait, or be seen.
        Ok(there) if !there.is_file() => return Ok(()),
        _ => {}
    }
    let folder = target.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such folder; make it first"));
    }
    let number = PROBES.fetch_add(1, Ordering::Relaxed);
    let probe = folder.join(format!(".mostream-{}-{number}.probe", std::process::id()));
    let made = std::fs::File::create(&probe).and_then(|_| std::fs::remove_file(&probe));
    made.map_err(|error| io::Error::new(error.kind(), format!("nothing can be written to its folder: {error}")))
}

/// The same for a file that is not replaced as a whole: one that is there must take more.
pub fn check_in_place(target: &Path) -> io::Result<()> {
    match target.is_file() {
        true => std::fs::OpenOptions::new().append(true).open(target).map(drop),
        false => check(target),
    }
}

/// What a process that ends now, without unwinding, leaves unfinished.
pub fn unfinished() -> Vec<PathBuf> {
    UNFINISHED.lock().map(|unfinished| unfinished.clone()).unwrap_or_default()
}
