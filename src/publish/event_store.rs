//! What happened, in one file: the line of every event under a number that no other line ever has, the last so many of them. They are
//! there after a killed process and a restart; what went on then is closed as interrupted.
//!
//! ```text
//! sinks ─► lines that wait (bounded) ─► writer: one transaction for all of them ─► redb ─► whoever reads; told that there is more
//! ```

use crate::engine::sink::{Message, Sink, SinkError, Wish};
use crate::record::{EventName, EventRecord, FrameRecord, Phase};
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::warn;

/// Lines that are kept; of more, the last.
pub const MOST_LINES: u64 = 100_000;
/// The same where no file holds them.
const MOST_IN_MEMORY: u64 = 10_000;
/// Lines that wait for the disk; then sinks wait, too.
const MOST_WAITING: usize = 4096;
/// While something goes on, it is written down this often that its source is there.
const STAMP_EVERY: Duration = Duration::from_secs(10);
/// Boxes of a source that stand there; of more, the last.
const MOST_STANDING: usize = 64;
/// Bytes of the file that are kept in memory.
const CACHE: usize = 4 << 20;

/// JSON by number.
const LINES: TableDefinition<u64, &str> = TableDefinition::new("lines");
/// By source: its run and the last frame that is known of, by the source's clock and since 1970, in nanoseconds.
const ALIVE: TableDefinition<&str, (&str, u64, Option<u64>)> = TableDefinition::new("alive");

/// Keeps events as long as it lives; each source has a sink.
pub struct EventStore {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// Reads what a store keeps.
#[derive(Clone)]
pub struct EventReader(Arc<Shared>);

struct Shared {
    /// Another once this one takes nothing more.
    database: RwLock<Arc<Database>>,
    waiting: Mutex<Waiting>,
    has_changed: Condvar,
    /// Is told after lines were written.
    listener: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<EventRecord>,
    /// By source.
    alive: BTreeMap<String, Stamp>,
    known: Known,
    is_closed: bool,
}

/// The last frame that is known of.
#[derive(Clone, Debug)]
struct Stamp {
    run: String,
    pts_ns: u64,
    unix_ns: Option<u64>,
}

/// What the lines come to.
#[derive(Default)]
struct Known {
    /// What goes on, by source, run and id: its last line.
    open: BTreeMap<(String, String, u64), EventRecord>,
    /// By source, in shares of the picture: what stood there when its run ended.
    standing: BTreeMap<String, Vec<[f32; 4]>>,
}

impl Known {
    fn learn(&mut self, line: &EventRecord) {
        let key = (line.source.clone(), line.run.clone(), line.id);
        let begun = match line.phase {
            Phase::End => self.open.remove(&key),
            Phase::Start | Phase::Update => self.open.insert(key, line.clone()),
        };
        let stands = matches!(line.event, EventName::Stopped | EventName::LeftBehind) && line.phase == Phase::End;
        // Where it stood: whoever moves on is elsewhere at the end.
        let place = match begun {
            Some(begun) if stands => shares(&begun),
            None if stands || line.event == EventName::TakenAway => shares(line),
            _ => return,
        };
        let Some(place) = place else { return };
        let standing = self.standing.entry(line.source.clone()).or_default();
        standing.retain(|other| !(is_within(&place, other) && is_within(other, &place)));
        if stands && line.interrupted {
            standing.push(place);
            let more = standing.len().saturating_sub(MOST_STANDING);
            standing.drain(..more);
        }
    }

    fn is_open_at(&self, source: &str) -> bool {
        self.open.keys().any(|(other, ..)| other == source)
    }

