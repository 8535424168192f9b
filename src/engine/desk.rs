//! Who may write which picture of which run, and who has what the model gave: the runs' memory goes round, nothing is copied.

use super::sessions::Shape;
use crate::backbone::{Picture, RunMemory};
use ndarray::{CowArray, Ix2};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The runs of all shapes, and where each is. `T` goes with a picture.
pub struct Desk<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Runs that may be filled before the model asks for them.
    ahead: Arc<AtomicUsize>,
}

struct State<T> {
    /// Being filled, or waiting for the model; only the last of a shape takes more pictures.
    filling: VecDeque<Filling<T>>,
    opened: u64,
    /// Threads of the model that wait.
    idle: usize,
    /// No more pictures come.
    is_closed: bool,
    /// Nobody is to wait any longer.
    has_failed: bool,
}

struct Filling<T> {
    number: u64,
    shape: Arc<Shape>,
    memory: RunMemory,
    /// None where nothing was written, or not yet.
    items: Vec<Option<T>>,
    /// Places that are being written.
    out: usize,
}

/// One picture's place in a run, to be written.
pub struct Place<T> {
    desk: Arc<Desk<T>>,
    number: u64,
    index: usize,
    picture: Option<Picture>,
    item: Option<T>,
}

/// A run's pictures, ready for the model.
pub struct Run<T> {
    pub shape: Arc<Shape>,
    pub memory: RunMemory,
    pub items: Vec<Option<T>>,
}

/// What the model gave for one picture, lent.
pub struct Lease<T> {
    run: Arc<Lent<T>>,
    index: usize,
}

/// Goes back to the desk with its last lease.
struct Lent<T> {
    desk: Arc<Desk<T>>,
    shape: Arc<Shape>,
    memory: Option<RunMemory>,
}

impl<T> Desk<T> {
    /// `ahead` runs are filled before the model asks, which live pictures should not be: they would be older than need be.
    pub fn new(ahead: Arc<AtomicUsize>) -> Arc<Self> {
        let state = State { filling: VecDeque::new(), opened: 0, idle: 0, is_closed: false, has_failed: false };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new(), ahead })
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the model wants a picture of this shape; none where it has failed.
    pub fn place(self: &Arc<Self>, shape: &Arc<Shape>) -> Option<Place<T>> {
        let mut state = self.state();
        loop {
            if state.has_failed {
                return None;
            }
            let own = |filling: &Filling<T>| Arc::ptr_eq(&filling.shape, shape) && filling.items.len() < shape.batch;
            if !state.filling.iter().any(own)
                && state.filling.len() < state.idle + self.ahead.load(Ordering::Relaxed)
                && let Some(memory) = shape.take()
            {
                let number = state.opened;
                state.opened += 1;
                state.filling.push_back(Filling { number, shape: shape.clone(), memory, items: Vec::new(), out: 0 });
            }
            if let Some(run) = state.filling.iter_mut().find(|filling| own(filling))
                && let Some(picture) = run.memory.take(run.items.len())
            {
                let (number, index) = (run.number, run.items.len());
                run.items.push(None);
                run.out += 1;
                return Some(Place { desk: self.clone(), number, index, picture: Some(picture), item: None });
            }
            state = self.wait(state);
        }
    }

    /// Waits for pictures; none once there will be no more.
    pub fn take(&self) -> Option<Run<T>> {
        let mut state = self.state();
        state.idle += 1;
        // One more run may be opened now.
        self.changed.notify_all();
        loop {
            if state.has_failed || state.is_closed && state.filling.is_empty() {
                state.idle -= 1;
                return None;
            }
            if state.filling.front().is_some_and(|first| first.out == 0)
                && let Some(Filling { shape, memory, items, .. }) = state.filling.pop_front()
            {
                if items.iter().any(Option::is_some) {
                    state.idle -= 1;
                    return Some(Run { shape, memory, items });
                }
                shape.give_back(memory);
                self.changed.notify_all();
                continue;
            }
            state = self.wait(state);
        }
    }

    /// What the model gave for each of the run's pictures.
    pub fn lend(self: &Arc<Self>, Run { shape, memory, items }: Run<T>) -> impl Iterator<Item = (T, Lease<T>)> {
        let run = Arc::new(Lent { desk: self.clone(), shape, memory: Some(memory) });
        let lease = move |(index, item): (usize, Option<T>)| Some((item?, Lease { run: run.clone(), index }));
        items.into_iter().enumerate().filter_map(lease)
    }

    /// No more pictures will come.
    pub fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// Nobody is to wait for anything any longer.
    pub fn fail(&self) {
        self.state().has_failed = true;
        self.changed.notify_all();
    }
}

