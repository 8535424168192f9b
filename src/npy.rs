//! Reading NumPy files of strangers.

use crate::fault::{Kind, OfKind};
use crate::markup;
use ndarray::{Array2, ShapeBuilder};
use ndarray_npy::npy::header::Header;
use std::io::Read;

/// Magic number, version and the length of the header (2 bytes in version 1, else 4).
const PREFIX_BYTES: usize = 12;
/// A header that says dtype, order and shape needs about 120 bytes; the parser recurses, so it gets no longer one.
const MAX_HEADER_BYTES: usize = 1024;
/// 4 GB of f32.
const MAX_VALUES: usize = 1 << 30;

/// Why bytes are no matrix of f32.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    #[error(transparent)]
    Read(#[from] std::io::Error),
    #[error("not a NumPy .npy file")]
    Format,
    #[error("{0}")]
    Other(String),
}

impl OfKind for NpyError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
}

/// The little-endian f32 array of two dimensions in a `.npy` file, in either memory order.
///
/// What is not exactly that (another type, shape or length) is an error. Memory grows with the file, never with what its header
/// claims.
pub fn read_matrix(mut file: impl Read) -> Result<Array2<f32>, NpyError> {
    let mut prefix = Vec::with_capacity(PREFIX_BYTES);
    (&mut file).take(PREFIX_BYTES as u64).read_to_end(&mut prefix)?;
    let header_bytes = match prefix[..] {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => usize::from(u16::from_le_bytes([a, b])),
        [0x93, b'N', b'U', b'M', b'P', b'Y', _, _, a, b, c, d] => u32::from_le_bytes([a, b, c, d]) as usize,
        _ => return Err(NpyError::Format),
    };
    let other = |why: String| Err(NpyError::Other(one_line(&why)));
    if header_bytes > MAX_HEADER_BYTES {
        return other(format!("a header of {header_bytes} bytes (expected <= {MAX_HEADER_BYTES})"));
    }
    let mut reader = prefix.chain(&mut file);
    let header = match Header::from_reader(&mut reader) {
        Ok(header) => header,
        Err(why) => return other(format!("a bad .npy header: {}", one_line(&why))),
    };

    let dtype = header.type_descriptor.as_string().map_or("not a plain type", |name| name);
    if dtype != "<f4" {
        return other(format!("the values are {dtype} (expected <f4, little-endian float32)"));
    }
    let &[rows, cols] = &header.shape[..] else {
        return other(format!("the shape is {:?} (expected two dimensions)", header.shape));
    };
    let Some(values) = rows.checked_mul(cols).filter(|&values| values <= MAX_VALUES) else {
        return other(format!("the shape {rows}x{cols} has more than {MAX_VALUES} values"));
    };
    let mut bytes = Vec::new();
    reader.take(4 * values as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() != 4 * values {
        let found = if bytes.len() > 4 * values { "more".to_owned() } else { bytes.len().to_string() };
        return other(format!("{found} bytes of values where the shape {rows}x{cols} needs {}", 4 * values));
    }
    let values = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let shape = (rows, cols).set_f(header.layout.is_fortran());
    Array2::from_shape_vec(shape, values).map_err(|why| NpyError::Other(one_line(&why)))
}

fn one_line(error: &impl std::fmt::Display) -> String {
    markup::plain(&error.to_string()).split_whitespace().collect::<Vec<_>>().join(" ")
}
