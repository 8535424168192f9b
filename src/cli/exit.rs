//! What the exit code says.

use mostream::backbone::BackboneError;
use std::process::ExitCode;

/// Printed below `--help`.
pub const HELP: &str = "Exit codes: 0 done; 1 anything not named here; 2 bad command line; 3 the input cannot be used; \
4 an output cannot be written; 5 the model cannot be used; 6 a GStreamer element or the ONNX Runtime library is missing; \
130 interrupted (the output is complete up to there).";

/// Why the program ends, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    Other = 1,
    Usage = 2,
    Input = 3,
    Output = 4,
    Model = 5,
    Missing = 6,
    Interrupted = 130,
}

/// An error that knows its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    /// An error with this exit code and one line of text.
    pub fn new(exit: Exit, message: impl std::fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }
}

impl From<BackboneError> for Failure {
    fn from(error: BackboneError) -> Self {
        let exit = match error {
            BackboneError::Read { .. } | BackboneError::Checkpoint { .. } => Exit::Model,
            BackboneError::LibraryMissing(_) => Exit::Missing,
            BackboneError::Size(_) => Exit::Usage,
            BackboneError::Pixels { .. } | BackboneError::Runtime(_) => Exit::Other,
        };
        Self::new(exit, error)
    }
}

/// Prints an error as one line on stderr and turns the outcome into the exit code.
pub fn report(outcome: anyhow::Result<Exit>) -> ExitCode {
    let exit = outcome.unwrap_or_else(|error| {
        eprintln!("mostream: {error:#}");
        error.downcast_ref::<Failure>().map_or(Exit::Other, |failure| failure.exit)
    });
    ExitCode::from(exit as u8)
}
