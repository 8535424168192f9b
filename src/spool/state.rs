//! What of a spool is done with, in a file that never grows: a full disk takes it, too. Of two slots the older is written, so that one is whole
//! whenever the process or the machine stops.

use super::entry::{self, HEADER};
use super::gap::Gaps;
use super::open_file;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

const SLOT: usize = 64 << 10;

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Known {
    /// Which writing it is.
    generation: u64,
    /// The number of the first letter that is not acknowledged.
    pub head: u64,
    pub pending: Gaps,
}

pub(super) struct StateFile {
    file: File,
    generation: u64,
}

impl StateFile {
    pub fn open(path: &Path) -> io::Result<(Self, Known)> {
        let file = open_file(path)?;
        let has = file.metadata()?.len() as usize;
        if has < 2 * SLOT {
            file.write_all_at(&vec![0; 2 * SLOT - has], has as u64)?;
        }
        let known = [0, 1].into_iter().filter_map(|slot| read(&file, slot)).max_by_key(|known| known.generation);
        let known = known.unwrap_or_default();
        Ok((Self { file, generation: known.generation }, known))
    }

    pub fn write(&mut self, head: u64, pending: &Gaps) -> io::Result<()> {
        let generation = self.generation + 1;
        let mut bytes = vec![0; HEADER];
        serde_json::to_writer(&mut bytes, &Known { generation, head, pending: pending.clone() })?;
        if bytes.len() > SLOT {
            return Err(io::Error::new(ErrorKind::InvalidData, "the gaps of a spool are too many"));
        }
        entry::seal(&mut bytes);
        self.file.write_all_at(&bytes, (generation % 2) * SLOT as u64)?;
        self.generation = generation;
        Ok(())
    }

    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

fn read(file: &File, slot: u64) -> Option<Known> {
    let mut bytes = vec![0; SLOT];
    file.read_exact_at(&mut bytes, slot * SLOT as u64).ok()?;
    serde_json::from_slice(entry::unseal(&bytes)?).ok()
}
