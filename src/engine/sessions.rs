//! Sessions of the model, one for every shape of picture that comes: kept while there is room, the least used given up.

use crate::backbone::{BackboneError, ByShape, Model, RunMemory, give_up};
use crate::geometry::PatchLayout;
use crate::motion::Need;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Runs' memories beside those that the model works on: one is filled, one is with the finders.
pub(super) const MORE_RUNS: usize = 2;

/// Where models are from: a checkpoint, or what plays one.
pub trait Models: Send + Sync {
    /// How the model sees a picture of this displayed size.
    fn layout(&self, width: u32, height: u32) -> Result<PatchLayout, BackboneError>;
    /// The model for images of this layout, or what of it is needed, on every device that shares the work: with the middle block's keys where
    /// the past is asked, without where there is none.
    fn open(&self, layout: &PatchLayout, need: Option<Need>) -> Result<Vec<Arc<dyn Model>>, BackboneError>;
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Purpose {
    pub layout: PatchLayout,
    pub need: Option<Need>,
}

/// These, whatever the picture.
impl Models for Vec<Arc<dyn Model>> {
    fn layout(&self, _width: u32, _height: u32) -> Result<PatchLayout, BackboneError> {
        Ok(first(self)?.layout())
    }

    fn open(&self, _layout: &PatchLayout, _need: Option<Need>) -> Result<Vec<Arc<dyn Model>>, BackboneError> {
        Ok(self.clone())
    }
}

fn first(models: &[Arc<dyn Model>]) -> Result<&Arc<dyn Model>, BackboneError> {
    models.first().ok_or_else(|| BackboneError::Size("there is no model to run".into()))
}

/// The model for one shape, or half of it, with the memory of its runs.
pub struct Shape {
    pub layout: PatchLayout,
    /// One for each device.
    pub models: Vec<Arc<dyn Model>>,
    pub batch: usize,
    free: Mutex<Vec<RunMemory>>,
}

impl Shape {
    pub fn new(models: Vec<Arc<dyn Model>>) -> Result<Self, BackboneError> {
        let first = first(&models)?;
        let runs = models.iter().map(|model| model.runs_at_once()).sum::<usize>() + MORE_RUNS;
        let free = (0..runs).map(|_| first.memory()).collect::<Result<_, _>>()?;
        let (layout, batch) = (first.layout(), first.batch());
        Ok(Self { layout, batch, models, free: Mutex::new(free) })
    }

    fn free(&self) -> MutexGuard<'_, Vec<RunMemory>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn take(&self) -> Option<RunMemory> {
        self.free().pop()
    }

    pub fn give_back(&self, memory: RunMemory) {
        self.free().push(memory);
    }

    fn bytes(&self) -> usize {
        let memories = self.free().iter().map(|memory| memory.shape().bytes()).sum::<usize>();
        memories + self.models.iter().map(|model| model.bytes()).sum::<usize>()
    }
}

/// What is known of a session.
pub enum Look {
    Open(Arc<Shape>),
    /// It cannot be opened.
    Failed,
    /// It is being opened, or soon will be.
    Asked,
}

/// The shapes that are there, and those that are asked for.
pub struct Sessions<'a> {
    pub models: &'a dyn Models,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: ByShape<Purpose, Arc<Shape>>,
    /// To be opened, the one at work in front.
    wanted: VecDeque<Purpose>,
    /// Cannot be opened.
    failed: Vec<Purpose>,
    is_closed: bool,
}

impl<'a> Sessions<'a> {
    pub fn new(models: &'a dyn Models) -> Self {
        Self { models, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session for this; asks for it where there is none yet.
    pub fn look(&self, purpose: &Purpose) -> Look {
        let mut state = self.state();
        if let Some(shape) = state.open.get(purpose) {
            return Look::Open(shape.clone());
        }
        if state.failed.contains(purpose) {
            return Look::Failed;
        }
        if !state.wanted.contains(purpose) {
            state.wanted.push_back(*purpose);
            self.changed.notify_all();
        }
        Look::Asked
    }

    /// Waits for what is asked for; none when nothing more is.
    pub fn next_wanted(&self) -> Option<Purpose> {
        let mut state = self.state();
        loop {
            match state.wanted.front() {
                Some(purpose) => return Some(*purpose),
                None if state.is_closed => return None,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Opens it, which takes a while.
    pub fn open(&self, purpose: &Purpose) -> Result<Arc<Shape>, BackboneError> {
        // Not while the others wait for a look.
        let gone = self.state().open.make_room();
        give_up(gone);
        let opened = self.models.open(&purpose.layout, purpose.need).and_then(Shape::new).map(Arc::new);
        let mut state = self.state();
        state.wanted.retain(|wanted| wanted != purpose);
        match &opened {
            Ok(shape) => state.open.put(*purpose, shape.clone(), shape.bytes()),
            Err(_) => state.failed.push(*purpose),
        }
        opened
    }

    /// No more are asked for.
    pub fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }
}
