//! What waits for one receiver, on disk: a log of letters, whose first are forgotten as they are acknowledged. Nothing that was put into it
//! is forgotten without a word: what has to go by its bounds, and what a full disk does not take, becomes a [`Gap`], a letter of its own at
//! the end of the log.
//!
//! ```text
//! FOLDER/lock                    one process at a time
//! FOLDER/state                   what is acknowledged, and gaps that found no room: two slots of fixed size, written in turn
//! FOLDER/00000000000000000001    letters from this number on, each with a checksum
//! FOLDER/00000000000000004711    …
//! ```
//!
//! A letter is in the file when [`Spool::append`] comes back: a killed process loses none. Only what [`Spool::to_sync`] gives, once synced, is
//! safe from a power cut.

mod entry;
mod gap;
mod state;

pub use entry::Mark;
pub use gap::{Cause, Gap};

use crate::broker::Letter;
use entry::Entry;
use gap::Gaps;
use state::StateFile;
use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Of one file, where the bound is far above it: the oldest go by files.
const MOST_OF_SEGMENT: u64 = 4 << 20;
const LEAST_OF_SEGMENT: u64 = 64 << 10;
/// The bound is about so many files, where it is not far above them.
const SEGMENTS: u64 = 16;
/// Files that are written and not synced; of more, the last.
const MOST_UNSYNCED: usize = 16;

/// What may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub bytes: u64,
    /// Nanoseconds since a letter was put in.
    pub age_ns: Option<u64>,
}

/// Makes a letter of a gap, for whoever reads the others.
pub type Tell = Box<dyn Fn(&Gap) -> Letter + Send>;

/// The letters that wait for one receiver.
pub struct Spool {
    folder: PathBuf,
    bounds: Bounds,
    tell: Tell,
    state: StateFile,
    /// The oldest first; the last is written to.
    segments: VecDeque<Segment>,
    /// Of the last one; none before there is one.
    writer: Option<File>,
    /// Of the first, to read from; none where it was not read yet.
    reader: Option<File>,
    /// The number of the next letter, and of the first that is not acknowledged; they count from 1.
    next: u64,
    head: u64,
    /// Where the latter begins in the first segment.
    offset: u64,
    /// What was given to be delivered, in order.
    lent: VecDeque<Lent>,
    /// What is lost and not in the log yet.
    pending: Gaps,
    lost: Lost,
    unsynced: VecDeque<File>,
    is_dirty: bool,
    /// The last time that it was told, in nanoseconds since 1970: gaps are put in then.
    now_ns: u64,
    _lock: File,
}

struct Segment {
    first: u64,
    letters: u64,
    bytes: u64,
    /// When its last letter was put in, in nanoseconds since 1970.
    newest_ns: u64,
}

impl Segment {
    /// The number after its last letter.
    fn end(&self) -> u64 {
        self.first + self.letters
    }
}

/// A letter that is being delivered.
struct Lent {
    seq: u64,
    bytes: u64,
    /// Who is lost with it.
    source: String,
    mark: Mark,
    at_ns: u64,
}

/// Letters that were lost since the spool was opened, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost([u64; Cause::ALL.len()]);

impl Lost {
    pub fn of(&self, cause: Cause) -> u64 {
        self.0[cause as usize]
    }

    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub letters: u64,
    /// On disk.
    pub bytes: u64,
    /// When the first of them was put in, in nanoseconds since 1970; none where nothing waits.
    pub oldest_ns: Option<u64>,
    pub lost: Lost,
}

/// Why a folder cannot be a spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("{0}: another run sends what is in it: give this destination another name, or its spool another folder")]
    Taken(PathBuf),
    #[error("{0}: what waits to be sent cannot be kept there: {1}")]
    Io(PathBuf, io::Error),
}

