//! What a source tells: frames, and how it is.

use super::StreamError;
use super::decoder::{Decoder, Decoding};
use super::frame::Frame;
use super::ingest::Span;
use super::preflight::{MediaInfo, Source};
use super::source::{self, FrameSource};
use crate::record::{Shortfall, SourceState};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// One thing that happened at a source.
#[expect(clippy::large_enum_variant, reason = "nearly all are frames, and none waits in a queue")]
pub enum Event {
    Frame(Frame),
    State(StateChange),
}

/// A source is in another state.
#[derive(Clone, Debug, PartialEq)]
pub struct StateChange {
    pub state: SourceState,
    pub at: SystemTime,
    /// One line, without secrets; none where the state says all.
    pub why: Option<String>,
}

/// A source of frames that outlives its faults.
pub trait Feed: Send {
    /// Waits for the next event; none at the end, which a change to [`SourceState::Ended`] precedes, or soon after `stop` says so.
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Option<Event>;

    /// Whether frames come when they want to. The frames of others wait until they are wanted, and none is passed over.
    fn is_live(&self) -> bool;

    /// Frames so far that could not be decoded whole and were kept back.
    fn broken(&self) -> u64 {
        0
    }

    /// What decodes it, once frames have come.
    fn decoder(&self) -> Option<Decoder> {
        None
    }

    /// About how many frames there will be, where that is known.
    fn expected(&self) -> Option<u64> {
        None
    }

    /// Whether its frames are pictures that follow one another without being moments of one scene.
    fn is_pictures(&self) -> bool {
        false
    }

    /// After the end: why there was nothing of it.
    fn fault(&mut self) -> Option<StreamError> {
        None
    }
}

/// Videos and pictures in files, one after the other, as one source.
pub struct Files {
    files: VecDeque<(Source, Span)>,
    current: Option<(Box<dyn FrameSource>, Arc<str>)>,
    /// Told before anything else.
    pending: VecDeque<StateChange>,
    /// Waits for what is told before it.
    held: Option<Frame>,
    /// Waits for the frame after it: the last one of a file says what the file lacks.
    ahead: Option<Frame>,
    /// What went wrong with the file before, told once its last frame has gone.
    lost: Option<StateChange>,
    frames: u64,
    /// Where the current file's time begins.
    offset_ns: u64,
    end_ns: u64,
    /// Told after everything else.
    end: Option<SourceState>,
    decoding: Decoding,
    decoder: Option<Decoder>,
    /// Whether there is more than one file, each with a name of its own.
    is_many: bool,
    /// Of the only file.
    media: Arc<OnceLock<(MediaInfo, Span)>>,
    /// Of the file that is read.
    has_pictures: bool,
    is_one_scene: bool,
    /// What was wrong first, while there is no frame.
    fault: Option<StreamError>,
}

impl Files {
    pub fn new(files: Vec<Source>, span: Span) -> Self {
        Self {
            is_many: files.len() > 1,
            files: files.into_iter().map(|file| (file, span)).collect(),
            current: None,
            pending: VecDeque::new(),
            held: None,
            ahead: None,
            lost: None,
            frames: 0,
            offset_ns: 0,
            end_ns: 0,
            end: Some(SourceState::Ended),
            decoding: Decoding::default(),
            decoder: None,
            media: Arc::default(),
            has_pictures: false,
            is_one_scene: false,
            fault: None,
        }
    }

    /// Its pictures are the frames of a video.
    pub fn of_one_scene(self) -> Self {
        Self { is_one_scene: true, ..self }
    }

    /// What the only file says of itself, once it is open.
    pub fn media(&self) -> Arc<OnceLock<(MediaInfo, Span)>> {
        self.media.clone()
    }

    /// Decoded as asked for.
    pub fn decoded(self, decoding: Decoding) -> Result<Self, StreamError> {
        decoding.check()?;
        Ok(Self { decoding, ..self })
    }

    fn change(state: SourceState, why: Option<String>) -> StateChange {
        StateChange { state, at: SystemTime::now(), why }
    }

    /// The next frame of any file; what goes wrong with one is told, and the next one is opened.
    fn frame(&mut self, stop: &dyn Fn() -> bool) -> Option<Frame> {
        loop {
            if stop() {
                return self.ahead.take();
            }
            let Some((frames, name)) = &mut self.current else {
                self.pending.extend(self.lost.take());
                let (file, span) = self.files.pop_front()?;
                match source::open_with(&file, span, &self.decoding) {
                    Ok((media, frames)) => {
                        self.has_pictures = media.is_picture;
                        if !self.is_many {
                            self.media.get_or_init(|| (media, span));
                        }
                        self.current = Some((frames, file.name.as_str().into()));
                        self.offset_ns = self.end_ns;
                        self.pending
                            .push_back(Self::change(SourceState::Live, self.is_many.then(|| file.name.clone())));
                    }
                    Err(error) => {
                        self.pending.push_back(Self::change(SourceState::Lost, Some(error.to_string())));
                        if self.frames == 0 {
                            self.fault.get_or_insert(error);
                        }
                    }
                }
                continue;
            };
            let lacks = match frames.next(stop) {
                Ok(Some(mut frame)) => {
                    frame.index = self.frames;
                    frame.pts_ns = frame.pts_ns.saturating_add(self.offset_ns);
                    frame.file = self.is_many.then(|| name.clone());
                    if self.decoder.is_none() || self.pending.back().is_some() {
                        self.decoder = frames.decoder();
                    }
                    self.frames += 1;
                    self.fault = None;
                    self.end_ns = frame.pts_ns.saturating_add(frame.duration_ns);
                    match self.ahead.replace(frame) {
                        Some(before) => return Some(before),
                        None => continue,
                    }
                }
                Ok(None) => frames.shortfall().cloned(),
                Err(error) => {
                    let lacks = Shortfall { why: error.to_string(), found_ns: self.end_ns, declared_ns: None };
                    if self.frames == 0 {
                        self.fault.get_or_insert(error);
                    }
                    Some(lacks)
                }
            };
            self.current = None;
            self.lost = lacks.as_ref().map(|lacks| Self::change(SourceState::Lost, Some(lacks.why.clone())));
            if let Some(mut last) = self.ahead.take() {
                last.shortfall = lacks.map(Arc::new);
                return Some(last);
            }
        }
    }
}

impl Feed for Files {
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Option<Event> {
        if self.held.is_none() && self.pending.is_empty() {
            self.held = self.frame(stop);
        }
        if let Some(change) = self.pending.pop_front() {
            return Some(Event::State(change));
        }
        if let Some(frame) = self.held.take() {
            return Some(Event::Frame(frame));
        }
        self.end.take().map(|state| Event::State(Self::change(state, None)))
    }

    fn is_live(&self) -> bool {
        false
    }

    fn decoder(&self) -> Option<Decoder> {
        self.decoder.clone()
    }

    fn expected(&self) -> Option<u64> {
        let (media, span) = self.media.get()?;
        media.frames_in(*span)
    }

    fn is_pictures(&self) -> bool {
        self.has_pictures && !self.is_one_scene
    }

    fn fault(&mut self) -> Option<StreamError> {
        self.fault.take()
    }
}
