//! How every source is doing, for whoever asks: the log, the metrics, the page.

use super::crew::Usage;
use super::destinations::DestinationStatus;
use super::histogram::Histogram;
use super::outputs::{OutputSnapshot, OutputStatus};
use crate::record::{EventName, EventRecord, FrameRecord, Phase, SourceState};
use crate::stream::canvas::CanvasCount;
use crate::stream::decoder::Decoder;
use crate::stream::feed::StateChange;
use crate::zones::Regions;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::ParseIntError;
use std::ops::Add;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Latencies kept for the percentiles.
const LATENCIES: usize = 1024;
/// Rates are over this time.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// The sources of a run, which come and go, and what the model runs on.
pub struct Board {
    /// The run's name in all that it puts out, 16 hex digits by chance: another after a restart, and on another machine.
    pub run: String,
    pub started: Instant,
    /// When its lanes were looked after last, in milliseconds from the start.
    turned_ms: AtomicU64,
    sources: Mutex<Sources>,
    devices: OnceLock<Vec<Arc<Usage>>>,
    destinations: Mutex<Vec<Arc<DestinationStatus>>>,
}

#[derive(Default)]
struct Sources {
    next: u64,
    all: Vec<Arc<SourceStatus>>,
}

/// A source of a run, for as long as that lasts: another never has the same. They count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LaneId(u64);

/// One source: its counters, and what is asked of it.
pub struct SourceStatus {
    pub id: LaneId,
    pub name: String,
    is_paused: AtomicBool,
    is_stopped: AtomicBool,
    is_short: AtomicBool,
    regions: Mutex<Arc<Regions>>,
    outputs: Mutex<Vec<Arc<OutputStatus>>>,
    now: Mutex<Now>,
}

struct Now {
    state: SourceState,
    since: SystemTime,
    why: Option<String>,
    size: (u32, u32),
    frames: u64,
    finished: u64,
    inferred: u64,
    passed_over: u64,
    late: u64,
    unchanged: u64,
    missed_by_sinks: u64,
    broken: u64,
    objects: u64,
    /// In the records of all frames, those with held boxes, too.
    boxes: u64,
    /// Frames whose records have some.
    with_boxes: u64,
    objects_now: usize,
    connections: u64,
    happened: Happened,
    expected: Option<u64>,
    is_over: bool,
    /// Bytes that movement and the scene are known by.
    motion_bytes: usize,
    scene_bytes: usize,
    drawn: CanvasCount,
    masked: CanvasCount,
    decoder: Option<Decoder>,
    latencies: VecDeque<Duration>,
    latency: Histogram,
    frame_times: VecDeque<Instant>,
    inferred_times: VecDeque<Instant>,
}

/// What happened at a source.
#[derive(Clone, Debug, Default)]
pub struct Happened {
    /// How often each event began, or was where it does not last, by the zone or line that it is at.
    pub counts: BTreeMap<(EventName, Option<String>), u64>,
    /// Ids of those that go on.
    pub open: BTreeSet<u64>,
}

/// What was found, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames that have a record, and those of them in which something is.
    pub frames: u64,
    pub with_boxes: u64,
    /// In the records of all frames.
    pub boxes: u64,
    /// Things that came (`--cue time`), and what else happened.
    pub things: u64,
    pub events: u64,
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            with_boxes: self.with_boxes + other.with_boxes,
            boxes: self.boxes + other.boxes,
            things: self.things + other.things,
            events: self.events + other.events,
        }
    }
}

/// What is known of a source at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    #[serde(rename = "number")]
    pub id: LaneId,
    pub name: String,
    pub state: SourceState,
    /// Nothing is made of its frames at present.
    pub paused: bool,
    /// Seconds since 1970.
    pub state_since: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    pub width: u32,
    pub height: u32,
    /// Frames that came.
    pub frames: u64,
    /// Frames the model ran on.
    pub inferred: u64,
    /// Frames the model had no time for.
    pub passed_over: u64,
    /// Frames left out, without a record: those before them were still worked on.
    pub late: u64,
    /// Frames left out because the picture had not changed (`--adaptive`).
    pub unchanged: u64,
    /// Finished frames that sinks had no time for.
    pub missed_by_sinks: u64,
    /// Frames that could not be decoded.
    pub broken: u64,
    /// Boxes in all inferred frames.
    pub objects: u64,
    /// Boxes in the last frame.
    pub objects_now: usize,
    /// How often the source came to life.
    pub connections: u64,
    /// What its past is known by: movement, and the scene.
    pub past_bytes: usize,
    /// The decoder at work, and where its frames are; none before the first, and where they come undecoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoder_memory: Option<String>,
    pub fps: f64,
    pub inferred_fps: f64,
    /// From the frame's clock time to its record, of the last inferred frames; none before the first.
    pub latency_ms: Option<Percentiles>,
    /// The same, of all.
    #[serde(skip)]
    pub latency: Histogram,
    /// What is written of it, and where.
    pub outputs: Vec<OutputSnapshot>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl Default for Board {
    fn default() -> Self {
        // Its keys are the system's chance.
        let run = format!("{:016x}", RandomState::new().hash_one(SystemTime::now()));
        let (turned_ms, sources, destinations) = Default::default();
        Self { run, started: Instant::now(), turned_ms, sources, devices: OnceLock::new(), destinations }
    }
}

