//! What the exit code says.

use crate::cli::tell::tell;
use mostream::analyzer::AnalyzeError;
use mostream::backbone::BackboneError;
use mostream::engine::crew::CrewError;
use mostream::engine::sink::SinkError;
use mostream::engine::{EngineError, Fault};
use mostream::picture::PictureError;
use mostream::run::RunError;
use mostream::stream::{StreamError, redact};
use mostream::zoo::ZooError;
use std::io::{self, Write};
use std::process::ExitCode;

/// Printed below `--help`.
pub const HELP: &str = "Exit codes: 0 done; 1 anything not named here; 2 bad command line; 3 the input cannot be used; \
4 an output cannot be written; 5 the model cannot be used; 6 a GStreamer element, the ONNX Runtime library or the device asked for is missing; \
130 interrupted (the output is complete up to there).\n\nEnvironment: ORT_DYLIB_PATH is the ONNX Runtime library to load; \
MOSTREAM_CACHE is where prepared models are kept (empty: nowhere); MOSTREAM_MODELS is where installed models are; \
MOSTREAM_MIRROR is whom `model pull` asks.\n\nTo begin: mostream doctor, then mostream run VIDEO.";

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

/// The exit code of an error from the library.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit;
    }
    if let Some(error) = error.downcast_ref::<StreamError>() {
        return error.into();
    }
    if let Some(error) = error.downcast_ref::<ZooError>() {
        return error.into();
    }
    if let Some(error) = error.downcast_ref::<RunError>() {
        return error.into();
    }
    if error.is::<PictureError>() {
        return Exit::Input;
    }
    match error.downcast_ref::<AnalyzeError>() {
        Some(AnalyzeError::Backbone(error)) => return error.into(),
        Some(AnalyzeError::Localize(_) | AnalyzeError::Picture(_)) => return Exit::Other,
        None => {}
    }
    error.downcast_ref::<EngineError>().map_or(Exit::Other, Exit::from)
}

impl From<&RunError> for Exit {
    fn from(error: &RunError) -> Self {
        match error {
            RunError::Spec(_) | RunError::Usage(_) => Self::Usage,
            RunError::Input(_) | RunError::Picture(_) => Self::Input,
            RunError::Output(_) => Self::Output,
            RunError::Stream(error) => error.into(),
            RunError::Backbone(error) => error.into(),
            RunError::Model(error) => error.into(),
            RunError::Engine(error) => error.into(),
            RunError::Placed { error, .. } => (&**error).into(),
        }
    }
}

impl From<&EngineError> for Exit {
    fn from(error: &EngineError) -> Self {
        match error {
            EngineError::Crew(CrewError::Backbone(error)) => error.into(),
            EngineError::Crew(_) | EngineError::Thread(_) | EngineError::Panic | EngineError::Over => Self::Other,
        }
    }
}

impl From<&Fault> for Exit {
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::Source(error) | Fault::Sink(SinkError::Stream(error)) => error.into(),
            Fault::Model(error) => error.into(),
            Fault::Sink(SinkError::Write { .. } | SinkError::Other(_)) => Self::Output,
            Fault::Thread(_) | Fault::Panic(_) => Self::Other,
        }
    }
}

impl From<&StreamError> for Exit {
    fn from(error: &StreamError) -> Self {
        match error {
            StreamError::Input { .. } => Self::Input,
            StreamError::Output { .. } => Self::Output,
            StreamError::MissingElement { .. } | StreamError::Decoder(_) | StreamError::Start(_) => Self::Missing,
        }
    }
}

impl From<&BackboneError> for Exit {
    fn from(error: &BackboneError) -> Self {
        match error {
            BackboneError::Read { .. } | BackboneError::Checkpoint { .. } => Self::Model,
            BackboneError::LibraryMissing(_) | BackboneError::Device { .. } | BackboneError::Failed { .. } => {
                Self::Missing
            }
            BackboneError::Size(_) | BackboneError::Precision(_) => Self::Usage,
            BackboneError::Pixels { .. } | BackboneError::Runtime(_) => Self::Other,
        }
    }
}

impl From<&ZooError> for Exit {
    fn from(error: &ZooError) -> Self {
        match error {
            ZooError::Name(_) | ZooError::List { .. } | ZooError::Usage(_) => Self::Usage,
            ZooError::Unknown { .. } | ZooError::Fetch { .. } | ZooError::Bytes { .. } => Self::Model,
            ZooError::Taken(_) | ZooError::Bundled(_) | ZooError::File { .. } => Self::Output,
            ZooError::Stopped => Self::Interrupted,
            ZooError::Backbone(error) => error.into(),
        }
    }
}

impl From<ZooError> for Failure {
    fn from(error: ZooError) -> Self {
        Self::new(Exit::from(&error), error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::new(Exit::from(&error), error)
    }
}

impl From<BackboneError> for Failure {
    fn from(error: BackboneError) -> Self {
        Self::new(Exit::from(&error), error)
    }
}

/// Prints an error as one line on stderr and turns the outcome into the exit code.
pub fn report(outcome: anyhow::Result<Exit>) -> ExitCode {
    let exit = outcome.unwrap_or_else(|error| {
        // A path may be a URI by mistake, with a password in it.
        tell!("mostream: {}", redact(&format!("{error:#}")));
        exit_of(&error)
    });
    ExitCode::from(exit as u8)
}

/// Writes a result to stdout. A reader that has seen enough (`… | head`) is no error.
pub fn to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Output, format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}