    /// The ends of what went on when nobody could write them any more.
    fn interrupted(&self, alive: &BTreeMap<String, Stamp>) -> Vec<EventRecord> {
        let end = |begun: &EventRecord| {
            let seen = alive.get(&begun.source).filter(|stamp| stamp.run == begun.run);
            let pts_ns = seen.map_or(begun.told_ns, |stamp| stamp.pts_ns.max(begun.told_ns));
            let at_unix_ns = (seen.and_then(|stamp| stamp.unix_ns))
                .or(begun.at_unix_ns.map(|at| at.saturating_add(pts_ns.saturating_sub(begun.pts_ns))));
            EventRecord { phase: Phase::End, pts_ns, told_ns: pts_ns, at_unix_ns, interrupted: true, ..begun.clone() }
        };
        self.open.values().map(end).collect()
    }
}

/// Its box in shares of the picture.
fn shares(line: &EventRecord) -> Option<[f32; 4]> {
    let size = [line.width, line.height].map(|side| side.max(1) as f32);
    line.bbox.map(|bbox| [0, 1, 2, 3].map(|edge| bbox[edge] as f32 / size[edge % 2]))
}

/// Whether the middle of `a` lies in `b`.
fn is_within(a: &[f32; 4], b: &[f32; 4]) -> bool {
    let [x, y] = [(a[0] + a[2]) / 2.0, (a[1] + a[3]) / 2.0];
    (b[0]..=b[2]).contains(&x) && (b[1]..=b[3]).contains(&y)
}

impl EventStore {
    /// In this file, or in memory alone. Where the file cannot be had, that is logged, and memory has to do; one that is damaged is put
    /// aside, and another begun.
    pub fn open(file: Option<&Path>) -> Result<Self, SinkError> {
        let opened = file.map(|file| (file, begin(file)));
        let opened = match opened {
            Some((file, Err(Unopened::Damaged(why)))) => {
                let aside = PathBuf::from([file.as_os_str(), ".damaged".as_ref()].join("".as_ref()));
                warn!("{}: the events kept in it cannot be read: {why}; it is {} now", file.display(), aside.display());
                let begun = std::fs::rename(file, aside).map_err(|error| Unopened::Other(error.to_string()));
                Some((file, begun.and_then(|()| begin(file))))
            }
            opened => opened,
        };
        let begun = match opened {
            Some((_, Ok(begun))) => Some(begun),
            Some((file, Err(Unopened::Damaged(why) | Unopened::Other(why)))) => {
                warn!("{}: events cannot be kept in it, only in memory until the end: {why}", file.display());
                None
            }
            None => None,
        };
        let most = if begun.is_some() { MOST_LINES } else { MOST_IN_MEMORY };
        let (database, known, last) = match begun {
            Some(begun) => begun,
            None => (in_memory().map_err(of_store)?, Known::default(), first()),
        };
        let shared = Arc::new(Shared {
            database: RwLock::new(Arc::new(database)),
            waiting: Mutex::new(Waiting { known, ..Waiting::default() }),
            has_changed: Condvar::new(),
            listener: OnceLock::new(),
        });
        let own = shared.clone();
        let work = move || own.write(most, last);
        let writer = thread::Builder::new().name("events".into()).spawn(work);
        let writer = writer.map_err(|error| SinkError::Other(format!("the thread of the event store: {error}")))?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// The sink of one more source.
    pub fn sink(&self) -> Box<dyn Sink> {
        Box::new(StoreSink { shared: self.shared.clone(), stamped: Instant::now() })
    }

    pub fn reader(&self) -> EventReader {
        EventReader(self.shared.clone())
    }

    /// Boxes, in shares of the picture, of what stood before this source when its last run ended or was killed.
    pub fn standing(&self, source: &str) -> Vec<[f32; 4]> {
        self.shared.waiting().known.standing.get(source).cloned().unwrap_or_default()
    }
}

impl Drop for EventStore {
    fn drop(&mut self) {
        self.shared.waiting().is_closed = true;
        self.shared.has_changed.notify_all();
        if let Some(writer) = self.writer.take() {
            writer.join().ok();
        }
    }
}

impl EventReader {
    /// Hands over the lines after this number, the oldest first, for as long as `see` asks for more.
    pub fn after(&self, seq: u64, see: &mut dyn FnMut(u64, &str) -> bool) -> Result<(), SinkError> {
        self.read((Bound::Excluded(seq), Bound::Unbounded), false, see).map_err(of_store)
    }

