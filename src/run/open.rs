//! Opens what a source is read from, and what its results go to.

use super::observe::Watcher;
use super::outputs::{self, Own};
use super::place::{Faults, Place, Wrong};
use super::sources::{self, Planned, Taken, What};
use super::spec::{RunSpec, Shared};
use super::{Observe, RunError, resolve, scene};
use crate::engine::Input;
use crate::engine::adaptive::Adaptive;
use crate::engine::sink::Sink;
use crate::engine::status::SourceStatus;
use crate::publish::broker::Publisher;
use crate::publish::event_store::EventStore;
use crate::publish::file::FileSink;
use crate::publish::home_assistant::HomeAssistant;
use crate::publish::mp4::Mp4Sink;
use crate::publish::push::{PushSink, Target};
use crate::publish::records::{Lines, Records};
use crate::publish::rtsp::RtspServer;
use crate::publish::window::WindowSink;
use crate::stream::decoder::ModelSize;
use crate::stream::feed::Feed;
use crate::stream::{self, redact};
use crate::web;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tracing::info;

/// What the sources of a run share.
pub(super) struct Setup {
    pub shared: Shared,
    /// Files that no output may be.
    pub read: Vec<PathBuf>,
    /// Of the model.
    pub model_size: ModelSize,
    /// What kept scenes were seen by.
    pub by: String,
    /// Every source, on the page or over RTSP.
    pub is_shown: bool,
    pub records: Option<Records>,
    pub events: Option<Records>,
    pub event_store: Option<EventStore>,
    pub publisher: Option<Publisher>,
    pub home_assistant: Option<HomeAssistant>,
    pub rtsp: Option<Arc<RtspServer>>,
    pub web: Option<web::Server>,
    pub observe: Observe,
    pub watcher: Option<Watcher>,
    pub stop: Arc<AtomicBool>,
}

/// A source that can begin: its feed, and the sinks that are its own.
pub(super) struct Ready {
    pub source: Planned,
    pub own: Own,
    pub feed: Box<dyn Feed>,
    sinks: Vec<Box<dyn Sink>>,
}

impl Setup {
    fn open(&self, source: Planned, own: Own) -> Result<Ready, Wrong> {
        let shared = &self.shared;
        let at = |key| Place::of(source.given, key);
        let is_observed = self.watcher.as_ref().is_some_and(|watcher| watcher.with_pictures);
        let is_small = !self.is_shown && !is_observed && !is_whole(&source, &own, shared);
        let model_size = is_small.then(|| self.model_size.clone());
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        let mut media = Arc::default();
        let feed: Box<dyn Feed> = match &source.what {
            What::Live(input) => Box::new(sources::camera(input, &source, model_size)?),
            What::Files(_) => {
                let files = sources::files(&source, model_size).map_err(|error| at("decoder").wrong(error))?;
                media = files.media();
                Box::new(files)
            }
        };
        let segment = source.options.segment;
        match (&own.video, source.files().first()) {
            (Some(path), Some(file)) if segment.is_none() => {
                let sink = Mp4Sink::new(path, file.clone(), media);
                sinks.push(Box::new(sink.map_err(|error| at("output").wrong(error))?));
            }
            (Some(path), _) => {
                let sink = FileSink::new(path, segment);
                sinks.push(Box::new(sink.map_err(|error| at("output").wrong(error))?));
            }
            (None, _) => {}
        }
        if let Some(path) = &own.records {
            Records::check(path, false).map_err(|error| at("input").wrong(error))?;
            sinks.push(Records::replace(path, Lines::Frames).sink());
        }
        if let Some(url) = &source.options.push {
            let url = url.replace("{name}", &source.stem.to_string_lossy());
            let target = Target::parse(&url).map_err(|why| at("push").wrong(RunError::Usage(why)))?;
            let sink = PushSink::new(target).map_err(|error| at("push").wrong(error))?;
            sinks.push(Box::new(sink));
        }
        if shared.display {
            let sink = WindowSink::new(self.stop.clone(), !source.is_live());
            sinks.push(Box::new(sink.map_err(|error| Place::of_all("display").wrong(error))?));
        }
        Ok(Ready { source, own, feed, sinks })
    }

