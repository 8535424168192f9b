//! What kind of thing went wrong: the one list that exit codes, fields of the log and HTTP answers are tables of.

use serde::Serialize;

/// By what there is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What is asked for cannot be, or does not go together: change the command line, the file or the request.
    Usage,
    /// An input cannot be read, or is not what it is taken for.
    Input,
    /// An output cannot be written.
    Output,
    /// The model cannot be used.
    Model,
    /// A GStreamer element, a library or a device is not there, or does not work.
    Missing,
    /// Somebody stopped it before it was done.
    Stopped,
    /// None of these: a fault of the program, or of the machine.
    Internal,
}

impl Kind {
    /// As in the log and over HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Input => "input",
            Self::Output => "output",
            Self::Model => "model",
            Self::Missing => "missing",
            Self::Stopped => "stopped",
            Self::Internal => "internal",
        }
    }
}

/// An error that knows its kind; its text is one line, which names the thing, the value and what to do.
pub trait OfKind: std::error::Error {
    fn kind(&self) -> Kind;
}
