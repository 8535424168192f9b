//! Runs whose input and output stay where they are: for CUDA in page-locked memory, which the GPU reads and writes at the bus's
//! full speed and without a copy by its driver. Features are the larger part: 7 MB of a 640×480 image by ViT-S/8.

use super::graph::{INPUT, OUTPUT};
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session, SessionOutputs};
use ort::value::Tensor;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Input and output of a session of the project's own graph.
#[derive(Debug)]
pub(super) struct Bound {
    memory: AllocationDevice<'static>,
    /// The input, `[count, height, width, 3]`, and its binding, by the number of images; made when it first comes.
    runs: BTreeMap<usize, (Tensor<u8>, IoBinding)>,
}

impl Bound {
    /// In memory for CUDA, also under TensorRT.
    pub fn page_locked() -> Self {
        Self::within(AllocationDevice::CUDA_PINNED)
    }

    fn within(memory: AllocationDevice<'static>) -> Self {
        Self { memory, runs: BTreeMap::new() }
    }

    /// As `Session::run` with one input of packed RGB, whose length goes with `shape`.
    pub fn run<'a>(
        &'a mut self,
        session: &'a mut Session,
        shape: [usize; 4],
        rgb: &[u8],
    ) -> ort::Result<SessionOutputs<'a>> {
        let memory = |kind| MemoryInfo::new(self.memory.clone(), 0, AllocatorType::Device, kind);
        let (input, binding) = match self.runs.entry(shape[0]) {
            Entry::Occupied(run) => run.into_mut(),
            Entry::Vacant(place) => {
                let input = Tensor::new(&Allocator::new(session, memory(MemoryType::CPUInput)?)?, shape)?;
                let mut binding = session.create_binding()?;
                binding.bind_output_to_device(OUTPUT, &memory(MemoryType::CPUOutput)?)?;
                place.insert((input, binding))
            }
        };
        input.extract_tensor_mut().1.copy_from_slice(rgb);
        // Binding it is what sends it to the device.
        binding.bind_input(INPUT, input)?;
        session.run_binding(binding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::{Backbone, Checkpoint, Feature, SessionOptions};

    #[test]
    fn a_bound_run_gives_what_a_plain_one_gives_for_any_number_of_images_in_any_order() {
        let options = SessionOptions { batch: Some(3), ..SessionOptions::default() };
        let open = || Backbone::open(&Checkpoint::bundled().unwrap(), Feature::Keys, 64, 48, &options).unwrap();
        let image = |seed: usize| Vec::from_iter((0..3 * 64 * 48).map(|at| (at * (seed + 3) / 7 % 251) as u8));
        let images: Vec<Vec<u8>> = (0..9).map(image).collect();
        let (mut plain, mut bound) = (open(), open());
        bound.bound = Some(Bound::within(AllocationDevice::CPU));
        let mut rest = images.iter().map(Vec::as_slice);
        for count in [1, 3, 2, 3] {
            let images: Vec<&[u8]> = rest.by_ref().take(count).collect();
            assert_eq!(bound.features_batch(&images).unwrap(), plain.features_batch(&images).unwrap(), "{count}");
        }
        let made: Vec<usize> = bound.bound.unwrap().runs.into_keys().collect();
        assert_eq!(made, [1, 2, 3]);
    }
}
