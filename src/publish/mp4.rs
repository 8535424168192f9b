//! The annotated video of a file, with its audio, in an MP4 file that appears when it is complete.

use super::picture_of;
use crate::engine::sink::{Ending, Message, Sink, SinkError, Wish};
use crate::stream::StreamError;
use crate::stream::audio::AudioReader;
use crate::stream::ingest::Span;
use crate::stream::output::Output;
use crate::stream::preflight::{MediaInfo, Source};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tracing::warn;

/// Writes one file.
pub struct Mp4Sink {
    path: PathBuf,
    source: Source,
    /// Of the source, once it is open.
    media: Arc<OnceLock<(MediaInfo, Span)>>,
    output: Option<Output>,
    /// Where the video begins in its source, and ends so far, in nanoseconds.
    start_ns: u64,
    end_ns: u64,
}

impl Mp4Sink {
    /// For `path`, which nothing is written to before the first picture. An error where it cannot be an MP4 file.
    pub fn new(path: &Path, source: Source, media: Arc<OnceLock<(MediaInfo, Span)>>) -> Result<Self, StreamError> {
        Output::check(path)?;
        Ok(Self { path: path.to_owned(), source, media, output: None, start_ns: 0, end_ns: 0 })
    }

    /// The input's audio; without it the video is still worth having.
    fn audio(&self) -> Option<AudioReader> {
        let (media, span) = self.media.get()?;
        let opened = media.has_audio.then(|| AudioReader::open(&self.source, media, *span))?;
        if let Err(why) = &opened {
            let source = &self.source.name;
            warn!(source, "{source}: the audio is left out: {why}");
        }
        opened.ok()
    }
}

impl Sink for Mp4Sink {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn wish(&self) -> Wish {
        Box::new(|_| true)
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        let Some(picture) = picture_of(message) else { return Ok(()) };
        let output = match self.output.take() {
            Some(output) => output,
            None => {
                self.start_ns = self.media.get().map_or(0, |(_, span)| span.start_ns);
                Output::open(&self.path, &picture.info, self.audio())?
            }
        };
        let pts_ns = picture.pts_ns.saturating_sub(self.start_ns);
        self.end_ns = pts_ns.saturating_add(picture.duration_ns);
        Ok(self.output.insert(output).push(picture.buffer.clone(), pts_ns, picture.duration_ns)?)
    }

    fn finish(self: Box<Self>, ending: Ending) -> Result<(), SinkError> {
        match self.output {
            Some(output) if ending == Ending::Whole => Ok(output.finish(self.end_ns)?),
            _ => Ok(()),
        }
    }
}