    /// Those that can be opened.
    pub fn open_all(&self, sources: Vec<Planned>, own: Vec<Own>, faults: &mut Faults) -> Vec<Ready> {
        let opened = sources.into_iter().zip(own).map(|(source, own)| self.open(source, own));
        opened.filter_map(|opened| opened.map_err(|wrong| faults.0.push(wrong)).ok()).collect()
    }

    /// With the sinks that sources share.
    pub fn input(&self, ready: Ready, status: Arc<SourceStatus>) -> Input {
        let Ready { source, own, feed, mut sinks } = ready;
        sinks.extend([&self.records, &self.events].into_iter().flatten().map(Records::sink));
        // Pictures are made where somebody can ask for them.
        sinks.extend(self.event_store.as_ref().map(|store| store.sink(self.web.is_some())));
        let stem = source.stem.to_string_lossy();
        sinks.extend(self.publisher.as_ref().map(|publisher| publisher.sink(&source.name, &stem)));
        sinks.extend(self.home_assistant.as_ref().map(|home| home.sink(&status)));
        if let Some(server) = &self.rtsp {
            let sink = server.sink(&stem);
            info!("{}: {}", source.name, sink.url());
            sinks.push(Box::new(sink));
        }
        sinks.extend(self.watcher.as_ref().map(|watcher| watcher.sink(status.clone())));
        // A file begins as it began before.
        let store = self.event_store.as_ref().filter(|_| source.is_live());
        sinks.extend(self.web.as_ref().map(|server| server.sink(&status)));
        Input {
            sinks,
            every: source.options.every.unwrap_or_default(),
            delay: source.options.delay,
            adaptive: (source.options.adaptive == Some(true)).then(Adaptive::default),
            standing: store.map_or_else(Vec::new, |store| store.standing(&source.name)),
            scene: own.scene.as_deref().map(|file| scene::kept(file, &self.by)),
            ..Input::new(status, feed)
        }
    }
}

/// Whether its frames are wanted whole: for somebody to see, or to be masked before they are scaled.
fn is_whole(source: &Planned, own: &Own, shared: &Shared) -> bool {
    let is_masked = source.options.mask.as_ref().is_some_and(|areas| !areas.is_empty());
    own.video.is_some() || source.options.push.is_some() || shared.display || is_masked
}

/// The pipeline of each source, a line each without secrets: of files as it runs, of cameras as it is made for a connection.
pub fn pipelines(spec: &RunSpec) -> Result<String, RunError> {
    let RunSpec { shared, each, sources: given } = spec;
    let checkpoint = shared.checkpoint()?;
    let given = Vec::from_iter(given.iter().map(|source| source.over(each)));
    let mut faults = Faults::default();
    let planned = sources::plan(&given, &Taken::default(), &mut faults);
    let own = outputs::plan_names(&planned, shared, Observe::Nothing, 0, &mut faults);
    faults.none()?;
    let mut text = String::new();
    for (source, own) in planned.iter().zip(&own) {
        // Without any target there is the live page.
        let is_shown = shared.rtsp_out.is_some()
            || shared.web.is_some()
            || shared.home_assistant.is_some()
            || source.is_live() && !shared.has_lines();
        let is_small = !is_shown && !is_whole(source, own, shared);
        let model_size = is_small.then(|| resolve::decoder_size(shared.model_size(), &checkpoint));
        let lines = match &source.what {
            What::Live(input) => vec![sources::camera(input, source, model_size)?.pipeline()],
            What::Files(files) => {
                let decoding = source.options.decoding(model_size);
                let line = |file: &stream::preflight::Source| {
                    let (_, mut frames) = stream::source::open_with(file, source.options.span(), &decoding)?;
                    frames.next(&|| false)?;
                    Ok(frames.pipeline().unwrap_or_else(|| "a picture, which GStreamer does not decode".into()))
                };
                files.iter().map(line).collect::<Result<_, RunError>>()?
            }
        };
        lines.iter().for_each(|line| text.push_str(&format!("{}: {line}\n", source.name)));
    }
    Ok(redact(&text))
}
