//! What was found so far, beside the report: a line of JSON for each picture and setting, so that an evaluation that was cut off
//! goes on where it stopped.
//!
//! A line is known by a hash of all that the boxes depend on ([`key`]); lines of other models or settings stay and are passed
//! over.

use crate::cli::exit::Failure;
use mostream::evaluate::sample::Moment;
use mostream::fault::Kind;
use mostream::localize::Method;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A state that is larger is no state.
const MAX_BYTES: u64 = 8 << 30;

/// What was found in one picture, with one method on one size of input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Width and height of the picture as displayed.
    pub picture: [u32; 2],
    /// `[xmin, ymin, xmax, ymax]`, half-open, in its pixels.
    pub boxes: Vec<[u32; 4]>,
    pub scores: Vec<f32>,
    /// Whose each box is; none where frames are looked at one by one.
    #[serde(default)]
    pub tracks: Option<Vec<u64>>,
    /// Of a video's frame.
    #[serde(default)]
    pub moment: Option<Moment>,
    pub us: Microseconds,
}

/// Wall time of each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Microseconds {
    pub decode: u64,
    pub scale: u64,
    pub infer: u64,
    pub localize: u64,
    #[serde(default)]
    pub motion: u64,
    #[serde(default)]
    pub scene: u64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    /// For people: which picture this is, and what was asked of it.
    item: String,
    frame: usize,
    input: String,
    method: Method,
    #[serde(flatten)]
    found: Found,
}

/// Who wrote a line.
pub struct Entry<'a> {
    pub key: String,
    pub item: &'a str,
    pub frame: usize,
    pub input: &'a str,
    pub method: Method,
}

/// The lines of the file, and the file to add to.
pub struct State {
    known: HashMap<String, Found>,
    file: Option<(File, PathBuf)>,
}

/// The name of a line: the hash of these texts.
pub fn key(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

impl State {
    /// Nothing is known, nothing is kept.
    pub fn none() -> Self {
        Self { known: HashMap::new(), file: None }
    }

    /// Reads what an earlier run left, and goes on writing there. A last line that is not whole is dropped.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |why: &dyn std::fmt::Display| Failure::new(Kind::Output, format!("{}: {why}", path.display()));
        let opened = File::options().read(true).append(true).create(true).open(path);
        let mut file = opened.map_err(|error| failed(&error))?;
        let metadata = file.metadata().map_err(|error| failed(&error))?;
        if !metadata.is_file() || metadata.len() > MAX_BYTES {
            return Err(failed(&"is no state of an evaluation; give another name for the report"));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(failed(&"another evaluation is writing it; wait, or give another name for the report"));
            }
            // A file system without locks.
            Err(TryLockError::Error(_)) => {}
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(|error| failed(&error))?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut known = HashMap::new();
        for (number, line) in
            text[..whole].split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty())
        {
            let line: Line = serde_json::from_slice(line).map_err(|error| {
                failed(&format!("line {} is not of a state ({error}); remove the file", number + 1))
            })?;
            let Found { boxes, scores, tracks, .. } = &line.found;
            if [Some(scores.len()), tracks.as_ref().map(Vec::len)].iter().flatten().any(|len| *len != boxes.len()) {
                return Err(failed(&format!("line {} has more boxes than scores or tracks, or fewer", number + 1)));
            }
            known.insert(line.key, line.found);
        }
        // Only now: a file that is something else is left as it is.
        file.set_len(whole as u64).map_err(|error| failed(&error))?;
        Ok(Self { known, file: Some((file, path.to_owned())) })
    }

    /// What an earlier run found.
    pub fn get(&self, key: &str) -> Option<&Found> {
        self.known.get(key)
    }

    /// Keeps what was found.
    pub fn add(file: &mut Option<(File, PathBuf)>, entry: Entry, found: &Found) -> Result<(), Failure> {
        let Some((file, path)) = file else { return Ok(()) };
        let Entry { key, item, frame, input, method } = entry;
        let line = Line { key, item: item.into(), frame, input: input.into(), method, found: found.clone() };
        let mut text = serde_json::to_string(&line).map_err(Failure::internal)?;
        text.push('\n');
        // One write: a cut can only tear the last line.
        file.write_all(text.as_bytes())
            .map_err(|error| Failure::new(Kind::Output, format!("{}: {error}", path.display())))
    }

    /// The file, to add to while others read.
    pub fn take_file(&mut self) -> Option<(File, PathBuf)> {
        self.file.take()
    }
}
