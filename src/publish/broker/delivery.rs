//! One thread that brings to every receiver what waits for it, and the sinks that put it there.

use super::choice::{Past, record_of};
use super::{Destination, Order, unix_ns};
use crate::broker::{self, Client, Failure, Target};
use crate::dialect::{self, Dialect};
use crate::engine::retry::Retry;
use crate::engine::sink::{Message, Missed, Sink, SinkError, Wish};
use crate::engine::status::Board;
use crate::spool::{Cause, Gap, Mark};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::{Instant as Tick, sleep, timeout_at};
use tracing::{error, warn};

/// Letters that are handed over at once, and about how many bytes.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// From one delivery to the next, where not more waits than one takes: what comes meanwhile goes together. Each delivery costs the same, and
/// wakes the broker.
const GATHER: Duration = Duration::from_millis(8);
/// The pause before the second try, doubled before each further one, up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// That messages are refused is told this often.
const REFUSALS: Duration = Duration::from_secs(60);
/// How often what waits is looked at, by age and for the status, and is written through to the disk.
const LOOK: Duration = Duration::from_secs(1);
/// How long is waited for receivers when nothing more comes.
const LINGER: Duration = Duration::from_secs(5);

/// All receivers of a run. They may come and go while it runs.
pub struct Publisher {
    shared: Arc<Shared>,
    runtime: Handle,
    /// Dropped when the thread is to end.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    destinations: RwLock<Vec<Running>>,
    board: Arc<Board>,
    /// The run is stopped: nobody waits for long.
    stop: Arc<AtomicBool>,
}

struct Running {
    destination: Arc<Destination>,
    delivery: tokio::task::JoinHandle<()>,
}

impl Publisher {
    /// Without any receiver yet.
    pub fn start(board: Arc<Board>, stop: Arc<AtomicBool>) -> Result<Self, SinkError> {
        let fail = |error| SinkError::Other(format!("the thread that sends messages: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(fail)?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let shared = Arc::new(Shared { destinations: RwLock::default(), board, stop });
        let own = shared.clone();
        let work = move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = ended => {}
                    () = own.sync_always() => {}
                }
            });
            // Whatever a client still does in the background may not hold up the end.
            runtime.shutdown_timeout(LOOK);
        };
        let thread = thread::Builder::new().name("publish".into()).spawn(work).map_err(fail)?;
        Ok(Self { shared, runtime: handle, end: Some(end), thread: Some(thread) })
    }

    /// One more receiver, which gets what waits for it first; where one of its name is there, it takes its place, and misses nothing that comes
    /// meanwhile.
    pub fn add(&self, order: Order) -> Result<(), SinkError> {
        let other = |error: &dyn std::fmt::Display| SinkError::Other(error.to_string());
        let client = broker::open(&order.target).map_err(|error| other(&error))?;
        let mut all = self.shared.write();
        let at = all.iter().position(|running| running.destination.order.name == order.name);
        let same = at.map(|at| &all[at].destination).filter(|before| before.order.folder == order.folder);
        let destination = match same {
            Some(before) => before.renewed(order),
            None => Destination::open(order).map_err(|error| other(&error))?,
        };
        let destination = Arc::new(destination);
        let before = at.map(|at| all.remove(at));
        if let Some(Running { destination, .. }) = &before {
            destination.closing.send_replace(Some(Duration::ZERO));
            self.shared.board.sends_no_more_to(&destination.order.name);
        }
        self.shared.board.sends_to(destination.status.clone());
        let delivery = Delivery {
            destination: destination.clone(),
            client,
            stop: self.shared.stop.clone(),
            retry: None,
            refusals: Refusals::default(),
        };
        let delivery = self.runtime.spawn(async move {
            if let Some(Running { delivery, .. }) = before {
                delivery.await.ok();
            }
            delivery.run().await;
        });
        let at = at.unwrap_or(all.len());
        all.insert(at, Running { destination, delivery });
        Ok(())
    }

    /// The orders of those that are there.
    pub fn orders(&self) -> Vec<Order> {
        self.shared.read().iter().map(|running| running.destination.order.clone()).collect()
    }

    /// Ends what goes to the receiver of this name; what it does not take within some seconds stays on disk.
    pub fn remove(&self, name: &str) {
        let gone = {
            let mut all = self.shared.write();
            let at = all.iter().position(|running| running.destination.order.name == name);
            at.map(|at| all.remove(at))
        };
        if let Some(gone) = gone {
            self.finish(vec![gone]);
        }
    }

    /// The sink of one more source, which has this name in records and that one in topics.
    pub fn sink(&self, name: &str, in_topics: &str) -> Box<dyn Sink> {
        let (source, in_topics) = (name.to_owned(), in_topics.to_owned());
        Box::new(PublishSink {
            shared: self.shared.clone(),
            source,
            in_topics,
            run: String::new(),
            pasts: BTreeMap::new(),
        })
    }

    fn finish(&self, all: Vec<Running>) {
        for running in &all {
            running.destination.closing.send_replace(Some(LINGER));
        }
        let (done, is_done) = sync_channel(all.len());
        self.runtime.spawn(async move {
            for Running { destination, delivery } in all {
                delivery.await.ok();
                sync(&destination).await;
                // Who comes under its name finds its spool free: whoever syncs may have it for a moment.
                while Arc::strong_count(&destination) > 1 {
                    sleep(GATHER).await;
                }
                let name = destination.order.name.clone();
                drop(destination);
                done.send(name).ok();
            }
        });
        for name in is_done {
            self.shared.board.sends_no_more_to(&name);
        }
    }
}

