use super::Device;
use crate::fault::{Kind, OfKind};
use std::path::PathBuf;

/// Why the backbone cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackboneError {
    /// The file is not there or cannot be read.
    #[error("the model {} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// The file is not a checkpoint in DINO's layout.
    #[error("the model {name} cannot be used: {reason}")]
    Checkpoint { name: String, reason: String },
    /// No ONNX Runtime library was found.
    #[error("{0}; run `make setup`, or `pip install onnxruntime` and set ORT_DYLIB_PATH to its libonnxruntime.so")]
    LibraryMissing(String),
    /// The device's execution provider, or a library of it, is missing, or it does not work.
    #[error("{device} does not work: {why}; what it needs: {needs}")]
    Device { device: Device, why: String, needs: &'static str },
    /// A run failed that was under way.
    #[error("the model failed on {device}: {why}")]
    Failed { device: String, why: String },
    /// The device does not compute in this precision.
    #[error("{0}")]
    Precision(String),
    /// The model's input is empty or larger than the program accepts.
    #[error("{0}")]
    Size(String),
    /// The pixels given are not those of one image.
    #[error("an image of {width}x{height} RGB pixels needs {} bytes, not {got}", 3 * width * height)]
    Pixels { width: usize, height: usize, got: usize },
    /// ONNX Runtime refused.
    #[error("ONNX Runtime: {0}")]
    Runtime(String),
}

impl OfKind for BackboneError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } | Self::Checkpoint { .. } => Kind::Model,
            Self::LibraryMissing(_) | Self::Device { .. } | Self::Failed { .. } => Kind::Missing,
            Self::Size(_) | Self::Precision(_) => Kind::Usage,
            Self::Pixels { .. } | Self::Runtime(_) => Kind::Internal,
        }
    }
}

impl BackboneError {
    pub(super) fn runtime(error: impl std::fmt::Display) -> Self {
        Self::Runtime(error.to_string())
    }
}
