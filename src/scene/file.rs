//! A view as bytes, to outlive the program. What is read is foreign: it is checked as a whole before anything is believed.

use super::mask::Size;
use super::memory::Memory;
use super::pixels::Pixels;
use super::view::View;

const MAGIC: &[u8; 16] = b"mostream scene 2";
/// Of the name, of a side of the picture, and of the keys: more is no scene of this program's.
const MOST_NAME: usize = 1024;
const MOST_SIDE: usize = 1024;
const MOST_PATCHES: usize = 16_384;
const MOST_DIM: usize = 4096;

/// Why bytes are no scene.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SceneError {
    #[error("it is no scene of mostream's")]
    Format,
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("it was seen by {found:?}, and this is {expected:?}")]
    Other { found: String, expected: String },
}

/// The bytes of a view; `by` says what saw it: model, grid, feature, precision.
pub fn write(view: &View, by: &str) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let name = &by.as_bytes()[..by.len().min(MOST_NAME)];
    let (patches, dim) = view.memory.as_ref().map_or((0, 0), |memory| (memory.spread.len(), memory.dim));
    for number in [name.len(), view.size.0, view.size.1, patches, dim, view.unrest.len(), view.frames as usize] {
        out.extend((number as u32).to_le_bytes());
    }
    out.extend(name);
    out.extend(&view.scene);
    view.pixels.write(&mut out);
    let mut numbers = |values: &[f32]| values.iter().for_each(|value| out.extend(value.to_le_bytes()));
    numbers(&view.unrest);
    if let Some(memory) = &view.memory {
        numbers(&memory.mean);
        numbers(&memory.spread);
        numbers(&[memory.seconds, memory.looks as f32]);
    }
    let sum = checksum(&out);
    out.extend(sum.to_le_bytes());
    out
}

/// The view that [`write()`] made these bytes of, seen by the same.
pub fn read(bytes: &[u8], by: &str) -> Result<View, SceneError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(SceneError::Format)?;
    let (rest, sum) = rest.split_last_chunk::<8>().ok_or(SceneError::Damaged("it ends early"))?;
    if checksum(&bytes[..bytes.len() - 8]) != u64::from_le_bytes(*sum) {
        return Err(SceneError::Damaged("its sum is another"));
    }
    let mut rest = Rest(rest);
    let mut number = || rest.take(4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize);
    let [name, width, height, patches, dim, unrest, frames] =
        [number()?, number()?, number()?, number()?, number()?, number()?, number()?];
    let is_small = name <= MOST_NAME
        && (1..=MOST_SIDE).contains(&width)
        && (1..=MOST_SIDE).contains(&height)
        && patches <= MOST_PATCHES
        && dim <= MOST_DIM
        && unrest <= MOST_PATCHES
        && (patches > 0) == (dim > 0);
    if !is_small {
        return Err(SceneError::Damaged("its measures are none"));
    }
    let found = String::from_utf8_lossy(rest.take(name)?).into_owned();
    if found != by {
        return Err(SceneError::Other { found, expected: by.to_owned() });
    }
    let size: Size = (width, height);
    let scene = rest.take(3 * width * height)?.to_vec();
    let pixels = Pixels::read(rest.take(Pixels::written(width * height))?, width * height);
    let unrest = rest.numbers(unrest, 0.0..=1.0)?;
    let memory = match patches {
        0 => None,
        _ => {
            let (mean, spread) = (rest.numbers(patches * dim, -2.0..=2.0)?, rest.numbers(patches, 0.0..=4.0)?);
            let age = rest.numbers(2, 0.0..=f32::MAX)?;
            Some(Memory::of(dim, mean, spread, age[0], age[1] as u32))
        }
    };
    match rest.0 {
        [] => Ok(View::of(size, pixels, scene, memory, unrest, frames as u32)),
        _ => Err(SceneError::Damaged("it does not end")),
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], SceneError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(SceneError::Damaged("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn numbers(&mut self, count: usize, range: std::ops::RangeInclusive<f32>) -> Result<Vec<f32>, SceneError> {
        let (values, _) = self.take(4 * count)?.as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        match values.iter().all(|value| range.contains(value)) {
            true => Ok(values),
            false => Err(SceneError::Damaged("a number is none of a scene's")),
        }
    }
}

/// FNV-1a: against accidents, not against people.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
