//! The memory of a run: pictures in, features out.
//!
//! ONNX Runtime is told that it is plain memory of the CPU, whatever it is: then every version of it takes it for input and output,
//! of any number of pictures, and lets the CPU read it. Where a GPU computes, the memory is page-locked all the same, which the
//! driver sees by its address: it then copies without going through memory of its own. (Memory named `CudaPinned` is the device's own
//! to ONNX Runtime 1.23 and later: it cannot be read, and to bind it twice is an error.)

#![expect(unsafe_code, reason = "a C library reads and writes the memory, which may be a device driver's")]

use super::BackboneError;
use super::graph::{INPUT_C, MIDDLE_C, OUTPUT_C};
use half::f16;
use ndarray::{ArrayView2, CowArray, Ix2};
use ort::AsPointer;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{Session, SharedSessionInner};
use ort::value::{PrimitiveTensorElementType, TensorRefMut};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt::{self, Debug, Formatter};
use std::ops::Range;
use std::ptr::{NonNull, null};
use std::sync::{Arc, Mutex, PoisonError};

/// Of every block: a cache line, which is more than any value needs.
const ALIGN: usize = 64;

/// A block of the CPU's memory, zeroed.
struct Block {
    start: NonNull<u8>,
    len: usize,
    owner: Owner,
}

enum Owner {
    Program(Layout),
    /// Page-locked, by the GPU's execution provider. Its allocator is not for several threads at once.
    Provider(Arc<Mutex<Allocator>>),
}

// SAFETY: nothing about the memory depends on the thread; whoever holds a range of it is the only one (`Picture`) or holds `&mut`.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    fn plain(len: usize) -> Result<Arc<Self>, BackboneError> {
        let fault = || BackboneError::runtime(format!("there is no memory for {len} bytes"));
        let layout = Layout::from_size_align(len.max(1), ALIGN).map_err(|_| fault())?;
        // SAFETY: the layout has a size.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(fault)?;
        Ok(Arc::new(Self { start, len, owner: Owner::Program(layout) }))
    }

    fn page_locked(len: usize, allocator: &Arc<Mutex<Allocator>>) -> ort::Result<Arc<Self>> {
        let start = {
            let allocator = allocator.lock().unwrap_or_else(PoisonError::into_inner);
            allocator.alloc::<u8>(len.max(1))?.into_raw()
        };
        let start = NonNull::new(start.cast::<u8>()).ok_or_else(|| ort::Error::new("no page-locked memory"))?;
        // SAFETY: the allocator gave this many bytes, which the CPU may write: page-locked memory is its own.
        unsafe { start.as_ptr().write_bytes(0, len) };
        Ok(Arc::new(Self { start, len, owner: Owner::Provider(allocator.clone()) }))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        match &self.owner {
            // SAFETY: it was allocated with this layout.
            Owner::Program(layout) => unsafe { dealloc(self.start.as_ptr(), *layout) },
            Owner::Provider(allocator) => {
                let allocator = allocator.lock().unwrap_or_else(PoisonError::into_inner);
                // SAFETY: it is from this allocator, and this is the last that knows of it.
                unsafe { allocator.free(self.start.as_ptr()) };
            }
        }
    }
}

/// The memory of one picture of a run, packed RGB `[height, width, 3]`, taken out of the run's to be written.
pub struct Picture {
    block: Arc<Block>,
    range: Range<usize>,
}

impl AsMut<[u8]> for Picture {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: the range is within the block, and there is one `Picture` for it, as `RunMemory::new` makes them.
        unsafe { std::slice::from_raw_parts_mut(self.block.start.as_ptr().add(self.range.start), self.range.len()) }
    }
}

/// What the model gives its numbers in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F32,
    F16,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::F16 => size_of::<f16>(),
        }
    }
}

/// What memory is taken.
#[derive(Clone)]
pub enum MemoryKind {
    Plain,
    PageLocked(Arc<Mutex<Allocator>>),
}

