//! What a run sends to others, each of which loses nothing.
//!
//! ```text
//! a source's sink ─► which records, in whose words ─► spool (disk) ─► delivery, all on one thread ─► the broker's client
//! ```
//!
//! The sink comes back when a letter is on disk: no receiver holds a source up, and none another.

mod choice;
mod delivery;

#[cfg(feature = "mqtt")]
pub(super) use choice::one_level;
pub use choice::{Choice, CloudEvents, Kinds, Pace, RecordKind, Topic};
pub use delivery::{Publisher, check};

use crate::broker::{self, Letter, Target};
use crate::engine::destinations::{DestinationStatus, Waiting};
use crate::record::{GapRecord, VERSION};
use crate::spool::{Bounds, Cause, Gap, Spool, SpoolError, Tell};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};

/// One receiver, as it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Of no other in the run; its spool is kept under it from one run to the next.
    pub name: String,
    pub target: Target,
    pub choice: Choice,
    /// What waits is kept here.
    pub folder: PathBuf,
    pub bounds: Bounds,
}

/// A receiver at work.
struct Destination {
    order: Order,
    spool: Arc<Mutex<Spool>>,
    /// Something was put into the spool.
    wake: Notify,
    /// Until when it may still deliver, once nothing more comes.
    closing: watch::Sender<Option<Duration>>,
    status: Arc<DestinationStatus>,
}

impl Destination {
    fn open(order: Order) -> Result<Self, SpoolError> {
        let spool = Spool::open(&order.folder, order.bounds, tell(&order.choice))?;
        Ok(Self::of(order, Arc::new(Mutex::new(spool))))
    }

    /// Another in its place, for whom the same waits.
    fn renewed(&self, order: Order) -> Self {
        self.spool().renew(order.bounds, tell(&order.choice));
        Self::of(order, self.spool.clone())
    }

    fn of(order: Order, spool: Arc<Mutex<Spool>>) -> Self {
        let status = DestinationStatus::new(order.name.clone(), broker::shown(&order.target.url), order.bounds.bytes);
        let (wake, closing) = (Notify::new(), watch::Sender::new(None));
        let destination = Self { spool, wake, closing, status: Arc::new(status), order };
        destination.tell_depth();
        destination
    }

    fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the disk gave; where it failed, that is told, and there is nothing.
    fn kept<T: Default>(&self, done: io::Result<T>) -> T {
        done.unwrap_or_else(|error| {
            self.status.erred(format!("{}: {error}", self.order.folder.display()));
            T::default()
        })
    }

    fn tell_depth(&self) {
        let depth = self.spool().depth();
        let lost = Cause::ALL.iter().map(|cause| (cause.name(), depth.lost.of(*cause)));
        self.status.waits(Waiting {
            messages: depth.letters,
            bytes: depth.bytes,
            oldest: depth.oldest_ns.map(|at| UNIX_EPOCH + Duration::from_nanos(at)),
            lost: lost.collect(),
        });
    }
}

/// What makes letters of gaps.
fn tell(choice: &Choice) -> Tell {
    let choice = choice.clone();
    Box::new(move |gap| letter_of(gap, choice.gap_topic(&gap.source)))
}

/// Now, in nanoseconds since 1970.
fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// A gap in the record's own words: no other dialect has any.
fn letter_of(gap: &Gap, topic: String) -> Letter {
    let at = |unix_ns: u64| Some(unix_ns).filter(|at| *at > 0);
    let record = GapRecord {
        version: VERSION,
        run: gap.run.clone(),
        source: gap.source.clone(),
        cause: gap.cause.name().into(),
        lost: gap.lost,
        first_frame: gap.first_frame,
        last_frame: gap.last_frame,
        first_unix_ns: at(gap.first_unix_ns),
        last_unix_ns: at(gap.last_unix_ns),
    };
    let Gap { run, source, lost, first_unix_ns, last_unix_ns, .. } = gap;
    Letter {
        topic,
        source: source.clone(),
        id: format!("{run}/{source}/gap/{}/{first_unix_ns}-{last_unix_ns}/{lost}", gap.cause.name()),
        content_type: "application/json".into(),
        retain: false,
        headers: Vec::new(),
        body: serde_json::to_vec(&record).unwrap_or_default(),
    }
}
