//! What is known so far: a line of JSON per picture, appended as soon as its file is there, in the order of the inputs.

use super::{Format, Picture, SplitBy, format};
use crate::fault::{Kind, OfKind};
use crate::partial::PartialFile;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The folder of a set that is not part of it.
pub const STATE: &str = ".mostream";
/// The version of the journal's lines.
const VERSION: u32 = 3;

/// What the pictures of a set have in common; a set goes on with the settings it was begun with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub version: u32,
    pub format: Format,
    pub method: String,
    pub model: String,
    pub feature: String,
    /// The model's input as asked for.
    pub size: String,
    pub min_score: f32,
    /// Whether the past of videos was asked.
    #[serde(default)]
    pub with_past: bool,
    pub val: f64,
    #[serde(default)]
    pub split: SplitBy,
    pub every_ns: Option<u64>,
    pub max_per_video: Option<u64>,
    pub categories: Vec<String>,
    /// A hash of the groups that name objects.
    pub groups: Option<String>,
}

impl Settings {
    pub const VERSION: u32 = VERSION;
}

/// A line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    Settings(Settings),
    Picture(Box<Picture>),
    /// A picture of this source that the set has already; `clip` as in [`Picture`].
    Duplicate {
        clip: String,
    },
    /// The source needs no second look; the warning says what it lacks, as long as its file is this one.
    Done {
        clip: String,
        warning: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<Stamp>,
    },
}

impl Entry {
    fn clip(&self) -> Option<&str> {
        match self {
            Self::Settings(_) => None,
            Self::Picture(picture) => Some(&picture.clip),
            Self::Duplicate { clip } | Self::Done { clip, .. } => Some(clip),
        }
    }
}

/// By what a file is told from another one of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    bytes: u64,
    /// When it was last written, in nanoseconds since 1970.
    modified_ns: u64,
}

impl Stamp {
    /// None where the file is not there.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self { bytes: metadata.len(), modified_ns: modified.as_nanos() as u64 })
    }
}

/// Why a folder cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{0} is not empty and holds no set that was made by `mostream label`: give a new folder, or an empty one")]
    NotOurs(String),
    #[error("{folder} was begun with {key} {old}, not {new}: give the same options again, or another folder")]
    Settings { folder: String, key: String, old: String, new: String },
    #[error("{0} is being written to by another mostream; wait until that ends")]
    Busy(String),
    #[error("{0} is damaged in line {1}: make the set anew in another folder")]
    Damaged(String, u64),
    #[error("{path}: {error}")]
    Io { path: String, error: io::Error },
}

impl OfKind for JournalError {
    fn kind(&self) -> Kind {
        match self {
            Self::Settings { .. } => Kind::Usage,
            Self::NotOurs(_) | Self::Busy(_) | Self::Damaged(..) | Self::Io { .. } => Kind::Output,
        }
    }
}

/// The journal of one set, open for more.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

impl Journal {
    /// Begins a set in a folder that is empty or not there, or goes on with one: `each` gets the lines that are there. A last line
    /// that is torn, files that were never finished, and what came of a file that lacked something and `is_other` now, by the name of its clip,
    /// are dropped.
    pub fn open(
        folder: &Path,
        settings: &Settings,
        is_other: impl Fn(&str, Option<Stamp>) -> bool,
        mut each: impl FnMut(Entry),
    ) -> Result<Self, JournalError> {
        let path = path_in(folder);
        let fault = |error: io::Error| JournalError::Io { path: path.display().to_string(), error };
        let shown = || folder.display().to_string();
        if !path.is_file() && fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            // A run that was killed before its first line has left an empty state folder.
            let is_state = |entry: &io::Result<fs::DirEntry>| entry.as_ref().is_ok_and(|e| e.file_name() == STATE);
            if !fs::read_dir(folder).map_err(fault)?.all(|entry| is_state(&entry)) {
                return Err(JournalError::NotOurs(shown()));
            }
        }
        fs::create_dir_all(folder.join(STATE)).map_err(fault)?;
        let locked = || {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let file = file.map_err(fault)?;
            let is_busy = matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock));
            if is_busy { Err(JournalError::Busy(shown())) } else { Ok(file) }
        };
        let mut file = locked()?;
        remove_unfinished(folder);
        if forget(folder, settings, is_other).map_err(fault)? {
            file = locked()?;
        }

        let (mut good, mut number) = (0, 0);
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        loop {
            line.clear();
            number += 1;
            let length = reader.read_until(b'\n', &mut line).map_err(fault)?;
            if !line.ends_with(b"\n") {
                break;
            }
            match (serde_json::from_slice(&line), number) {
                (Ok(Entry::Settings(old)), 1) => check(&old, settings, folder)?,
                (Ok(entry), 2..) => each(entry),
                _ => return Err(JournalError::Damaged(path.display().to_string(), number)),
            }
            good += length as u64;
        }
        drop(reader);
        file.set_len(good).map_err(fault)?;
        let mut journal = Self { file };
        journal.file.seek(SeekFrom::End(0)).map_err(fault)?;
        if good == 0 {
            journal.append(&Entry::Settings(settings.clone())).map_err(fault)?;
        }
        Ok(journal)
    }

    /// Adds a line.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// The lines of a set's journal, in order.