impl Board {
    /// One more source, the last of all.
    pub fn enter(&self, name: String) -> Arc<SourceStatus> {
        let mut sources = self.locked();
        let (is_paused, is_stopped, is_short, regions, outputs) = Default::default();
        let (id, now) = (LaneId(sources.next), Mutex::new(Now::new()));
        let status = Arc::new(SourceStatus { id, name, is_paused, is_stopped, is_short, regions, outputs, now });
        sources.next += 1;
        sources.all.push(status.clone());
        status
    }

    /// Of this source nothing is told any longer.
    pub fn leave(&self, id: LaneId) {
        self.locked().all.retain(|source| source.id != id);
    }

    /// Those that are there, in the order in which they came.
    pub fn sources(&self) -> Vec<Arc<SourceStatus>> {
        self.locked().all.clone()
    }

    pub fn get(&self, id: LaneId) -> Option<Arc<SourceStatus>> {
        self.locked().all.iter().find(|source| source.id == id).cloned()
    }

    fn locked(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its lanes are looked after.
    pub(super) fn turned(&self) {
        self.turned_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether its lanes were looked after within this time, which they are four times a second, and on every device a run of the model has
    /// begun or ended within it, where one is under way.
    pub fn is_alive(&self, within: Duration) -> bool {
        let turned = Duration::from_millis(self.turned_ms.load(Ordering::Relaxed));
        let is_turning = self.started.elapsed().saturating_sub(turned) <= within;
        is_turning && !self.devices().iter().any(|usage| usage.is_stuck(within))
    }

    /// Messages go to one more receiver.
    pub fn sends_to(&self, destination: Arc<DestinationStatus>) {
        self.destinations.lock().unwrap_or_else(PoisonError::into_inner).push(destination);
    }

    /// Nothing goes to the receiver of this name any more.
    pub fn sends_no_more_to(&self, name: &str) {
        self.destinations.lock().unwrap_or_else(PoisonError::into_inner).retain(|destination| destination.name != name);
    }

    /// Who messages go to, in the order in which they came.
    pub fn destinations(&self) -> Vec<Arc<DestinationStatus>> {
        self.destinations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The model runs on these from now on.
    pub fn work_on(&self, devices: Vec<Arc<Usage>>) {
        self.devices.get_or_init(|| devices);
    }

    /// What the model runs on, several GPUs with a comma between, and what it computes in; none before it is there.
    pub fn ran(&self) -> Option<(String, String)> {
        let first = self.devices().first()?;
        let names = Vec::from_iter(self.devices().iter().map(|usage| usage.device.as_str()));
        Some((names.join(","), first.precision.clone()))
    }

    /// What the devices have done; none before the model is there.
    pub fn devices(&self) -> &[Arc<Usage>] {
        self.devices.get().map_or(&[], Vec::as_slice)
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for LaneId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl SourceStatus {
    /// Its frames wait, those of a live source are let go: it stays connected.
    pub fn pause(&self) {
        self.is_paused.store(true, Ordering::Relaxed);
    }

    pub fn resume(&self) {
        self.is_paused.store(false, Ordering::Relaxed);
    }

    pub fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }

    /// What its picture is parted into, for the frames that come now.
    pub fn regions(&self) -> Arc<Regions> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Holds from the next frame on.
    pub fn set_regions(&self, regions: Regions) {
        *self.regions.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(regions);
    }

    /// One more place that its frames go to.
    pub(super) fn output(&self, name: String) -> Arc<OutputStatus> {
        let output = Arc::new(OutputStatus::new(name));
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).push(output.clone());
        output
    }

    fn outputs(&self) -> Vec<OutputSnapshot> {
        let outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        outputs.iter().filter_map(|output| output.snapshot()).collect()
    }

    /// It is to end, whole.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// It is being removed.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Nothing more comes of it, and its sinks have finished.
    pub fn is_over(&self) -> bool {
        self.with(|now| now.is_over)
    }

    /// A frame came.
    pub fn arrived(&self, size: (u32, u32)) {
        self.with(|now| {
            now.size = size;
            now.frames += 1;
        });
    }

    /// A file of it lacks some of what it should hold.
    pub(super) fn fell_short(&self) {
        self.is_short.store(true, Ordering::Relaxed);
    }

    /// Whether a file of it is cut off, damaged or shorter than it says.
    pub fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// The model had no time for a frame.
    pub fn passed_over(&self) {
        self.with(|now| now.passed_over += 1);
    }

    /// A frame is left out: those before it are still worked on.
    pub(super) fn late(&self) {
        self.with(|now| now.late += 1);
    }

    /// A frame looked like the last inferred one.
    pub fn unchanged(&self) {
        self.with(|now| now.unchanged += 1);
    }

    /// A sink had no time for a message.
    pub fn missed_by_sink(&self) {
        self.with(|now| now.missed_by_sinks += 1);
    }

    /// A frame could not be decoded or analysed.
    pub fn broken(&self, frames: u64) {
        self.with(|now| now.broken += frames);
    }

    /// A frame has its record, `latency` after its clock time.
    pub fn finished(&self, record: &FrameRecord, latency: Duration) {
        self.with(|now| {
            now.objects_now = record.objects.len();
            now.finished += 1;
            now.boxes += record.objects.len() as u64;
            now.with_boxes += u64::from(!record.objects.is_empty());
            now.frame_times.push_back(Instant::now());
            now.forget_old_times();
            if record.inferred {
                now.inferred(record.objects.len());
                if now.latencies.len() == LATENCIES {
                    now.latencies.pop_front();
                }
                now.latencies.push_back(latency);
                now.latency.add(latency);
            }
        });
    }

    /// The model ran on a frame whose record could not wait for it.
    pub fn inferred(&self, objects: usize) {
        self.with(|now| now.inferred(objects));
    }

    /// Something began, goes on, ended, or was.
    pub fn happened(&self, event: &EventRecord) {
        self.with(|now| {
            let open = &mut now.happened.open;
            let is_new = match event.phase {
                Phase::Start => open.insert(event.id),
                Phase::Update => false,
                Phase::End => !open.remove(&event.id),
            };
            if is_new {
                *now.happened.counts.entry((event.event, event.zone.clone())).or_default() += 1;
            }
        });
    }

    /// What happened so far.
    pub fn events(&self) -> Happened {
        self.with(|now| now.happened.clone())
    }

    /// The source is in another state.
    pub fn changed(&self, change: &StateChange) {
        self.with(|now| {
            now.connections += u64::from(change.state == SourceState::Live && now.state != SourceState::Live);
            (now.state, now.since, now.why) = (change.state, change.at, change.why.clone());
        });
    }

    /// About how many frames there will be.
    pub fn expects(&self, frames: Option<u64>) {
        self.with(|now| now.expected = frames);
    }

    /// Its movement is known by so many bytes.
    pub fn moves_by(&self, bytes: usize) {
        self.with(|now| now.motion_bytes = bytes);
    }

    /// Its scene is known by so many bytes.
    pub fn knows_by(&self, bytes: usize) {
        self.with(|now| now.scene_bytes = bytes);
    }

    /// How its frames were made drawable so far.
    pub fn drawn(&self, count: CanvasCount) {
        self.with(|now| now.drawn = count);
    }

    /// How its frames were masked so far.
    pub fn masked(&self, count: CanvasCount) {
        self.with(|now| now.masked = count);
    }

    /// Frames with a record; about how many there will be, where that is known; boxes in them so far.
    pub fn progress(&self) -> (u64, Option<u64>, u64) {
        self.with(|now| (now.finished, now.expected, now.boxes))
    }

    /// What was found in all frames so far.
    pub fn found(&self) -> Tally {
        self.with(|now| {
            let happened = |is_thing: bool| {
                let of_kind =
                    now.happened.counts.iter().filter(|((event, _), _)| (*event == EventName::Object) == is_thing);
                of_kind.map(|(_, count)| count).sum()
            };
            Tally {
                frames: now.finished,
                with_boxes: now.with_boxes,
                boxes: now.boxes,
                things: happened(true),
                events: happened(false),
            }
        })
    }

    /// Of the last inferred frames, from clock time to record.
    pub fn latencies(&self) -> Vec<Duration> {
        self.with(|now| now.latencies.iter().copied().collect())
    }

    /// See [`Self::drawn`].
    pub fn canvas(&self) -> CanvasCount {
        self.with(|now| now.drawn)
    }

    /// See [`Self::masked`].
    pub fn masks(&self) -> CanvasCount {
        self.with(|now| now.masked)
    }

    /// It has ended: what is known of its last moments goes, since there may be a thousand more.
    pub fn ended(&self) {
        self.with(|now| {
            now.is_over = true;
            now.latencies.shrink_to_fit();
            (now.motion_bytes, now.scene_bytes) = (0, 0);
            (now.frame_times, now.inferred_times) = Default::default();
        });
    }

    /// What decodes the frames.
    pub fn decoded_by(&self, decoder: Option<Decoder>) {
        self.with(|now| now.decoder = decoder);
    }

    /// Everything, now.
    pub fn snapshot(&self) -> Snapshot {
        self.with(|now| {
            now.forget_old_times();
            // A young or a sparse source is rated over what it has.
            let span = now.frame_times.front().map_or(0.0, |first| first.elapsed().as_secs_f64());
            let rate = |count: usize| if span > 0.0 { count as f64 / span } else { 0.0 };
            Snapshot {
                id: self.id,
                name: self.name.clone(),
                state: now.state,
                paused: self.is_paused(),
                state_since: now.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
                why: now.why.clone(),
                width: now.size.0,
                height: now.size.1,
                frames: now.frames,
                inferred: now.inferred,
                passed_over: now.passed_over,
                late: now.late,
                unchanged: now.unchanged,
                missed_by_sinks: now.missed_by_sinks,
                broken: now.broken,
                objects: now.objects,
                objects_now: now.objects_now,
                connections: now.connections,
                past_bytes: now.motion_bytes + now.scene_bytes,
                decoder: now.decoder.as_ref().map(|decoder| decoder.name.clone()),
                decoder_memory: now.decoder.as_ref().map(|decoder| decoder.memory.clone()),
                fps: rate(now.frame_times.len()),
                inferred_fps: rate(now.inferred_times.len()),
                latency_ms: Percentiles::of(&now.latencies),
                latency: now.latency,
                outputs: self.outputs(),
            }
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Now) -> T) -> T {
        act(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Now {
    fn new() -> Self {
        Self {
            state: SourceState::Connecting,
            since: SystemTime::now(),
            why: None,
            size: (0, 0),
            frames: 0,
            finished: 0,
            inferred: 0,
            passed_over: 0,
            late: 0,
            unchanged: 0,
            missed_by_sinks: 0,
            broken: 0,
            objects: 0,
            boxes: 0,
            with_boxes: 0,
            objects_now: 0,
            connections: 0,
            happened: Happened::default(),
            expected: None,
            is_over: false,
            motion_bytes: 0,
            scene_bytes: 0,
            drawn: CanvasCount::default(),
            masked: CanvasCount::default(),
            decoder: None,
            latencies: VecDeque::new(),
            latency: Histogram::default(),
            frame_times: VecDeque::new(),
            inferred_times: VecDeque::new(),
        }
    }

    fn inferred(&mut self, objects: usize) {
        self.inferred += 1;
        self.objects += objects as u64;
        self.inferred_times.push_back(Instant::now());
    }

    fn forget_old_times(&mut self) {
        for times in [&mut self.frame_times, &mut self.inferred_times] {
            while times.front().is_some_and(|time| time.elapsed() > RATE_WINDOW) {
                times.pop_front();
            }
        }
    }
}

impl Percentiles {
    /// The smallest that 50, 95 and 99 of 100 are not above; none of nothing.
    pub fn of<'a>(latencies: impl IntoIterator<Item = &'a Duration>) -> Option<Self> {
        let mut sorted: Vec<f64> = latencies.into_iter().map(|latency| latency.as_secs_f64() * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        let within = |share: f64| {
            let rank = (sorted.len() as f64 * share).ceil() as usize;
            sorted.get(rank.max(1) - 1).copied()
        };
        Some(Self { p50: within(0.5)?, p95: within(0.95)?, p99: within(0.99)? })
    }
}
