//! What happened, in one file: the line of every event under a number that no other line ever has, the last so many of them, and a picture
//! of each event, the last so many bytes of them. They are there after a killed process and a restart; what went on then is closed as
//! interrupted.
//!
//! ```text
//! sinks ─► lines and pictures that wait (bounded) ─► writer: one transaction for all of them ─► redb ─► whoever reads; told that there is more
//! ```

use super::event_pictures::{EventPictures, Jpeg};
use crate::engine::sink::{Message, Sink, SinkError, Wish};
use crate::record::{EventName, EventRecord, FrameRecord, Phase};
use crate::stream::StreamError;
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};
use std::collections::{BTreeMap, BTreeSet};
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
/// Bytes of pages that hold pictures; of more, those of the last events. With the lines and what redb needs besides, the file takes less than
/// 256 MiB of the disk; its length is doubled when it is full, and may be more.
pub const MOST_PICTURE_BYTES: u64 = 128 << 20;
const MOST_PICTURE_BYTES_IN_MEMORY: u64 = 32 << 20;
/// Lines and pictures that wait for the disk; then sinks wait, too.
const MOST_WAITING: usize = 4096;
const MOST_PICTURES_WAITING: usize = 8;
/// While something goes on, it is written down this often that its source is there.
const STAMP_EVERY: Duration = Duration::from_secs(10);
/// Boxes of a source that stand there; of more, the last.
const MOST_STANDING: usize = 64;
/// Bytes of the file that are kept in memory.
const CACHE: usize = 4 << 20;

/// JSON by number.
const LINES: TableDefinition<u64, &str> = TableDefinition::new("lines");
/// JPEG by the number of its event's first line, and the bytes of the page that holds it.
const PICTURES: TableDefinition<u64, &[u8]> = TableDefinition::new("pictures");
const PICTURE_BYTES: TableDefinition<u64, u64> = TableDefinition::new("picture bytes");
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
    batch: Batch,
    known: Known,
    /// The number of the last line so far.
    last: u64,
    is_closed: bool,
}

/// What one transaction writes.
#[derive(Default)]
struct Batch {
    lines: Vec<EventRecord>,
    /// By their numbers.
    pictures: BTreeMap<u64, Jpeg>,
    /// By source.
    alive: BTreeMap<String, Stamp>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.pictures.is_empty() && self.alive.is_empty()
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= MOST_WAITING || self.pictures.len() >= MOST_PICTURES_WAITING
    }
}

/// How much is kept.
#[derive(Clone, Copy)]
struct Limits {
    lines: u64,
    picture_bytes: u64,
}

const IN_FILE: Limits = Limits { lines: MOST_LINES, picture_bytes: MOST_PICTURE_BYTES };
const IN_MEMORY: Limits = Limits { lines: MOST_IN_MEMORY, picture_bytes: MOST_PICTURE_BYTES_IN_MEMORY };

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
    /// What goes on: the number of its first line, and its last line.
    open: BTreeMap<Key, (u64, EventRecord)>,
    /// By source, in shares of the picture: what stood there when its run ended.
    standing: BTreeMap<String, Vec<[f32; 4]>>,
}

/// Of an event: its source, run and id.
type Key = (String, String, u64);

fn key(line: &EventRecord) -> Key {
    (line.source.clone(), line.run.clone(), line.id)
}