pub fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<Entry>>> {
    let lines = BufReader::new(File::open(path_in(folder))?).lines();
    Ok(lines.map(|line| serde_json::from_str(&line?).map_err(io::Error::other)))
}

/// The pictures of a set, in order.
pub fn pictures(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<Picture>>> {
    Ok(entries(folder)?.filter_map(|entry| match entry {
        Ok(Entry::Picture(picture)) => Some(Ok(*picture)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    }))
}

fn path_in(folder: &Path) -> PathBuf {
    folder.join(STATE).join("label.jsonl")
}

fn check(old: &Settings, new: &Settings, folder: &Path) -> Result<(), JournalError> {
    let values = |settings: &Settings| match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(values)) => values,
        _ => Default::default(),
    };
    let new = values(new);
    let differs = values(old).into_iter().find(|(key, value)| new.get(key) != Some(value));
    differs.map_or(Ok(()), |(key, old)| {
        let new = new.get(&key).cloned().unwrap_or_default().to_string();
        let folder = folder.display().to_string();
        Err(JournalError::Settings { folder, key: key.replace('_', "-"), old: old.to_string(), new })
    })
}

/// Drops from the journal of a set that can be gone on with, and from the set, what came of files that lacked something and are others now;
/// whether there was any.
fn forget(folder: &Path, settings: &Settings, is_other: impl Fn(&str, Option<Stamp>) -> bool) -> io::Result<bool> {
    let path = path_in(folder);
    // Each whole line and what it says; one that says nothing is told by who reads all of them.
    let each = |take: &mut dyn FnMut(&str, Option<Entry>) -> io::Result<()>| -> io::Result<()> {
        let (mut reader, mut line) = (BufReader::new(File::open(&path)?), String::new());
        while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
            take(&line, serde_json::from_str(&line).ok())?;
            line.clear();
        }
        Ok(())
    };
    let (mut is_ours, mut others) = (false, HashSet::new());
    each(&mut |_, entry| {
        match entry {
            Some(Entry::Settings(old)) => is_ours = check(&old, settings, folder).is_ok(),
            Some(Entry::Done { clip, warning: Some(_), file }) if is_other(&clip, file) => drop(others.insert(clip)),
            _ => {}
        }
        Ok(())
    })?;
    if others.is_empty() || !is_ours {
        return Ok(false);
    }
    let (partial, file) = PartialFile::create(&path)?;
    let mut kept = BufWriter::new(file);
    each(&mut |line, entry| {
        match entry.filter(|entry| entry.clip().is_some_and(|clip| others.contains(clip))) {
            // What is not there need not be removed.
            Some(Entry::Picture(picture)) => {
                fs::remove_file(folder.join(format::picture_path(settings.format, &picture))).ok();
            }
            Some(_) => {}
            None => kept.write_all(line.as_bytes())?,
        }
        Ok(())
    })?;
    kept.flush()?;
    partial.commit()?;
    Ok(true)
}

/// Removes what a killed run left half written.
fn remove_unfinished(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            remove_unfinished(&path);
        } else if path.extension().is_some_and(|extension| extension == "part") {
            // What cannot be removed does no harm.
            fs::remove_file(&path).ok();
        }
    }
}
