//! Reading NumPy files of strangers.

use super::exit::{Exit, Failure};
use anyhow::Context;
use ndarray::{Array2, ShapeBuilder};
use ndarray_npy::npy::header::Header;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Magic number, version and the length of the header (2 bytes in version 1, else 4).
const PREFIX_BYTES: usize = 12;
/// A header that says dtype, order and shape needs about 120 bytes; the parser recurses, so it gets no longer one.
const MAX_HEADER_BYTES: usize = 1024;
/// 4 GB of f32.
const MAX_VALUES: usize = 1 << 30;

/// The little-endian f32 array of two dimensions in a `.npy` file, in either memory order.
///
/// What is not exactly that (another type, shape or length) is an error that names the file. Memory grows with the
/// file, never with what its header claims.
pub fn read_matrix(path: &Path) -> anyhow::Result<Array2<f32>> {
    parse(path).map_err(|why| Failure::new(Exit::Input, format!("{}: {why:#}", path.display())).into())
}

fn parse(path: &Path) -> anyhow::Result<Array2<f32>> {
    let mut file = File::open(path)?;
    let mut prefix = Vec::with_capacity(PREFIX_BYTES);
    (&mut file).take(PREFIX_BYTES as u64).read_to_end(&mut prefix)?;
    let header_bytes = match prefix[..] {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => usize::from(u16::from_le_bytes([a, b])),
        [0x93, b'N', b'U', b'M', b'P', b'Y', _, _, a, b, c, d] => u32::from_le_bytes([a, b, c, d]) as usize,
        _ => anyhow::bail!("not a NumPy .npy file"),
    };
    anyhow::ensure!(
        header_bytes <= MAX_HEADER_BYTES,
        "a header of {header_bytes} bytes (expected <= {MAX_HEADER_BYTES})"
    );
    let mut reader = prefix.chain(&mut file);
    let header =
        Header::from_reader(&mut reader).map_err(|why| anyhow::anyhow!("a bad .npy header: {}", one_line(&why)))?;

    let dtype = header.type_descriptor.as_string().map_or("not a plain type", |name| name);
    anyhow::ensure!(dtype == "<f4", "the values are {dtype} (expected <f4, little-endian float32)");
    let &[rows, cols] = &header.shape[..] else {
        anyhow::bail!("the shape is {:?} (expected two dimensions)", header.shape);
    };
    let values = rows.checked_mul(cols).filter(|&values| values <= MAX_VALUES);
    let values = values.with_context(|| format!("the shape {rows}x{cols} has more than {MAX_VALUES} values"))?;
    let mut bytes = Vec::new();
    reader.take(4 * values as u64 + 1).read_to_end(&mut bytes)?;
    anyhow::ensure!(
        bytes.len() == 4 * values,
        "{} bytes of values where the shape {rows}x{cols} needs {}",
        if bytes.len() > 4 * values { "more".to_owned() } else { bytes.len().to_string() },
        4 * values
    );
    let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok(Array2::from_shape_vec((rows, cols).set_f(header.layout.is_fortran()), values)?)
}

fn one_line(error: &impl std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