impl Drop for Publisher {
    /// Waits until everything has arrived, as long as something does, and no longer than some seconds where the run is stopped.
    fn drop(&mut self) {
        let all = std::mem::take(&mut *self.shared.write());
        self.finish(all);
        self.end.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Vec<Running>> {
        self.destinations.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Running>> {
        self.destinations.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits through to the disk, again and again.
    async fn sync_always(&self) {
        loop {
            sleep(LOOK).await;
            let all = Vec::from_iter(self.read().iter().map(|running| running.destination.clone()));
            for destination in all {
                sync(&destination).await;
            }
        }
    }
}

async fn sync(destination: &Arc<Destination>) {
    let files = destination.spool().to_sync();
    if files.is_empty() {
        return;
    }
    let synced = tokio::task::spawn_blocking(move || files.iter().try_for_each(std::fs::File::sync_data));
    if let Ok(synced) = synced.await {
        destination.kept(synced);
    }
}

/// Connects, is let in, and leaves.
pub fn check(target: &Target) -> Result<(), SinkError> {
    let other = |error: &dyn std::fmt::Display| SinkError::Other(error.to_string());
    let mut client = broker::open(target).map_err(|error| other(&error))?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| other(&error))?;
    let checked = runtime.block_on(async {
        let checked = client.check().await;
        client.close().await;
        checked
    });
    runtime.shutdown_timeout(LOOK);
    checked.map_err(|error| other(&error))
}

/// What goes to one receiver.
struct Delivery {
    destination: Arc<Destination>,
    client: Box<dyn Client>,
    stop: Arc<AtomicBool>,
    /// Of a receiver that takes nothing, until it does again.
    retry: Option<Retry>,
    refusals: Refusals,
}

/// Letters that were let go since that was told.
#[derive(Default)]
struct Refusals {
    letters: u64,
    told: Option<Instant>,
}

impl Delivery {
    async fn run(mut self) {
        let mut closing = self.destination.closing.subscribe();
        let mut deadline = None;
        let mut looked = Instant::now();
        let mut due = Tick::now();
        loop {
            if let Some(linger) = *closing.borrow_and_update() {
                deadline.get_or_insert_with(|| Tick::now() + linger);
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.destination.spool().trim(unix_ns());
                self.destination.tell_depth();
            }
            if deadline.is_none() {
                tokio::time::sleep_until(due).await;
            }
            let next = self.destination.spool().next(BATCH, BATCH_BYTES);
            let letters = self.destination.kept(next);
            if letters.is_empty() {
                if deadline.is_some() {
                    break;
                }
                tokio::select! {
                    () = self.destination.wake.notified() => {}
                    _ = closing.changed() => {}
                    () = sleep(LOOK) => {}
                }
                continue;
            }
            due = if letters.len() < BATCH { Tick::now() + GATHER } else { Tick::now() };
            let delivered = match deadline {
                None => tokio::select! {
                    delivered = self.client.deliver(&letters) => Some(delivered),
                    // What was under way is handed over again: it begins anew with a bound.
                    _ = closing.changed() => continue,
                },
                Some(until) => timeout_at(until, self.client.deliver(&letters)).await.ok(),
            };
            let Some(delivered) = delivered else { break };
            self.destination.status.sent(letters.len() as u64);
            if delivered.acknowledged > 0 {
                self.acknowledged(delivered.acknowledged);
                let is_stopped = self.stop.load(Ordering::Relaxed);
                deadline = deadline.map(|until| if is_stopped { until } else { Tick::now() + LINGER });
            }
            match delivered.failure {
                None => self.recovered(),
                Some(Failure::Refused(why)) => self.refused(&why),
                Some(Failure::Away(why)) => {
                    let again = Tick::now() + self.failed(why);
                    let until = deadline.map_or(again, |until| until.min(again));
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        _ = closing.changed() => {}
                    }
                    if deadline.is_some_and(|until| Tick::now() >= until) {
                        break;
                    }
                }
            }
        }
        self.client.close().await;
        self.destination.tell_depth();
        let left = self.destination.spool().depth().letters;
        let is_replaced = *self.destination.closing.borrow() == Some(Duration::ZERO);
        if left > 0 && !is_replaced {
            let Order { name, folder, .. } = &self.destination.order;
            warn!("publish {name}: {left} messages wait in {} for the next run", folder.display());
        }
    }

    fn acknowledged(&self, letters: usize) {
        let now = unix_ns();
        let acknowledged = self.destination.spool().acknowledge(letters);
        for put_in in self.destination.kept(acknowledged) {
            self.destination.status.acknowledged(Duration::from_nanos(now.saturating_sub(put_in)));
        }
    }

    fn recovered(&mut self) {
        self.destination.status.delivers();
        if let Some(retry) = self.retry.take() {
            let (name, after) = (&self.destination.order.name, retry.lasted());
            let waiting = self.destination.spool().depth().letters;
            warn!("publish {name}: it takes messages again, after {after}; {waiting} wait");
        }
    }

    fn refused(&mut self, why: &str) {
        let (name, refusals) = (&self.destination.order.name, &mut self.refusals);
        refusals.letters += 1;
        if refusals.told.is_none_or(|told| told.elapsed() >= REFUSALS) {
            warn!("publish {name}: {} refused, and let go: {why}", messages(refusals.letters));
            *refusals = Refusals { letters: 0, told: Some(Instant::now()) };
        }
        self.destination.status.erred(why.to_owned());
        let refused = self.destination.spool().refuse();
        self.destination.kept(refused);
    }

    /// How long to wait before the next try.
    fn failed(&mut self, why: String) -> Duration {
        let name = &self.destination.order.name;
        if let Some(retry) = &mut self.retry {
            if let Some(so_far) = retry.again(LONGEST_PAUSE) {
                let waiting = self.destination.spool().depth().letters;
                error!("publish {name}: {why}; still so after {so_far}, {waiting} messages wait");
            }
        } else {
            error!("publish {name}: {why}; it is tried again, and messages wait on disk");
        }
        self.destination.status.failed(why);
        self.retry.get_or_insert_with(|| Retry::new(PAUSE)).pause()
    }
}

fn messages(count: u64) -> String {
    if count == 1 { "a message is".into() } else { format!("{count} messages are") }
}

/// Puts the records of one source into the spools of whoever gets them.
struct PublishSink {
    shared: Arc<Shared>,
    source: String,
    in_topics: String,
    /// As its records say.
    run: String,
    /// By receiver.
    pasts: BTreeMap<String, Past>,
}

/// Who gets anything of this source, each with what it got so far.
fn for_each(
    shared: &Shared,
    source: &str,
    pasts: &mut BTreeMap<String, Past>,
    mut put: impl FnMut(&Destination, &mut Past),
) {
    for Running { destination, .. } in shared.read().iter() {
        let Order { name, choice, .. } = &destination.order;
        if !choice.has_source(source) {
            continue;
        }
        if !pasts.contains_key(name) {
            pasts.insert(name.clone(), Past::default());
        }
        if let Some(past) = pasts.get_mut(name) {
            put(destination, past);
        }
    }
}

impl Sink for PublishSink {
    fn name(&self) -> String {
        "publish".into()
    }

