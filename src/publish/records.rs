//! Records of frames, states and ends, or of events, as JSON Lines.

use super::jsonl::RecordWriter;
use crate::engine::sink::{Ending, Message, Sink, SinkError, Wish};
use crate::partial;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One file, or stdout, for the records of one source or of many; each source gets a sink that writes to it. It is made with the first
/// record, and complete with the last sink once this is dropped or finished: until then more may come.
pub struct Records(Arc<Shared>);

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Of frames, states and ends.
    Frames,
    Events,
}

struct Shared {
    path: PathBuf,
    lines: Lines,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    writer: Option<RecordWriter>,
    /// Sinks that have not ended.
    sinks: usize,
    /// No more will come.
    is_closed: bool,
    /// One of them has ended as it should.
    is_whole: bool,
    written_bytes: u64,
}

impl Records {
    /// An error where nothing can be written to this file: whole, or with `appends` after what is in it.
    pub fn check(path: &Path, appends: bool) -> Result<(), SinkError> {
        let checked = match appends {
            _ if path == Path::new("-") => Ok(()),
            true => partial::check_in_place(path),
            false => partial::check(path),
        };
        checked.map_err(|error| SinkError::Write { name: path.display().to_string(), error })
    }

    /// To a new file in place of what is there, or to stdout where `path` is `-`.
    pub fn replace(path: &Path, lines: Lines) -> Self {
        Self(Arc::new(Shared { path: path.to_owned(), lines, state: Mutex::default() }))
    }

    /// After what is in the file.
    pub fn append(path: &Path, lines: Lines) -> Result<Self, SinkError> {
        let records = Self::replace(path, lines);
        if path != Path::new("-") {
            let writer = RecordWriter::append(path).map_err(|error| records.0.fault(error))?;
            records.0.state().writer = Some(writer);
        }
        Ok(records)
    }

    /// The sink of one more source.
    pub fn sink(&self) -> Box<dyn Sink> {
        self.0.state().sinks += 1;
        Box::new(RecordsSink(self.0.clone()))
    }

    /// Gives the file its name, where all sinks have ended.
    pub fn finish(self) -> Result<(), SinkError> {
        self.0.close().map_err(|error| self.0.fault(error))
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.0.close().ok();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No more sinks will come.
    fn close(&self) -> io::Result<()> {
        let mut state = self.state();
        state.is_closed = true;
        state.finish(0)
    }

    fn fault(&self, error: io::Error) -> SinkError {
        SinkError::Write { name: self.path.display().to_string(), error }
    }
}

impl State {
    /// The file is complete where no sink is left but `own`.
    fn finish(&mut self, own: usize) -> io::Result<()> {
        let is_last = self.is_closed && self.sinks == own && self.is_whole;
        self.writer.take_if(|_| is_last).map_or(Ok(()), RecordWriter::finish)
    }
}

struct RecordsSink(Arc<Shared>);

impl Sink for RecordsSink {
    fn name(&self) -> String {
        self.0.path.display().to_string()
    }

    fn wish(&self) -> Wish {
        Box::new(|_| false)
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        let mut state = self.0.state();
        let writer = match state.writer.take() {
            Some(writer) => Ok(writer),
            None if self.0.path == Path::new("-") => Ok(RecordWriter::stdout()),
            None => RecordWriter::create(&self.0.path),
        };
        let writer = state.writer.insert(writer.map_err(|error| self.0.fault(error))?);
        let written = match message {
            // Without any it is an empty file.
            _ if (self.0.lines == Lines::Events) != matches!(message, Message::Event(_)) => Ok(0),
            Message::Frame { record, .. } => writer.write(&**record),
            Message::Event(record) => writer.write(&**record),
            Message::State(record) => writer.write(&**record),
            Message::End(record) => writer.write(&**record),
        };
        state.written_bytes += written.map_err(|error| self.0.fault(error))?;
        Ok(())
    }

    fn written_bytes(&self) -> Option<u64> {
        Some(self.0.state().written_bytes)
    }

    fn finish(self: Box<Self>, ending: Ending) -> Result<(), SinkError> {
        let mut state = self.0.state();
        state.is_whole |= ending == Ending::Whole;
        state.finish(1).map_err(|error| self.0.fault(error))
    }
}

impl Drop for RecordsSink {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.sinks -= 1;
        // The others have ended as they should, and this one has not even begun.
        state.finish(0).ok();
    }
}
