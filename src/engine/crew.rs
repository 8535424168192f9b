//! The threads around the model: those that run it, and those that find objects in what it gave.

use super::TRACE;
use super::desk::{Desk, Lease};
use super::histogram::Histogram;
use super::sessions::{MORE_RUNS, Shape};
use crate::backbone::{BackboneError, Model};
use crate::discover::groups::{Groups, Named, named};
use crate::localize::{LocalizeError, Localizer, PatchOutput};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};
use tracing::dispatcher::{get_default, with_default};
use tracing::trace_span;

/// Why frames go no further.
#[derive(Debug, thiserror::Error)]
pub enum CrewError {
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    #[error("the {0} thread stopped unexpectedly; please report this")]
    Panic(&'static str),
}

/// What the model gave for one picture, and how long the whole run took.
pub struct Looked<T> {
    pub item: T,
    pub shape: Arc<Shape>,
    pub lease: Lease<T>,
    pub inference: Duration,
}

/// What a device has done.
#[derive(Debug)]
pub struct Usage {
    pub device: String,
    /// What it computes in.
    pub precision: String,
    /// Pictures of one run, at most.
    pub batch: usize,
    pub runs_at_once: usize,
    work: Mutex<Work>,
}

#[derive(Debug)]
struct Work {
    /// Runs, and since when there are as many.
    under_way: usize,
    since: Instant,
    pictures: u64,
    /// Of the runs that have ended, each.
    took: Histogram,
}

impl Usage {
    fn new(model: &dyn Model) -> Arc<Self> {
        let (device, batch, runs_at_once) = (model.device(), model.batch(), model.runs_at_once());
        let work = Work { under_way: 0, since: Instant::now(), pictures: 0, took: Histogram::default() };
        Arc::new(Self { device, precision: model.precision().to_string(), batch, runs_at_once, work: Mutex::new(work) })
    }

    pub fn runs(&self) -> u64 {
        self.took().count()
    }

    pub fn pictures(&self) -> u64 {
        self.work().pictures
    }

    /// The sum of all runs, those at the same time each for itself.
    pub fn busy(&self) -> Duration {
        self.took().sum()
    }

    /// How long each run of the model took.
    pub fn took(&self) -> Histogram {
        self.work().took
    }

    /// Whether runs are under way, and none has begun or ended for this long.
    pub fn is_stuck(&self, within: Duration) -> bool {
        let work = self.work();
        work.under_way > 0 && work.since.elapsed() > within
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        let mut work = self.work();
        work.under_way += 1;
        work.since = Instant::now();
    }

    fn end(&self, pictures: usize, took: Duration) {
        let mut work = self.work();
        work.under_way = work.under_way.saturating_sub(1);
        work.since = Instant::now();
        work.pictures += pictures as u64;
        work.took.add(took);
    }
}

/// Threads that make pictures for the model: a conversion takes about a tenth of a core's second for a hundred frames.
pub fn feeders() -> usize {
    (cores() / 4).clamp(1, 8)
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Frames that can be on their way through the model and what is around it.
pub fn depth(shape: &Shape) -> usize {
    shape.models.iter().map(|model| model.batch() * model.runs_at_once()).sum::<usize>() + MORE_RUNS * shape.batch
}

/// The threads at work.
pub struct Crew<'scope> {
    models: Vec<ScopedJoinHandle<'scope, Result<(), BackboneError>>>,
    finders: Vec<ScopedJoinHandle<'scope, ()>>,
    pub usage: Vec<Arc<Usage>>,
}

impl<'scope> Crew<'scope> {
    /// As many threads for each device as the first shape's model wants, and a finder for each core. `ahead`: see [`Desk::new`].
    pub fn start<'env, T: Send + 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        first: &Shape,
        ahead: &Arc<AtomicUsize>,
        find: impl Fn(Looked<T>) + Send + Sync + 'scope,
    ) -> Result<(Arc<Desk<T>>, Self), CrewError> {
        let desk = Desk::new(ahead.clone());
        let (to_find, looked) = bounded::<Looked<T>>(first.batch);
        let mut crew = Self { models: Vec::new(), finders: Vec::new(), usage: Vec::new() };
        let find = Arc::new(find);
        let spawned = (|| {
            for _ in 0..cores() {
                let (find, looked, desk): (_, Receiver<Looked<T>>, _) = (find.clone(), looked.clone(), desk.clone());
                let work = move || {
                    let _end = EndOfThread(&desk);
                    looked.iter().for_each(|looked| find(looked));
                };
                crew.finders.push(spawn(scope, "find", work)?);
            }
            for (device, model) in first.models.iter().enumerate() {
                let usage = Usage::new(&**model);
                for _ in 0..model.runs_at_once() {
                    let (desk, to_find, usage) = (desk.clone(), to_find.clone(), usage.clone());
                    crew.models.push(spawn(scope, "infer", move || infer(device, &desk, &to_find, &usage))?);
                }
                crew.usage.push(usage);
            }
            Ok(())
        })();
        if let Err(error) = spawned {
            desk.fail();
            return Err(CrewError::Thread(error));
        }
        Ok((desk, crew))
    }

    /// Until the desk is closed or the model fails.
    pub fn join(self) -> Result<(), CrewError> {
        let models = self.models.into_iter().map(|thread| thread.join().map_err(|_| CrewError::Panic("infer")));
        // All are waited for; the first error counts.
        let ran = models.map(|ran| ran.and_then(|ran| ran.map_err(CrewError::from))).fold(Ok(()), Result::and);
        let found = self.finders.into_iter().map(|thread| thread.join().map_err(|_| CrewError::Panic("find")));
        ran.and(found.fold(Ok(()), Result::and))
    }
}

pub(crate) fn spawn<'scope, R: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> R + Send + 'scope,
) -> std::io::Result<ScopedJoinHandle<'scope, R>> {
    // Who listens to the caller's log listens to this thread's.
    let log = get_default(Clone::clone);
    Builder::new().name(name.into()).spawn_scoped(scope, move || with_default(&log, work))
}

/// Nobody waits for a thread that is no more.
pub(super) struct EndOfThread<'a, T>(pub &'a Desk<T>);

impl<T> Drop for EndOfThread<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}

/// A thread of one of the devices, which only feeds it.
fn infer<T>(
    device: usize,
    desk: &Arc<Desk<T>>,
    to_find: &Sender<Looked<T>>,
    usage: &Usage,
) -> Result<(), BackboneError> {
    let _end = EndOfThread(desk);
    while let Some(mut run) = desk.take() {
        let count = run.items.len();
        let start = Instant::now();
        let shape = run.shape.clone();
        // A model has as many devices in every shape.
        let Some(model) = shape.models.get(device) else { continue };
        usage.begin();
        let ran =
            trace_span!(target: TRACE, "infer", pictures = count as u64).in_scope(|| model.run(&mut run.memory, count));
        if let Err(error) = ran {
            desk.fail();
            return Err(error);
        }
        let inference = start.elapsed();
        usage.end(count, inference);
        for (item, lease) in desk.lend(run) {
            if to_find.send(Looked { item, shape: shape.clone(), lease, inference }).is_err() {
                desk.fail();
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The objects of the picture.
pub fn find<T>(
    localizer: &Localizer,
    groups: Option<&Groups>,
    looked: &Looked<T>,
) -> Result<Vec<Named>, LocalizeError> {
    let (layout, values) = (&looked.shape.layout, looked.lease.values());
    let patches = PatchOutput::new(localizer.method, layout.grid, values)?;
    let found = localizer.localize(&patches, layout)?;
    Ok(named(groups, &patches, found))
}
