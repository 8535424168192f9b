//! Records of frames and states, as JSON Lines.

use crate::live::sink::{Message, Sink, Wish};
use crate::publish::live::LiveRecordWriter;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One file, or stdout, for the records of all sources; each source gets a sink that writes to it.
#[derive(Clone)]
pub struct Records {
    name: String,
    writer: Arc<Mutex<LiveRecordWriter>>,
}

impl Records {
    /// To `path`, after what is there, or to stdout where it is `-`. With `segment` a file begins every so long.
    pub fn open(path: &Path, segment: Option<Duration>) -> Result<Self, String> {
        let name = path.display().to_string();
        let writer = match segment {
            _ if name == "-" => Ok(LiveRecordWriter::stdout()),
            Some(length) => LiveRecordWriter::rotating(path, length),
            None => LiveRecordWriter::append(path),
        };
        let writer = writer.map_err(|error| fault(&name, error))?;
        Ok(Self { name, writer: Arc::new(Mutex::new(writer)) })
    }

    /// The sink of one more source.
    pub fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }
}

impl Sink for Records {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn wish(&self) -> Wish {
        Box::new(|| false)
    }

    fn take(&mut self, message: &Message) -> Result<(), String> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match message {
            Message::Frame { record, .. } => writer.write(&**record),
            Message::State(record) => writer.write(&**record),
        };
        written.map_err(|error| fault(&self.name, error))
    }

    fn finish(self: Box<Self>) -> Result<(), String> {
        Ok(())
    }
}

fn fault(name: &str, error: io::Error) -> String {
    format!("{name}: {error}")
}