    /// Hands over the lines before this number, the newest first, for as long as `see` asks for more.
    pub fn before(&self, seq: u64, see: &mut dyn FnMut(u64, &str) -> bool) -> Result<(), SinkError> {
        self.read((Bound::Unbounded, Bound::Excluded(seq)), true, see).map_err(of_store)
    }

    /// Is called after lines were written, on the thread that wrote them; there is one listener.
    pub fn listen(&self, listener: Box<dyn Fn() + Send + Sync>) {
        self.0.listener.set(listener).ok();
    }

    fn read(
        &self,
        range: (Bound<u64>, Bound<u64>),
        is_newest_first: bool,
        see: &mut dyn FnMut(u64, &str) -> bool,
    ) -> Result<(), redb::Error> {
        let database = self.0.database();
        let table = database.begin_read()?.open_table(LINES)?;
        let mut lines = table.range::<u64>(range)?;
        while let Some(line) = if is_newest_first { lines.next_back() } else { lines.next() } {
            let (seq, line) = line?;
            if !see(seq.value(), line.value()) {
                break;
            }
        }
        Ok(())
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> Arc<Database> {
        self.database.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, line: &EventRecord) {
        let mut waiting = self.waiting();
        while waiting.lines.len() >= MOST_WAITING && !waiting.is_closed {
            waiting = self.has_changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let ago_ns = line.told_ns.saturating_sub(line.pts_ns);
        let unix_ns = line.at_unix_ns.map(|at| at.saturating_add(ago_ns));
        let stamp = Stamp { run: line.run.clone(), pts_ns: line.told_ns, unix_ns };
        waiting.alive.insert(line.source.clone(), stamp);
        waiting.known.learn(line);
        waiting.lines.push(line.clone());
        drop(waiting);
        self.has_changed.notify_all();
    }

    /// A frame of a source came.
    fn stamp(&self, frame: &FrameRecord) {
        let mut waiting = self.waiting();
        if !waiting.known.is_open_at(&frame.source) {
            return;
        }
        let unix_ns = frame.live.map(|live| live.captured_unix_ns).or(frame.captured_unix_ns);
        let stamp = Stamp { run: frame.run.clone(), pts_ns: frame.pts_ns, unix_ns };
        waiting.alive.insert(frame.source.clone(), stamp);
        drop(waiting);
        self.has_changed.notify_all();
    }

    /// Until the store is closed and all is written; the last line so far has the number `last`.
    fn write(&self, mut most: u64, mut last: u64) {
        loop {
            let mut waiting = self.waiting();
            while waiting.lines.is_empty() && waiting.alive.is_empty() && !waiting.is_closed {
                waiting = self.has_changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if waiting.lines.is_empty() && waiting.alive.is_empty() {
                return;
            }
            let (mut lines, alive) = (std::mem::take(&mut waiting.lines), std::mem::take(&mut waiting.alive));
            drop(waiting);
            self.has_changed.notify_all();
            for line in &mut lines {
                last += 1;
                line.seq = Some(last);
            }
            if let Err(error) = commit(&self.database(), &lines, &alive, most) {
                warn!("events cannot be kept any longer, only in memory until the end: {error}");
                most = MOST_IN_MEMORY;
                if let Ok(database) = in_memory() {
                    commit(&database, &lines, &alive, most).ok();
                    *self.database.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(database);
                }
            }
            self.listener.get().into_iter().for_each(|listener| listener());
        }
    }
}

/// Why a file holds no events.
enum Unopened {
    Damaged(String),
    /// It is another's, or the disk gives or takes nothing.
    Other(String),
}

impl From<redb::Error> for Unopened {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::Other("another run keeps its events there".into()),
            redb::Error::Io(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<io::Error> for Unopened {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}

/// Opens the file, closes what was interrupted, and gives what is known, and the last number.
fn begin(file: &Path) -> Result<(Database, Known, u64), Unopened> {
    // It tells who comes and goes: nobody else may read it.
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let handle = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(file)?;
    let backend = FileBackend::new(handle).map_err(redb::Error::from)?;
    // Of a damaged file every page is looked at before it is trusted.
    let database = Builder::new().set_cache_size(CACHE).set_check_integrity_on_open(true).create_with_backend(backend);
    let database = database.map_err(redb::Error::from)?;
    let (known, last) = recall(&database)?;
    Ok((database, known, last))
}

fn recall(database: &Database) -> Result<(Known, u64), redb::Error> {
    let write = database.begin_write()?;
    let (mut known, mut last) = (Known::default(), first());
    let ends = {
        let lines = write.open_table(LINES)?;
        for line in lines.iter()? {
            let (seq, line) = line?;
            last = seq.value();
            // One that cannot be read is from another version.
            if let Ok(line) = serde_json::from_str(line.value()) {
                known.learn(&line);
            }
        }
        let mut stamps = BTreeMap::new();
        for stamp in write.open_table(ALIVE)?.iter()? {
            let (source, stamp) = stamp?;
            let (run, pts_ns, unix_ns) = stamp.value();
            stamps.insert(source.value().to_owned(), Stamp { run: run.to_owned(), pts_ns, unix_ns });
        }
        known.interrupted(&stamps)
    };
    let ends = Vec::from_iter(ends.into_iter().zip(last + 1..).map(|(end, seq)| EventRecord { seq: Some(seq), ..end }));
    ends.iter().for_each(|end| known.learn(end));
    last += ends.len() as u64;
    write.delete_table(ALIVE)?;
    fill(&write, &ends, &BTreeMap::new(), MOST_LINES)?;
    write.commit()?;
    Ok((known, last))
}

fn commit(
    database: &Database,
    lines: &[EventRecord],
    alive: &BTreeMap<String, Stamp>,
    most: u64,
) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    fill(&write, lines, alive, most)?;
    Ok(write.commit()?)
}

fn fill(
    write: &WriteTransaction,
    lines: &[EventRecord],
    alive: &BTreeMap<String, Stamp>,
    most: u64,
) -> Result<(), redb::Error> {
    let mut table = write.open_table(LINES)?;
    for line in lines {
        let json = serde_json::to_string(line).map_err(io::Error::from)?;
        table.insert(line.seq.unwrap_or_default(), json.as_str())?;
    }
    for _ in most..table.len()? {
        table.pop_first()?;
    }
    let mut table = write.open_table(ALIVE)?;
    for (source, Stamp { run, pts_ns, unix_ns }) in alive {
        table.insert(source.as_str(), (run.as_str(), *pts_ns, *unix_ns))?;
    }
    Ok(())
}

fn in_memory() -> Result<Database, redb::Error> {
    let database = Builder::new().set_cache_size(CACHE).create_with_backend(InMemoryBackend::new())?;
    // Whoever reads finds a table.
    commit(&database, &[], &BTreeMap::new(), MOST_IN_MEMORY)?;
    Ok(database)
}

/// The number before that of a new store's first line: microseconds since 1970, so that no number of a store that it takes the place of, and
/// that had less than a million lines a second, comes again.
fn first() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

fn of_store(error: redb::Error) -> SinkError {
    SinkError::Other(format!("event store: {error}"))
}

/// The events of one source.
struct StoreSink {
    shared: Arc<Shared>,
    stamped: Instant,
}

impl Sink for StoreSink {
    fn name(&self) -> String {
        "event store".into()
    }

    fn wish(&self) -> Wish {
        Box::new(|| false)
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        match message {
            Message::Event(line) => self.shared.put(line),
            Message::Frame { record, .. } if self.stamped.elapsed() >= STAMP_EVERY => {
                self.stamped = Instant::now();
                self.shared.stamp(record);
            }
            Message::Frame { .. } | Message::State(_) | Message::End(_) => {}
        }
        Ok(())
    }
}
