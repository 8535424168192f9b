//! Sources as devices of Home Assistant, over its MQTT broker: whether the camera is there, how many objects, motion, zones, what happened last
//! with a picture, and how often the model runs.
//!
//! ```text
//! a source's sink ─► what is known of it ─► every half second, the letters that say so; those that differ from what the broker has ─► client
//! ```
//!
//! All letters are retained, and say how things are: nothing waits on disk. After a new connection, and when Home Assistant says that it
//! has begun, all are sent again.

mod device;

use super::event_pictures::{EventPictures, Jpeg};
use crate::broker::{Client, Failure, Letter, Mqtt, Target, shown};
use crate::engine::destinations::DestinationStatus;
use crate::engine::retry::Retry;
use crate::engine::sink::{Message, Sink, SinkError, Wish};
use crate::engine::status::{Board, LaneId, Snapshot, SourceStatus};
use crate::record::{EventName, EventRecord, Phase, SourceState};
use crate::stream::StreamError;
use device::{Device, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, warn};

/// What it is called in the log, the metrics and on the page.
const NAME: &str = "home-assistant";
/// How often what is known is told, where it is otherwise.
const TICK: Duration = Duration::from_millis(500);
/// How often rates are.
const RATES: Duration = Duration::from_secs(10);
/// The pause before the second try, doubled before each further one, up to the longest.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// That the broker does not take something is told this often.
const REFUSALS: Duration = Duration::from_secs(60);
/// Events whose pictures are kept, for each source.
const PICTURES: usize = 16;
/// How long the broker is waited for at the end.
const LINGER: Duration = Duration::from_secs(3);

/// Where Home Assistant's broker is, and how it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub target: Target,
    /// Under which Home Assistant looks for devices.
    pub prefix: String,
    /// This machine's name: of two with the same sources one would be the other.
    pub machine: String,
}

/// Tells Home Assistant as long as it lives; each source has a sink.
pub struct HomeAssistant {
    shared: Arc<Shared>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    board: Arc<Board>,
    seen: Mutex<BTreeMap<LaneId, Seen>>,
}

/// What the board does not know of a source.
#[derive(Default)]
struct Seen {
    is_moving: bool,
    /// Of what is in them, by the names of zones.
    inside: BTreeMap<String, BTreeSet<u64>>,
    /// The last event.
    last: Option<(u64, Vec<u8>)>,
    /// By event; and whose is shown: that of the last that has one.
    pictures: BTreeMap<u64, Jpeg>,
    shown: Option<u64>,
}

impl Seen {
    fn show(&mut self, id: u64, jpeg: Jpeg) {
        self.pictures.insert(id, jpeg);
        while self.pictures.len() > PICTURES {
            self.pictures.pop_first();
        }
        if self.last.as_ref().is_some_and(|(last, _)| *last == id) {
            self.shown = Some(id);
        }
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, BTreeMap<LaneId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HomeAssistant {
    /// # Errors
    ///
    /// Where the address is none of an MQTT broker, or there is no thread; the broker itself may come later.
    pub fn start(order: Order, board: Arc<Board>) -> Result<Self, SinkError> {
        let fail = |error: &dyn std::fmt::Display| SinkError::Other(format!("{NAME}: {error}"));
        let begins = [format!("{}/status", order.prefix), "online".into()];
        let (client, begun) = Mqtt::new(&order.target)
            .map_err(|error| fail(&error))?
            .telling(Device::status_topic(&order.machine), begins);
        let status = Arc::new(DestinationStatus::new(NAME.into(), shown(&order.target.url), 0));
        board.sends_to(status.clone());
        let shared = Arc::new(Shared { board, seen: Mutex::default() });
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| fail(&error))?;
        let (end, ended) = oneshot::channel();
        let teller = Teller {
            shared: shared.clone(),
            order,
            client,
            begun,
            status,
            told: BTreeMap::new(),
            retry: None,
            refused: None,
        };
        let work = move || {
            runtime.block_on(teller.run(ended));
            runtime.shutdown_timeout(TICK);
        };
        let thread = thread::Builder::new().name(NAME.into()).spawn(work).map_err(|error| fail(&error))?;
        Ok(Self { shared, end: Some(end), thread: Some(thread) })
    }

    /// The sink of one more source.
    pub fn sink(&self, source: &SourceStatus) -> Box<dyn Sink> {
        Box::new(HomeSink { shared: self.shared.clone(), id: source.id, pictures: EventPictures::new() })
    }
}

impl Drop for HomeAssistant {
    /// Says that the program is gone.
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        self.shared.board.sends_no_more_to(NAME);
    }
}