impl Known {
    /// The next line, which has its number.
    fn learn(&mut self, line: &EventRecord) {
        let key = key(line);
        let number = self.open.get(&key).map_or(line.seq.unwrap_or_default(), |(number, _)| *number);
        let begun = match line.phase {
            Phase::End => self.open.remove(&key),
            Phase::Start | Phase::Update => self.open.insert(key, (number, line.clone())),
        };
        let begun = begun.map(|(_, line)| line);
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
        self.open.values().map(|(_, begun)| end(begun)).collect()
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
        let limits = if begun.is_some() { IN_FILE } else { IN_MEMORY };
        let (database, known, last) = match begun {
            Some(begun) => begun,
            None => (in_memory().map_err(of_store)?, Known::default(), first()),
        };
        let shared = Arc::new(Shared {
            database: RwLock::new(Arc::new(database)),
            waiting: Mutex::new(Waiting { known, last, ..Waiting::default() }),
            has_changed: Condvar::new(),
            listener: OnceLock::new(),
        });
        let own = shared.clone();
        let work = move || own.write(limits);
        let writer = thread::Builder::new().name("events".into()).spawn(work);
        let writer = writer.map_err(|error| SinkError::Other(format!("the thread of the event store: {error}")))?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// The sink of one more source; with pictures of its events, where somebody may ask for them.
    pub fn sink(&self, with_pictures: bool) -> Box<dyn Sink> {
        let pictures = with_pictures.then(EventPictures::new);
        Box::new(StoreSink { shared: self.shared.clone(), stamped: Instant::now(), pictures })
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

    /// The best picture so far of the event whose line, or whose `picture`, has this number: a JPEG with boxes. None where none is kept.
    pub fn picture(&self, number: u64) -> Result<Option<Vec<u8>>, SinkError> {
        let find = || -> Result<Option<Vec<u8>>, redb::Error> {
            let read = self.0.database().begin_read()?;
            let line = read.open_table(LINES)?.get(number)?;
            let line = line.and_then(|line| serde_json::from_str::<EventRecord>(line.value()).ok());
            let number = line.and_then(|line| line.picture).unwrap_or(number);
            Ok(read.open_table(PICTURES)?.get(number)?.map(|jpeg| jpeg.value().to_vec()))
        };
        find().map_err(of_store)
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

    /// Until there is room for more.
    fn room(&self) -> MutexGuard<'_, Waiting> {
        let mut waiting = self.waiting();
        while waiting.batch.is_full() && !waiting.is_closed {
            waiting = self.has_changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting
    }

    /// Keeps the line, and a picture of its event where there is one; gives the number of the event's first line.
    fn put(&self, line: &EventRecord, picture: Option<Jpeg>) -> u64 {
        let mut waiting = self.room();
        waiting.last += 1;
        let mut line = EventRecord { seq: Some(waiting.last), ..line.clone() };
        let begun = waiting.known.open.get(&key(&line));
        let number = begun.map_or(waiting.last, |(number, _)| *number);
        line.picture = picture.as_ref().map(|_| number).or(begun.and_then(|(_, begun)| begun.picture));
        let ago_ns = line.told_ns.saturating_sub(line.pts_ns);
        let unix_ns = line.at_unix_ns.map(|at| at.saturating_add(ago_ns));
        let stamp = Stamp { run: line.run.clone(), pts_ns: line.told_ns, unix_ns };
        waiting.known.learn(&line);
        waiting.batch.alive.insert(line.source.clone(), stamp);
        waiting.batch.pictures.extend(picture.map(|picture| (number, picture)));
        waiting.batch.lines.push(line);
        drop(waiting);
        self.has_changed.notify_all();
        number
    }

    /// Another picture of the event of this number.
    fn show(&self, number: u64, picture: Jpeg) {
        let mut waiting = self.room();
        if let Some((_, begun)) = waiting.known.open.values_mut().find(|(other, _)| *other == number) {
            begun.picture = Some(number);
        }
        waiting.batch.pictures.insert(number, picture);
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
        waiting.batch.alive.insert(frame.source.clone(), stamp);
        drop(waiting);
        self.has_changed.notify_all();
    }

    /// Until the store is closed and all is written.
    fn write(&self, mut limits: Limits) {
        loop {
            let mut waiting = self.waiting();
            while waiting.batch.is_empty() && !waiting.is_closed {
                waiting = self.has_changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if waiting.batch.is_empty() {
                return;
            }
            let batch = std::mem::take(&mut waiting.batch);
            drop(waiting);
            self.has_changed.notify_all();
            if let Err(error) = commit(&self.database(), &batch, limits) {
                warn!("events cannot be kept any longer, only in memory until the end: {error}");
                limits = IN_MEMORY;
                if let Ok(database) = in_memory() {
                    commit(&database, &batch, limits).ok();
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
        let mut pictures = write.open_table(PICTURES)?;
        let mut bytes = write.open_table(PICTURE_BYTES)?;
        let kept = bytes.iter()?.map(|entry| Ok(entry?.0.value())).collect::<Result<BTreeSet<u64>, redb::Error>>()?;
        let (mut of_nothing, lines) = (kept.clone(), write.open_table(LINES)?);
        for line in lines.iter()? {
            let (seq, line) = line?;
            last = seq.value();
            // One that cannot be read is from another version.
            if let Ok(line) = serde_json::from_str::<EventRecord>(line.value()) {
                of_nothing.remove(&line.picture.unwrap_or(last));
                known.learn(&line);
            }
        }
        for number in of_nothing {
            pictures.remove(number)?;
            bytes.remove(number)?;
        }
        // It may have come after the last line.
        for (number, line) in known.open.values_mut() {
            line.picture = line.picture.or(kept.contains(number).then_some(*number));
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
    fill(&write, &Batch { lines: ends, ..Batch::default() }, IN_FILE)?;
    write.commit()?;
    Ok((known, last))
}

fn commit(database: &Database, batch: &Batch, limits: Limits) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    fill(&write, batch, limits)?;
    Ok(write.commit()?)
}

fn fill(write: &WriteTransaction, batch: &Batch, limits: Limits) -> Result<(), redb::Error> {
    let mut lines = write.open_table(LINES)?;
    let mut pictures = write.open_table(PICTURES)?;
    let mut bytes = write.open_table(PICTURE_BYTES)?;
    for line in &batch.lines {
        let json = serde_json::to_string(line).map_err(io::Error::from)?;
        lines.insert(line.seq.unwrap_or_default(), json.as_str())?;
    }
    for (number, jpeg) in &batch.pictures {
        pictures.insert(number, jpeg.as_ref())?;
        bytes.insert(number, page(jpeg.len()))?;
    }
    for _ in limits.lines..lines.len()? {
        let Some((seq, line)) = lines.pop_first()? else { break };
        // After its last line nobody knows of a picture any more.
        let last = serde_json::from_str::<EventRecord>(line.value()).ok().filter(|line| line.phase == Phase::End);
        if let Some(number) = last.map(|line| line.picture.unwrap_or(seq.value())) {
            pictures.remove(number)?;
            bytes.remove(number)?;
        }
    }
    // Without another picture there are not more bytes than before.
    let mut sum = 0;
    for entry in bytes.iter()?.take_while(|_| !batch.pictures.is_empty()) {
        sum += entry?.1.value();
    }
    while sum > limits.picture_bytes {
        let Some((number, page)) = bytes.pop_first()? else { break };
        pictures.remove(number.value())?;
        sum -= page.value();
    }
    let mut alive = write.open_table(ALIVE)?;
    for (source, Stamp { run, pts_ns, unix_ns }) in &batch.alive {
        alive.insert(source.as_str(), (run.as_str(), *pts_ns, *unix_ns))?;
    }
    Ok(())
}

/// Bytes of the page that holds a value of so many: redb's are powers of two.
fn page(bytes: usize) -> u64 {
    (bytes as u64 + 64).next_power_of_two().max(4096)
}

fn in_memory() -> Result<Database, redb::Error> {
    let database = Builder::new().set_cache_size(CACHE).create_with_backend(InMemoryBackend::new())?;
    // Whoever reads finds a table.
    commit(&database, &Batch::default(), IN_MEMORY)?;
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
    /// None where nobody asks for them, or none can be made.
    pictures: Option<EventPictures>,
}

impl StoreSink {
    /// What `make` has of the pictures; events are kept without them where they cannot be made.
    fn pictures<T: Default>(&mut self, make: impl FnOnce(&mut EventPictures) -> Result<T, StreamError>) -> T {
        let Some(pictures) = &mut self.pictures else { return T::default() };
        make(pictures).unwrap_or_else(|error| {
            warn!("there are no more pictures of events: {error}");
            self.pictures = None;
            T::default()
        })
    }
}

impl Sink for StoreSink {
    fn name(&self) -> String {
        "event store".into()
    }

    fn wish(&self) -> Wish {
        self.pictures.as_ref().map_or_else(|| Box::new(|_| false) as Wish, EventPictures::wish)
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        match message {
            Message::Event(line) => {
                let first = self.pictures(|pictures| pictures.first(line));
                let has_first = first.is_some();
                let number = self.shared.put(line, first);
                self.pictures.iter_mut().for_each(|pictures| pictures.told(line, number, has_first));
            }
            Message::Frame { record, picture } => {
                for (number, picture) in self.pictures(|pictures| pictures.see(record, picture.as_ref())) {
                    self.shared.show(number, picture);
                }
                if self.stamped.elapsed() >= STAMP_EVERY {
                    self.stamped = Instant::now();
                    self.shared.stamp(record);
                }
            }
            Message::State(_) | Message::End(_) => {}
        }
        Ok(())
    }
}
