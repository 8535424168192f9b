//! How a command ends: its exit code, and why.

use mostream::fault::{Kind, OfKind};
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use tracing::error;

/// Printed below `--help`.
pub const HELP: &str = "Exit codes: 0 done; 1 a fault of the program or the machine, not named here; 2 bad command line; 3 the input cannot be used; \
4 an output cannot be written; 5 the model cannot be used; 6 a GStreamer element, the ONNX Runtime library or the device asked for is missing; \
7 with --strict: an input is cut off, damaged or shorter than it says; 130 interrupted (the output is complete up to there).\n\nEnvironment: ORT_DYLIB_PATH is the ONNX Runtime library to load; \
MOSTREAM_CACHE is where prepared models are kept (empty: nowhere); MOSTREAM_MODELS is where installed models are; \
MOSTREAM_MIRROR is whom `model pull` asks.\n\nTo begin: mostream doctor, then mostream run VIDEO.";

/// Why the program ends, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    Internal = 1,
    Usage = 2,
    Input = 3,
    Output = 4,
    Model = 5,
    Missing = 6,
    Short = 7,
    Interrupted = 130,
}

impl From<Kind> for Exit {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Usage => Self::Usage,
            Kind::Input => Self::Input,
            Kind::Output => Self::Output,
            Kind::Model => Self::Model,
            Kind::Missing => Self::Missing,
            Kind::Stopped => Self::Interrupted,
            Kind::Internal => Self::Internal,
        }
    }
}

/// Why a command does not do what it should.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    /// One line.
    pub message: String,
}

/// How a command ends.
pub type Outcome = Result<Exit, Failure>;

impl Failure {
    pub fn new(kind: Kind, message: impl Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// That a file cannot be written.
    pub fn unwritten(path: &std::path::Path, why: impl Display) -> Self {
        Self::new(Kind::Output, format!("{} cannot be written: {why}", path.display()))
    }

    /// That something happened which cannot.
    pub fn internal(message: impl Display) -> Self {
        Self::new(Kind::Internal, message)
    }
}

impl<E: OfKind> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.kind(), error)
    }
}

/// Logs why a command has failed, and turns its outcome into the exit code.
pub fn report(outcome: Outcome) -> ExitCode {
    let exit = outcome.unwrap_or_else(|Failure { kind, message }| {
        error!(fault = kind.name(), "{message}");
        kind.into()
    });
    ExitCode::from(exit as u8)
}

/// Writes a result to stdout. A reader that has seen enough (`… | head`) is no error.
pub fn to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Kind::Output, format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}