impl MemoryKind {
    /// Page-locked memory of the session's execution provider for CUDA; TensorRT's has it, too.
    pub(super) fn page_locked(session: &Session) -> ort::Result<Self> {
        let info = MemoryInfo::new(AllocationDevice::CUDA_PINNED, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
        Ok(Self::PageLocked(Arc::new(Mutex::new(Allocator::new(session, info)?))))
    }

    fn block(&self, len: usize) -> Result<Arc<Block>, BackboneError> {
        match self {
            Self::Plain => Block::plain(len),
            Self::PageLocked(allocator) => Block::page_locked(len, allocator).map_err(BackboneError::runtime),
        }
    }
}

impl Debug for MemoryKind {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        out.write_str(match self {
            Self::Plain => "Plain",
            Self::PageLocked(_) => "PageLocked",
        })
    }
}

/// What a run takes and gives, and how many pictures at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunShape {
    pub batch: usize,
    /// Of a picture, in pixels.
    pub width: usize,
    pub height: usize,
    /// Of what the model gives for one picture: `[N, D]`, or `[heads, N]`.
    pub rows: usize,
    pub cols: usize,
    pub element: Element,
}

impl RunShape {
    fn picture_bytes(&self) -> usize {
        3 * self.width * self.height
    }

    /// Of the memory of one run.
    pub fn bytes(&self) -> usize {
        self.batch * (self.picture_bytes() + self.values() * self.element.bytes())
    }

    /// Numbers of one picture's.
    pub(super) fn values(&self) -> usize {
        self.rows * self.cols
    }
}

/// The memory of one run: `[batch, height, width, 3]` of pixels, `[batch, rows, cols]` of what comes out, and the middle block's keys
/// where the session gives them.
pub struct RunMemory {
    shape: RunShape,
    /// `[N, D]` of one picture's, and those of all.
    middle: Option<([usize; 2], Arc<Block>)>,
    /// What comes out is the middle block's keys.
    is_half: bool,
    input: Arc<Block>,
    /// Those that nobody has taken out.
    pictures: Vec<Option<Picture>>,
    output: Arc<Block>,
}

impl Debug for RunMemory {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        out.debug_struct("RunMemory").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl RunMemory {
    pub fn new(kind: &MemoryKind, shape: RunShape) -> Result<Self, BackboneError> {
        Self::with_middle(kind, shape, None)
    }

    /// Like [`Self::new`], with memory for the middle block's keys, `[N, D]` of a picture.
    pub(super) fn with_middle(
        kind: &MemoryKind,
        shape: RunShape,
        middle: Option<[usize; 2]>,
    ) -> Result<Self, BackboneError> {
        let bytes = shape.picture_bytes();
        let element = shape.element.bytes();
        let input = kind.block(shape.batch * bytes)?;
        let picture = |index| Picture { block: input.clone(), range: index * bytes..(index + 1) * bytes };
        let pictures = (0..shape.batch).map(|index| Some(picture(index))).collect();
        let output = kind.block(shape.batch * shape.values() * element)?;
        let keys =
            |[patches, dim]: [usize; 2]| Ok(([patches, dim], kind.block(shape.batch * patches * dim * element)?));
        let middle = middle.map(keys).transpose()?;
        Ok(Self { shape, middle, is_half: false, input, pictures, output })
    }

    /// The memory of a model whose values are the middle block's keys.
    pub(super) fn of_half(self) -> Self {
        Self { is_half: true, ..self }
    }

    pub fn shape(&self) -> &RunShape {
        &self.shape
    }

    /// Takes a picture's memory out, to be written elsewhere; none where it is out already.
    pub fn take(&mut self, index: usize) -> Option<Picture> {
        self.pictures.get_mut(index)?.take()
    }

    /// Puts it back in its place. One of another run's memory is given back.
    pub fn put(&mut self, picture: Picture) -> Result<(), Picture> {
        if !Arc::ptr_eq(&picture.block, &self.input) {
            return Err(picture);
        }
        let index = picture.range.start / self.shape.picture_bytes().max(1);
        self.pictures[index] = Some(picture);
        Ok(())
    }

    /// The pixels of the first `count` pictures, `[count, height, width, 3]`; none where one of them is out.
    pub fn pixels(&mut self, count: usize) -> Option<&mut [u8]> {
        let all = self.pictures.get(..count)?;
        // SAFETY: within the block, and none of the ranges is elsewhere.
        all.iter().all(Option::is_some).then(|| unsafe {
            std::slice::from_raw_parts_mut(self.input.start.as_ptr(), count * self.shape.picture_bytes())
        })
    }

    /// What the model gave for one picture, `[rows, cols]`: lent where it is in f32, else converted.
    pub fn values(&self, index: usize) -> CowArray<'_, f32, Ix2> {
        lent(&self.output, self.shape.element, [self.shape.rows, self.shape.cols], index)
    }