impl Spool {
    /// Makes the folder where it is not there, and goes on with what is in it. A letter that broke off when the machine stopped ends the log;
    /// of a file that is damaged before its end, the rest is lost, which is told.
    pub fn open(folder: &Path, bounds: Bounds, tell: Tell) -> Result<Self, SpoolError> {
        let fail = |error| SpoolError::Io(folder.to_owned(), error);
        // It tells what is seen: nobody else may read it.
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
        let lock = open_file(&folder.join("lock")).map_err(fail)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SpoolError::Taken(folder.to_owned()),
            TryLockError::Error(error) => fail(error),
        })?;
        let (state, known) = StateFile::open(&folder.join("state")).map_err(fail)?;
        let head = known.head.max(1);
        let mut spool = Self {
            folder: folder.to_owned(),
            bounds,
            tell,
            state,
            segments: VecDeque::new(),
            writer: None,
            reader: None,
            next: head,
            head,
            offset: 0,
            lent: VecDeque::new(),
            pending: known.pending,
            lost: Lost::default(),
            unsynced: VecDeque::new(),
            is_dirty: false,
            now_ns: 0,
            _lock: lock,
        };
        spool.recall().map_err(fail)?;
        Ok(spool)
    }

    fn recall(&mut self) -> io::Result<()> {
        let names = std::fs::read_dir(&self.folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let is_number = |name: &String| name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
        let mut firsts = Vec::from_iter(names.filter(is_number).filter_map(|name| name.parse::<u64>().ok()));
        firsts.sort_unstable();
        for (at, &first) in firsts.iter().enumerate() {
            let path = self.path(first);
            let scan = entry::scan(&path, first, self.head)?;
            let segment = Segment { first, letters: scan.letters, bytes: scan.bytes, newest_ns: scan.newest_ns };
            if self.segments.is_empty() {
                self.offset = scan.offset;
            }
            match firsts.get(at + 1) {
                Some(next) => match next.saturating_sub(segment.end().max(self.head)) {
                    0 => {}
                    missing => self.lose(Gap::unknown(missing, Cause::Damaged)),
                },
                // What broke off.
                None if scan.bytes < scan.length => {
                    OpenOptions::new().write(true).open(&path)?.set_len(scan.bytes)?;
                }
                None => {}
            }
            self.next = self.next.max(segment.end());
            self.now_ns = segment.newest_ns;
            if segment.end() <= self.head || segment.letters == 0 {
                std::fs::remove_file(&path)?;
            } else {
                self.segments.push_back(segment);
            }
        }
        match self.segments.front() {
            Some(first) => self.head = self.head.max(first.first),
            None => (self.head, self.offset) = (self.next, 0),
        }
        self.flush();
        Ok(())
    }

    /// From now on it has these bounds, and gaps become letters in this way.
    pub fn renew(&mut self, bounds: Bounds, tell: Tell) {
        (self.bounds, self.tell) = (bounds, tell);
    }

    /// Puts a letter at the end, at a time in nanoseconds since 1970. An error is why the disk did not take it: it is lost then, which a gap
    /// will tell.
    pub fn append(&mut self, letter: &Letter, mark: &Mark, now_ns: u64) -> io::Result<()> {
        self.now_ns = now_ns;
        self.flush();
        let written = self.write(letter, mark);
        if let Err(error) = &written {
            let is_too_large = error.kind() == io::ErrorKind::FileTooLarge;
            self.lose(mark.gap(&letter.source, now_ns, if is_too_large { Cause::Refused } else { Cause::Disk }));
        }
        self.trim(now_ns);
        written
    }

    /// The first letters that are not acknowledged, at most so many and about so many bytes; none where nothing waits. What was given before
    /// and not acknowledged is among them.
    pub fn next(&mut self, most: usize, about_bytes: usize) -> io::Result<Vec<Letter>> {
        self.lent.clear();
        while let Some((first, end)) = self.segments.front().map(|first| (first.end(), first.bytes)) {
            if self.head < first && self.offset < end {
                let offset = self.offset;
                let block = entry::read_block(self.reader()?, offset, end, about_bytes)?;
                let entries = entry::entries(&block, self.head).take(most);
                let lent = |Entry { seq, at_ns, mark, letter, bytes }: Entry| {
                    let source = letter.source.clone();
                    (Lent { seq, bytes: bytes as u64, source, mark, at_ns }, letter)
                };
                let (lent, letters): (VecDeque<_>, Vec<_>) = entries.map(lent).unzip();
                self.lent = lent;
                if !letters.is_empty() {
                    return Ok(letters);
                }
                // It was whole when it was written, or read first.
                self.lose(Gap::unknown(first - self.head, Cause::Damaged));
            } else if self.segments.len() == 1 {
                break;
            }
            self.drop_first();
            self.save()?;
            self.flush();
        }
        Ok(Vec::new())
    }

    /// The first so many of those that were given last have arrived. Gives when each was put in, in nanoseconds since 1970.
    pub fn acknowledge(&mut self, letters: usize) -> io::Result<Vec<u64>> {
        let arrived = Vec::from_iter(self.lent.drain(..letters.min(self.lent.len())));
        arrived.iter().for_each(|lent| self.pass(lent));
        self.save()?;
        Ok(arrived.iter().map(|lent| lent.at_ns).collect())
    }

    /// The first of those that were given last, and are not acknowledged, will never be taken.
    pub fn refuse(&mut self) -> io::Result<()> {
        let Some(lent) = self.lent.pop_front() else { return Ok(()) };
        // A gap that is refused would be told by another, without end.
        if lent.seq == self.head && !matches!(lent.mark, Mark::Gap(_)) {
            self.lose(lent.mark.gap(&lent.source, lent.at_ns, Cause::Refused));
        }
        self.pass(&lent);
        self.save()?;
        self.flush();
        Ok(())
    }

    /// Puts down what never came here.
    pub fn missed(&mut self, gap: Gap) {
        self.lose(gap);
        self.flush();
    }

    /// Lets go what is more than may wait, or is too old.
    pub fn trim(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        while let Some(cause) = self.excess() {
            self.let_go(cause);
        }
    }

    pub fn depth(&self) -> Depth {
        let oldest_ns = self.segments.front().filter(|_| self.head < self.next).and_then(|first| {
            let file = File::open(self.path(first.first)).ok()?;
            let block = entry::read_block(&file, self.offset, first.bytes, 0).ok()?;
            entry::entries(&block, self.head).next().map(|entry| entry.at_ns)
        });
        let letters = self.segments.iter().map(|segment| segment.end() - segment.first.max(self.head)).sum();
        let bytes = self.bytes() - self.offset;
        Depth { letters, bytes, oldest_ns, lost: self.lost }
    }

    /// What has to be synced, so that a power cut loses nothing of what is here now. It is done without the spool, since it may take long.
    pub fn to_sync(&mut self) -> Vec<File> {
        if !std::mem::take(&mut self.is_dirty) {
            return Vec::new();
        }
        let now = self.writer.iter().map(File::try_clone).chain([self.state.file()]);
        self.unsynced.drain(..).chain(now.filter_map(Result::ok)).collect()
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn reader(&mut self) -> io::Result<&File> {
        let file = match (self.reader.take(), self.segments.front()) {
            (None, Some(first)) => File::open(self.path(first.first))?,
            (Some(file), _) => file,
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(self.reader.insert(file))
    }

    fn write(&mut self, letter: &Letter, mark: &Mark) -> io::Result<()> {
        let now_ns = self.now_ns;
        let bytes = entry::write(self.next, now_ns, letter, mark)?;
        let most = (self.bounds.bytes / SEGMENTS).clamp(LEAST_OF_SEGMENT, MOST_OF_SEGMENT);
        if self.writer.is_none() || self.segments.back().is_none_or(|last| last.bytes >= most) {
            let path = self.path(self.next);
            let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
            self.unsynced.extend(self.writer.replace(file));
            let more = self.unsynced.len().saturating_sub(MOST_UNSYNCED);
            self.unsynced.drain(..more);
            // In place of one that took nothing.
            if self.segments.back().is_some_and(|last| last.letters == 0) {
                self.segments.pop_back();
                self.reader = None;
            }
            self.segments.push_back(Segment { first: self.next, letters: 0, bytes: 0, newest_ns: now_ns });
        }
        let (Some(writer), Some(segment)) = (&mut self.writer, self.segments.back_mut()) else { return Ok(()) };
        if let Err(error) = writer.write_all(&bytes) {
            // Half a letter is none; where not even that can be, the next one begins another file.
            let undone = writer.set_len(segment.bytes).and_then(|()| writer.seek(SeekFrom::Start(segment.bytes)));
            if undone.is_err() {
                self.writer = None;
            }
            return Err(error);
        }
        segment.letters += 1;
        segment.bytes += bytes.len() as u64;
        segment.newest_ns = now_ns;
        self.next += 1;
        self.is_dirty = true;
        Ok(())
    }

    /// Puts gaps into the log, where there is room.
    fn flush(&mut self) {
        while let Some(gap) = self.pending.first().cloned() {
            let letter = (self.tell)(&gap);
            if self.write(&letter, &Mark::Gap(gap)).is_err() {
                return;
            }
            self.pending.remove_first();
            self.save().ok();
        }
    }

    /// Nothing of this will arrive. It is written down before what it tells of is gone.
    fn lose(&mut self, gap: Gap) {
        self.lost.0[gap.cause as usize] += gap.lost;
        self.pending.add(gap);
        self.save().ok();
    }

    fn save(&mut self) -> io::Result<()> {
        self.is_dirty = true;
        self.state.write(self.head, &self.pending)
    }

    /// Which bound is passed.
    fn excess(&self) -> Option<Cause> {
        let first = self.segments.front()?;
        let is_old = |age: u64| first.newest_ns.saturating_add(age) < self.now_ns && self.head < first.end();
        match self.bounds.age_ns {
            _ if self.segments.len() > 1 && self.bytes() > self.bounds.bytes => Some(Cause::Bound),
            Some(age) if is_old(age) => Some(Cause::Age),
            _ => None,
        }
    }

    /// The whole first file goes.
    fn let_go(&mut self, cause: Cause) {
        let Some((path, end)) = self.segments.front().map(|first| (self.path(first.first), first.end())) else {
            return;
        };
        let whole = entry::rest(&path, self.offset).unwrap_or_default();
        let mut seq = self.head;
        for Entry { mark, letter, at_ns, .. } in entry::entries(&whole, self.head) {
            seq += 1;
            match mark {
                // Of what was lost before, and counted.
                Mark::Gap(gap) => self.pending.add(gap),
                mark => {
                    let gap = mark.gap(&letter.source, at_ns, cause);
                    self.lost.0[cause as usize] += gap.lost;
                    self.pending.add(gap);
                }
            }
        }
        if seq < end {
            self.lost.0[Cause::Damaged as usize] += end - seq;
            self.pending.add(Gap::unknown(end - seq, Cause::Damaged));
        }
        self.save().ok();
        self.drop_first();
        self.save().ok();
        self.flush();
    }

    /// Over a letter that is done with; one that was let go meanwhile is passed already.
    fn pass(&mut self, lent: &Lent) {
        if lent.seq != self.head {
            return;
        }
        self.head += 1;
        self.offset += lent.bytes;
        let is_done = self.segments.front().is_some_and(|first| first.end() <= self.head);
        if is_done && self.segments.len() > 1 {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some(gone) = self.segments.pop_front() else { return };
        std::fs::remove_file(self.path(gone.first)).ok();
        if self.segments.is_empty() {
            self.writer = None;
        }
        self.head = self.segments.front().map_or(self.next, |first| first.first);
        (self.offset, self.reader) = (0, None);
    }

    fn path(&self, first: u64) -> PathBuf {
        self.folder.join(format!("{first:020}"))
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}