impl<T> Place<T> {
    /// Where the picture is written, packed RGB.
    pub fn pixels(&mut self) -> &mut [u8] {
        self.picture.as_mut().map(AsMut::as_mut).unwrap_or_default()
    }

    /// The picture is written. Dropping a place instead says that there is none.
    pub fn fill(mut self, item: T) {
        self.item = Some(item);
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        let mut state = self.desk.state();
        let (item, picture, index) = (self.item.take(), self.picture.take(), self.index);
        if let Some(own) = state.filling.iter_mut().find(|filling| filling.number == self.number) {
            own.out -= 1;
            if let Some(picture) = picture {
                // It is from this run's memory.
                own.memory.put(picture).ok();
            }
            if item.is_none() && own.items.len() == index + 1 {
                // The next may have it.
                own.items.pop();
            } else {
                own.items[index] = item;
            }
        }
        drop(state);
        self.desk.changed.notify_all();
    }
}

impl<T> Lease<T> {
    /// `[N, D]`, or `[heads, N]`.
    pub fn values(&self) -> CowArray<'_, f32, Ix2> {
        let none = || CowArray::from(ndarray::Array2::default((0, 0)));
        self.run.memory.as_ref().map_or_else(none, |memory| memory.values(self.index))
    }
}

impl<T> Lease<T> {
    /// The middle block's keys `[N, D]`, where the session gives them.
    pub fn middle(&self) -> Option<CowArray<'_, f32, Ix2>> {
        self.run.memory.as_ref()?.middle(self.index)
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        // Whoever has just looked for memory and is about to wait holds the lock.
        let state = self.desk.state();
        self.memory.take().into_iter().for_each(|memory| self.shape.give_back(memory));
        drop(state);
        self.desk.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::{BackboneError, Element, MemoryKind, Model, RunShape};
    use crate::engine::sessions::MORE_RUNS;
    use crate::geometry::{Grid, PatchLayout};

    const SHAPE: RunShape = RunShape { batch: 2, width: 4, height: 2, rows: 3, cols: 2, element: Element::F32 };

    /// Has so many runs' memory, two of which are always there besides.
    struct Played(usize);

    impl Model for Played {
        fn layout(&self) -> PatchLayout {
            PatchLayout { grid: Grid { rows: 1, cols: 3 }, patch: 8, image_width: 4, image_height: 2 }
        }

        fn device(&self) -> String {
            "cpu".into()
        }

        fn batch(&self) -> usize {
            SHAPE.batch
        }

        fn runs_at_once(&self) -> usize {
            self.0 - MORE_RUNS
        }

        fn memory(&self) -> Result<RunMemory, BackboneError> {
            RunMemory::new(&MemoryKind::Plain, SHAPE)
        }

        fn run(&self, _memory: &mut RunMemory, _count: usize) -> Result<(), BackboneError> {
            Ok(())
        }
    }

    /// A desk, and a shape with the memory of so many runs.
    fn desk(runs: usize, ahead: usize) -> (Arc<Desk<u32>>, Arc<Shape>) {
        (Desk::new(Arc::new(ahead.into())), Arc::new(Shape::new(vec![Arc::new(Played(runs))]).unwrap()))
    }