    /// The middle block's keys of one picture, `[N, D]`, as [`Self::values`]; none where the session does not give them.
    pub fn middle(&self, index: usize) -> Option<CowArray<'_, f32, Ix2>> {
        if self.is_half {
            return Some(self.values(index));
        }
        let (shape, keys) = self.middle.as_ref()?;
        Some(lent(keys, self.shape.element, *shape, index))
    }

    /// What the model gave, in f32, to be written by what is none of ONNX Runtime's sessions.
    pub fn output_mut(&mut self) -> Option<&mut [f32]> {
        let len = self.shape.batch * self.shape.values();
        // SAFETY: the block has this many values of this kind, aligned, and `&mut self` is the only way to it.
        (self.shape.element == Element::F32)
            .then(|| unsafe { std::slice::from_raw_parts_mut(self.output.start.as_ptr().cast(), len) })
    }

    /// Runs the session on the first `count` pictures. Several threads may run one session, each with its own memory.
    pub(super) fn run(&mut self, session: &SharedSessionInner, count: usize) -> Result<(), BackboneError> {
        let RunShape { width, height, rows, cols, element, .. } = self.shape;
        let missing = || BackboneError::runtime(format!("one of {count} pictures is not there"));
        let pixels = self.pixels(count).ok_or_else(missing)?.as_mut_ptr();
        let results = |block: &Block, [rows, cols]: [usize; 2]| {
            let (start, shape) = (block.start.as_ptr(), [count, rows, cols]);
            // SAFETY: the block holds this shape, and `self` outlives the call.
            let result = unsafe {
                match element {
                    Element::F32 => tensor::<f32>(start, &shape).map(TensorRefMut::into_dyn),
                    Element::F16 => tensor::<f16>(start, &shape).map(TensorRefMut::into_dyn),
                }
            };
            result.map_err(BackboneError::runtime)
        };
        // SAFETY: as above.
        let input = unsafe { tensor::<u8>(pixels, &[count, height, width, 3]) }.map_err(BackboneError::runtime)?;
        let features = results(&self.output, [rows, cols])?;
        let middle = self.middle.as_ref().map(|(shape, keys)| results(keys, *shape)).transpose()?;
        let names = [OUTPUT_C.as_ptr(), MIDDLE_C.as_ptr()];
        let middle_ptr = middle.as_ref().map_or(std::ptr::null_mut(), |middle| middle.ptr().cast_mut());
        let (input, mut outputs) = (input.ptr(), [features.ptr().cast_mut(), middle_ptr]);
        // SAFETY: the names are C strings and the values tensors of this session's input and output, all alive until it returns;
        // ONNX Runtime allows runs of one session on several threads. It writes into the output given, which only this run knows.
        unsafe {
            let status = (ort::api().Run)(
                session.ptr().cast_mut(),
                null(),
                &INPUT_C.as_ptr(),
                &input,
                1,
                names.as_ptr(),
                1 + usize::from(middle.is_some()),
                outputs.as_mut_ptr(),
            );
            ort::Error::result_from_status(status).map_err(BackboneError::runtime)
        }
    }
}

/// A tensor over memory of the CPU's, which must hold the shape and outlive it.
///
/// # Safety
/// As said.
unsafe fn tensor<T: PrimitiveTensorElementType + Debug>(
    start: *mut u8,
    shape: &[usize],
) -> ort::Result<TensorRefMut<'static, T>> {
    let info = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)?;
    // SAFETY: as the caller promises.
    unsafe { TensorRefMut::from_raw(info, start.cast(), shape.into()) }
}

/// Picture `index` of what came out, `[batch, rows, cols]`: lent where it is in f32, else converted.
fn lent(block: &Block, element: Element, [rows, cols]: [usize; 2], index: usize) -> CowArray<'_, f32, Ix2> {
    let (shape, count) = ((rows, cols), rows * cols);
    match element {
        Element::F32 => {
            let values = &numbers::<f32>(block)[index * count..][..count];
            // The slice has this many values.
            ArrayView2::from_shape(shape, values).map(CowArray::from).unwrap_or_else(|_| empty())
        }
        Element::F16 => {
            use half::slice::HalfFloatSliceExt;
            let mut values = vec![0f32; count];
            numbers::<f16>(block)[index * count..][..count].convert_to_f32_slice(&mut values);
            ndarray::Array2::from_shape_vec(shape, values).map(CowArray::from).unwrap_or_else(|_| empty())
        }
    }
}

