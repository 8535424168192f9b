//! Annotated video in files that play at every moment, however the program ends: one, or one after the other.
//!
//! Every segment has a pipeline and an encoder of its own, so that it begins with a key frame at time 0, and the one before is
//! complete when it begins; the frames between them wait for that long. Where the source was gone, a new segment begins;
//! a single file closes the gap up: no frame stands still for hours, and the records tell the times. After a file that could not be written
//! to its end another begins, named as a segment: what the first holds is kept.

use super::encoding::{Encoding, PATIENCE};
use super::picture_of;
use crate::engine::sink::{Ending, Message, Picture, Sink, SinkError, Wish};
use crate::partial;
use crate::publish::segments;
use crate::stream::{StreamError, launch};
use gstreamer::prelude::*;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MP4: &str = include_str!("../../pipelines/live-mp4.launch");
const MKV: &str = include_str!("../../pipelines/live-mkv.launch");
/// A source that was gone for longer than this leaves a gap, in nanoseconds.
const GAP_NS: u64 = 2_000_000_000;
/// How often it is looked whether the file is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Writes the annotated video of one source.
pub struct FileSink {
    path: PathBuf,
    pipeline: &'static str,
    encoder: &'static str,
    segment_ns: Option<u64>,
    current: Option<Segment>,
    /// A file was begun.
    has_begun: bool,
    /// Bytes in the files before the current one.
    written_bytes: u64,
    /// When it was last seen that the current file is still there.
    looked: Instant,
}

/// A file that is being written.
struct Segment {
    path: PathBuf,
    encoding: Encoding,
    /// The time of the source that is `from_ns` in the file.
    source_ns: u64,
    from_ns: u64,
    last_pts_ns: u64,
    /// Where the file ends, in its own time.
    end_ns: u64,
}

impl FileSink {
    /// For `path`, MP4 or MKV by its extension. With `segment`, files of this length, named by [`segments`]; else this one file,
    /// replaced where it exists.
    pub fn new(path: &Path, segment: Option<Duration>) -> Result<Self, StreamError> {
        let fail = |why: &str| StreamError::Output { output: path.display().to_string(), why: why.to_owned() };
        let is = |extension: &str| path.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension));
        let pipeline = match () {
            () if is("mp4") => MP4,
            () if is("mkv") => MKV,
            () => return Err(fail("is neither an .mp4 nor an .mkv file name")),
        };
        let checked = if segment.is_some() { partial::check(path) } else { partial::check_in_place(path) };
        checked.map_err(|error| fail(&error.to_string()))?;
        let encoder = launch::choose_encoder(launch::LIVE_ENCODERS)?;
        let segment_ns = segment.map(|length| u64::try_from(length.as_nanos()).unwrap_or(u64::MAX));
        Ok(Self {
            path: path.to_owned(),
            pipeline,
            encoder,
            segment_ns,
            current: None,
            has_begun: false,
            written_bytes: 0,
            looked: Instant::now(),
        })
    }

    fn begin(&mut self, picture: &Picture, time: SystemTime) -> Result<Segment, String> {
        let create = || {
            segments::probe(&self.path)?;
            segments::create(&self.path, time)
        };
        let path = match self.segment_ns.is_some() || self.has_begun {
            true => create().map_err(|error| self.fault(&self.path, &error))?.0,
            false => self.path.clone(),
        };
        self.has_begun = true;
        let encoding = Encoding::start(self.pipeline, self.encoder, picture, |out| out.set_property("location", &path))
            .map_err(|why| self.fault(&path, &why))?;
        let pts_ns = picture.pts_ns;
        Ok(Segment { path, encoding, source_ns: pts_ns, from_ns: 0, last_pts_ns: pts_ns, end_ns: 0 })
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(Segment { path, encoding, .. }) = self.current.take() else { return Ok(()) };
        let ended = encoding.finish(PATIENCE).map_err(|why| self.fault(&path, &why));
        self.written_bytes += length(&path);
        ended
    }

    /// A file that somebody took away, or whose disk is gone, would be written to for nobody.
    fn look(&mut self) -> Result<(), String> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        match self.current.take_if(|current| !current.path.exists()) {
            Some(gone) => Err(self.fault(&gone.path, &"the file is gone")),
            None => Ok(()),
        }
    }

    fn fault(&self, path: &Path, why: &dyn std::fmt::Display) -> String {
        format!("{}: {why}", path.display())
    }
}

impl Sink for FileSink {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn wish(&self) -> Wish {
        Box::new(|_| true)
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        self.place(message).map_err(SinkError::Other)
    }

    fn written_bytes(&self) -> Option<u64> {
        Some(self.written_bytes + self.current.as_ref().map_or(0, |current| length(&current.path)))
    }

    fn finish(mut self: Box<Self>, _ending: Ending) -> Result<(), SinkError> {
        self.end().map_err(SinkError::Other)
    }
}

impl FileSink {
    /// Puts a picture into the file that is its.
    fn place(&mut self, message: &Message) -> Result<(), String> {
        let (Some(picture), Message::Frame { record, .. }) = (picture_of(message), message) else { return Ok(()) };
        self.look()?;
        let was_gone = record.live.and_then(|live| live.gap_ns).is_some_and(|gap_ns| gap_ns > GAP_NS);
        if let Some(current) = &mut self.current {
            let is_broken = was_gone || picture.pts_ns < current.last_pts_ns;
            match self.segment_ns {
                Some(length_ns) if is_broken || picture.pts_ns - current.source_ns >= length_ns => self.end()?,
                None if is_broken => (current.source_ns, current.from_ns) = (picture.pts_ns, current.end_ns),
                _ => {}
            }
        }
        let mut current = match self.current.take() {
            Some(current) => current,
            None => {
                let captured = record.live.map(|live| UNIX_EPOCH + Duration::from_nanos(live.captured_unix_ns));
                self.begin(picture, captured.unwrap_or_else(SystemTime::now))?
            }
        };
        let pts_ns = current.from_ns.saturating_add(picture.pts_ns - current.source_ns);
        if let Err(why) = current.encoding.push(picture, pts_ns) {
            self.written_bytes += length(&current.path);
            return Err(self.fault(&current.path, &why));
        }
        current.last_pts_ns = picture.pts_ns;
        current.end_ns = pts_ns.saturating_add(picture.duration_ns.max(1));
        self.current = Some(current);
        Ok(())
    }
}

/// In bytes; none where it is gone.
fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