struct Teller {
    shared: Arc<Shared>,
    order: Order,
    client: Mqtt,
    /// Counts connections, and how often Home Assistant has begun.
    begun: Arc<AtomicU64>,
    status: Arc<DestinationStatus>,
    /// What the broker has of each topic, as far as is known.
    told: BTreeMap<String, Arc<[u8]>>,
    retry: Option<Retry>,
    /// When that was told last.
    refused: Option<Instant>,
}

impl Teller {
    async fn run(mut self, mut ended: oneshot::Receiver<()>) {
        let mut rates: BTreeMap<LaneId, f64> = BTreeMap::new();
        let mut rated: Option<Instant> = None;
        let mut known = 0;
        loop {
            let sources: Vec<Snapshot> = self.shared.board.sources().iter().map(|source| source.snapshot()).collect();
            if rated.is_none_or(|rated| rated.elapsed() >= RATES) {
                rated = Some(Instant::now());
                rates = sources.iter().map(|source| (source.id, source.inferred_fps)).collect();
            }
            let letters = self.letters(&sources, &rates);
            let work = async {
                let pause = self.tell(&letters).await;
                sleep(pause).await;
            };
            tokio::select! {
                // Where letters are on their way the broker says itself that the program is gone.
                _ = &mut ended => break,
                () = work => {}
            }
            // A new connection may be one to a broker that has forgotten all.
            let begun = self.begun.load(Ordering::Relaxed);
            if std::mem::replace(&mut known, begun) != begun {
                self.told.clear();
            }
        }
        let _ = timeout(LINGER, self.client.close()).await;
    }

    /// How things are, in the order in which it is told.
    fn letters(&self, sources: &[Snapshot], rates: &BTreeMap<LaneId, f64>) -> Vec<(String, Arc<[u8]>)> {
        let mut letters = Vec::new();
        let mut seen = self.shared.seen();
        seen.retain(|id, _| sources.iter().any(|source| source.id == *id));
        for source in sources {
            let device = Device { machine: self.order.machine.clone(), source: source.name.clone() };
            let Some(status) = self.shared.board.get(source.id) else { continue };
            let regions = status.regions();
            let zones = || regions.zones.iter().map(|zone| zone.name.as_str());
            let own = seen.entry(source.id).or_default();
            let is_online = source.state == SourceState::Live;
            let is_looked_at = is_online && !source.paused;
            let is_in = |zone: &str| own.inside.get(zone).is_some_and(|inside| !inside.is_empty());
            let state = State {
                is_online,
                objects: source.objects_now,
                is_moving: is_looked_at && own.is_moving,
                rate: rates.get(&source.id).copied().unwrap_or_default(),
                zones: zones().map(|zone| (zone.to_owned(), is_looked_at && is_in(zone))).collect(),
            };
            let available: &[u8] = if is_looked_at { b"online" } else { b"offline" };
            letters.push((device.discovery_topic(&self.order.prefix), bytes(&device.discovery(zones()))));
            letters.push((device.topic("available"), available.into()));
            letters.push((device.topic("state"), bytes(&state.told())));
            letters.extend(own.last.iter().map(|(_, told)| (device.topic("event"), told.as_slice().into())));
            let shown = own.shown.and_then(|id| own.pictures.get(&id));
            letters.extend(shown.map(|jpeg| (device.topic("picture"), jpeg.clone())));
        }
        letters
    }