/// All of a block, as f32 or f16.
fn numbers<T: PrimitiveTensorElementType>(block: &Block) -> &[T] {
    // SAFETY: the block is aligned, zeroed, and holds numbers of this type, any bits of which are a number.
    unsafe { std::slice::from_raw_parts(block.start.as_ptr().cast(), block.len / size_of::<T>()) }
}

fn empty() -> CowArray<'static, f32, Ix2> {
    ndarray::Array2::default((0, 0)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::{Backbone, Checkpoint, Feature, Model, SessionOptions};

    fn backbone() -> Backbone {
        let options = SessionOptions { batch: Some(3), ..SessionOptions::default() };
        Backbone::open(&Checkpoint::bundled().unwrap(), Feature::Keys, 64, 48, &options).unwrap()
    }

    #[test]
    fn memory_of_a_provider_gives_what_plain_memory_does_for_any_number_of_pictures_in_any_order() {
        let backbone = backbone();
        // An allocator of ONNX Runtime's plays the one that gives page-locked memory.
        let kind = MemoryKind::PageLocked(Arc::new(Mutex::new(Allocator::default())));
        let mut memory = RunMemory::new(&kind, *backbone.memory().unwrap().shape()).unwrap();
        let image = |seed: usize| Vec::from_iter((0..3 * 64 * 48).map(|at| (at * (seed + 3) / 7 % 251) as u8));
        let images: Vec<Vec<u8>> = (0..9).map(image).collect();
        let mut rest = images.iter().map(Vec::as_slice);
        for count in [1, 3, 2, 3] {
            let images: Vec<&[u8]> = rest.by_ref().take(count).collect();
            memory.pixels(count).unwrap().copy_from_slice(&images.concat());
            backbone.run(&mut memory, count).unwrap();
            let plain = backbone.features_batch(&images).unwrap();
            for (index, plain) in plain.iter().enumerate() {
                assert_eq!(memory.values(index), plain, "{index} of {count}");
            }
        }
    }

    #[test]
    fn onnx_runtime_takes_the_memory_for_the_cpus_own() {
        backbone();
        let block = Block::page_locked(16, &Arc::new(Mutex::new(Allocator::default()))).unwrap();
        // SAFETY: the block has as many bytes.
        let tensor = unsafe { tensor::<u8>(block.start.as_ptr(), &[2, 8]) }.unwrap();
        assert_eq!(tensor.memory_info().allocation_device().as_str(), "Cpu");
    }

    #[test]
    fn a_library_without_page_locked_memory_says_so() {
        let error = MemoryKind::page_locked(&backbone().session.into_inner().unwrap()).unwrap_err();
        assert!(error.to_string().contains("allocator"), "{error}");
    }

    #[test]
    fn features_in_f16_are_those_numbers_in_f32() {
        let shape = RunShape { batch: 2, width: 1, height: 1, rows: 3, cols: 5, element: Element::F16 };
        let mut memory = RunMemory::new(&MemoryKind::Plain, shape).unwrap();
        assert!(memory.output_mut().is_none());
        for (at, value) in (0..30).map(|at| (at, f16::from_f32(at as f32 / 8.0))) {
            // SAFETY: within the block, which nobody else has.
            unsafe { memory.output.start.as_ptr().cast::<f16>().add(at).write(value) };
        }
        let values = memory.values(1);
        assert_eq!((values.dim(), values[[0, 0]], values[[2, 4]]), ((3, 5), 15.0 / 8.0, 29.0 / 8.0));
    }

    #[test]
    fn a_picture_that_is_out_stops_the_run_and_one_of_another_run_is_given_back() {
        let backbone = backbone();
        let (mut memory, mut other) = (backbone.memory().unwrap(), backbone.memory().unwrap());
        let picture = memory.take(1).unwrap();
        assert!(memory.take(1).is_none() && memory.take(3).is_none());
        assert!(backbone.run(&mut memory, 2).is_err());
        backbone.run(&mut memory, 1).unwrap();
        let picture = other.put(picture).unwrap_err();
        assert!(memory.put(picture).is_ok());
        backbone.run(&mut memory, 2).unwrap();
    }
}