    fn wish(&self) -> Wish {
        Box::new(|_| false)
    }

    /// What a disk does not take becomes a gap, and is no error here: the next one is to be tried at once.
    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        let record = record_of(message);
        let (run, frame) = match message {
            Message::Frame { record, .. } => (&record.run, Some(record.frame)),
            Message::Event(record) => (&record.run, None),
            Message::State(record) => (&record.run, None),
            Message::End(record) => (&record.run, None),
        };
        if self.run != *run {
            self.run.clone_from(run);
        }
        let mark = Mark::Record { run: run.clone(), frame };
        let (id, now) = (dialect::id(record), unix_ns());
        let Self { shared, source, in_topics, pasts, .. } = self;
        // What several receivers get in the same words is worded once.
        let mut worded: Option<(Dialect, Vec<dialect::Encoded>)> = None;
        for_each(shared, source, pasts, |destination, past| {
            let choice = &destination.order.choice;
            if !choice.wants(message, past) {
                return;
            }
            if worded.as_ref().is_none_or(|(dialect, _)| *dialect != choice.dialect) {
                worded = Some((choice.dialect, choice.dialect.encode(record)));
            }
            let encoded = worded.as_ref().map_or(&[][..], |(_, encoded)| encoded);
            let letters = choice.letters(message, encoded, &id, (source, in_topics));
            for letter in &letters {
                let appended = destination.spool().append(letter, &mark, now);
                destination.kept(appended);
            }
            if !letters.is_empty() {
                destination.wake.notify_one();
            }
        });
        Ok(())
    }

    fn missed(&mut self, missed: &Missed) {
        let now = unix_ns();
        let gap = Gap {
            run: self.run.clone(),
            source: self.source.clone(),
            first_frame: Some(missed.first),
            last_frame: Some(missed.last),
            first_unix_ns: now,
            last_unix_ns: now,
            ..Gap::unknown(missed.frames, Cause::Busy)
        };
        for_each(&self.shared, &self.source, &mut self.pasts, |destination, _| {
            destination.spool().missed(gap.clone());
            destination.wake.notify_one();
        });
    }
}