    /// Hands over what the broker does not have yet; gives how long to wait until the next time.
    async fn tell(&mut self, wanted: &[(String, Arc<[u8]>)]) -> Duration {
        let is_new = |(topic, body): &&(String, Arc<[u8]>)| self.told.get(topic).is_none_or(|told| told != body);
        let mut new: Vec<(String, Arc<[u8]>)> = wanted.iter().filter(is_new).cloned().collect();
        // An empty letter takes a retained one away: of a source that is no more.
        let is_gone = |topic: &&String| !wanted.iter().any(|(other, _)| other == *topic);
        let gone: Vec<String> = self
            .told
            .iter()
            .filter(|(_, told)| !told.is_empty())
            .map(|(topic, _)| topic)
            .filter(is_gone)
            .cloned()
            .collect();
        new.extend(gone.into_iter().map(|topic| (topic, Arc::from([]))));
        let letter = |(topic, body): &(String, Arc<[u8]>)| Letter {
            topic: topic.clone(),
            retain: true,
            body: body.to_vec(),
            ..Letter::default()
        };
        let letters: Vec<Letter> = new.iter().map(letter).collect();
        let delivered = self.client.deliver(&letters).await;
        self.status.sent(letters.len() as u64);
        let refused = matches!(delivered.failure, Some(Failure::Refused(_)));
        // What it never takes is not offered again, until it is otherwise.
        let taken = delivered.acknowledged + usize::from(refused);
        for (topic, body) in new.into_iter().take(taken) {
            self.told.insert(topic, body);
        }
        (0..delivered.acknowledged).for_each(|_| self.status.acknowledged(Duration::ZERO));
        match delivered.failure {
            None => {
                self.status.delivers();
                if let Some(retry) = self.retry.take() {
                    warn!("{NAME}: the broker is there again, after {}", retry.lasted());
                }
                TICK
            }
            Some(Failure::Refused(why)) => {
                if self.refused.is_none_or(|told| told.elapsed() >= REFUSALS) {
                    self.refused = Some(Instant::now());
                    warn!("{NAME}: {why}");
                }
                self.status.erred(why);
                TICK
            }
            Some(Failure::Away(why)) => self.failed(why),
        }
    }

    fn failed(&mut self, why: String) -> Duration {
        if let Some(retry) = &mut self.retry {
            if let Some(so_far) = retry.again(LONGEST_PAUSE) {
                error!("{NAME}: {why}; still so after {so_far}");
            }
        } else {
            error!("{NAME}: {why}; it is tried again");
        }
        self.status.failed(why);
        self.retry.get_or_insert_with(|| Retry::new(PAUSE)).pause()
    }
}

fn bytes(value: &serde_json::Value) -> Arc<[u8]> {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Keeps what is known of one source.
struct HomeSink {
    shared: Arc<Shared>,
    id: LaneId,
    pictures: EventPictures,
}

impl HomeSink {
    fn know(&self, act: impl FnOnce(&mut Seen)) {
        act(self.shared.seen().entry(self.id).or_default());
    }

    fn happened(&mut self, line: &EventRecord) -> Result<(), StreamError> {
        let first = self.pictures.first(line)?;
        self.pictures.told(line, line.id, first.is_some());
        let told = match line.phase {
            Phase::Update => None,
            Phase::Start | Phase::End => Some(serde_json::to_vec(&device::told(line)).unwrap_or_default()),
        };
        self.know(|seen| {
            if let (EventName::Zone, Some(zone)) = (line.event, &line.zone) {
                let inside = seen.inside.entry(zone.clone()).or_default();
                match line.phase {
                    Phase::End => _ = inside.remove(&line.id),
                    Phase::Start | Phase::Update => _ = inside.insert(line.id),
                }
            }
            if let Some(told) = told {
                seen.last = Some((line.id, told));
                if seen.pictures.contains_key(&line.id) {
                    seen.shown = Some(line.id);
                }
            }
            first.into_iter().for_each(|jpeg| seen.show(line.id, jpeg));
        });
        Ok(())
    }
}

impl Sink for HomeSink {
    fn name(&self) -> String {
        NAME.into()
    }

    fn wish(&self) -> Wish {
        self.pictures.wish()
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        let picture_fails = |error: StreamError| SinkError::Other(format!("a picture: {error}"));
        match message {
            Message::Frame { record, picture } => {
                let better = self.pictures.see(record, picture.as_ref()).map_err(picture_fails)?;
                let is_moving = record.objects.iter().any(|object| object.track.is_some_and(|track| track.is_moving()));
                self.know(|seen| {
                    seen.is_moving = is_moving;
                    better.into_iter().for_each(|(id, jpeg)| seen.show(id, jpeg));
                });
            }
            Message::Event(line) => self.happened(line).map_err(picture_fails)?,
            Message::State(_) | Message::End(_) => {}
        }
        Ok(())
    }
}