    #[test]
    fn pictures_are_written_where_the_model_reads_them_and_features_read_where_it_wrote_them() {
        let (desk, shape) = desk(2, 1);
        let mut places = [desk.place(&shape).unwrap(), desk.place(&shape).unwrap()];
        let written = places.each_mut().map(|place| {
            let number = place.index as u8 + 1;
            place.pixels().fill(number);
            place.pixels().as_ptr()
        });
        // In any order.
        let [first, second] = places;
        second.fill(20);
        first.fill(10);
        let mut run = desk.take().unwrap();
        let pixels = run.memory.pixels(2).unwrap();
        assert_eq!([pixels.as_ptr(), pixels[24..].as_ptr()], written);
        assert_eq!((pixels[0], pixels[23], pixels[24], pixels[47]), (1, 1, 2, 2));
        let output = run.memory.output_mut().unwrap();
        output.iter_mut().enumerate().for_each(|(at, value)| *value = at as f32);
        let output = output.as_ptr();
        let lent: Vec<_> = desk.lend(run).collect();
        assert_eq!(lent.iter().map(|(item, _)| *item).collect::<Vec<_>>(), [10, 20]);
        let values = lent[1].1.values();
        assert!(values.is_view());
        assert_eq!(values.as_ptr(), output.wrapping_add(6));
        assert_eq!(values[[2, 1]], 11.0);
    }

    #[test]
    fn memory_is_free_again_with_its_last_lease() {
        let (desk, shape) = desk(2, 1);
        desk.place(&shape).unwrap().fill(1);
        let lent: Vec<_> = desk.lend(desk.take().unwrap()).collect();
        let other = shape.take();
        assert!(other.is_some() && shape.take().is_none());
        drop(lent);
        assert!(shape.take().is_some());
    }

    #[test]
    fn a_place_that_is_given_up_is_the_next_ones_or_a_hole() {
        let (desk, shape) = desk(2, 1);
        drop(desk.place(&shape).unwrap());
        let (hole, kept) = (desk.place(&shape).unwrap(), desk.place(&shape).unwrap());
        assert_eq!((hole.index, kept.index), (0, 1));
        drop(hole);
        kept.fill(7);
        let run = desk.take().unwrap();
        assert_eq!(run.items, [None, Some(7)]);
    }

    #[test]
    fn live_pictures_are_made_when_the_model_waits_and_not_before() {
        let (desk, shape) = desk(3, 0);
        std::thread::scope(|scope| {
            let model = scope.spawn(|| desk.take().map(|run| run.items));
            // It waits for the model.
            desk.place(&shape).unwrap().fill(1);
            assert_eq!(model.join().unwrap(), Some(vec![Some(1)]));
            let late = scope.spawn(|| desk.place(&shape).is_some());
            desk.fail();
            assert!(!late.join().unwrap(), "the model does not wait, and fails");
        });
    }

    #[test]
    fn what_is_written_before_the_end_is_run() {
        let (desk, shape) = desk(2, 1);
        desk.place(&shape).unwrap().fill(1);
        desk.close();
        assert_eq!(desk.take().unwrap().items, [Some(1)]);
        assert!(desk.take().is_none());
    }

    #[test]
    fn a_run_has_pictures_of_one_shape() {
        let (desk, wide) = desk(2, 2);
        let tall = Arc::new(Shape::new(vec![Arc::new(Played(2))]).unwrap());
        for (shape, item) in [(&wide, 1), (&tall, 2), (&wide, 3), (&tall, 4)] {
            desk.place(shape).unwrap().fill(item);
        }
        let run = || desk.take().map(|run| (Arc::ptr_eq(&run.shape, &wide), run.items));
        assert_eq!(run(), Some((true, vec![Some(1), Some(3)])));
        assert_eq!(run(), Some((false, vec![Some(2), Some(4)])));
    }
}
