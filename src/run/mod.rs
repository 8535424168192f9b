//! The door: a run as a program starts it, adds sources to it, and reads what they show. The command line is one of those programs.
//!
//! ```text
//! RunSpec (plain data) ─► names, outputs ─► feeds and sinks ─► engine ─► records, pictures, videos, the live page
//!    ▲ TOML (config)       sources, outputs     open
//! ```
//!
//! No process-wide handler, no exit, nothing printed: what is to be said is logged (`tracing`), what goes wrong comes back typed.
//!
//! ```no_run
//! use mostream::engine::sink::Message;
//! use mostream::run::{Observe, Options, Run, RunSpec, SourceSpec};
//!
//! let mut spec = RunSpec { sources: vec![SourceSpec::new("street.mp4")], ..RunSpec::default() };
//! spec.each.output = Some("{name}.boxes.mp4".into());
//! let run = Run::start(spec, Options { observe: Observe::Records, ..Options::default() })?;
//! let camera = run.add(SourceSpec::new("rtsp://10.0.0.7/stream").named("door"))?;
//! for message in run.messages().take(1000) {
//!     if let Message::Frame { record, .. } = message {
//!         println!("{} {}: {} objects", record.source, record.frame, record.objects.len());
//!     }
//! }
//! for id in camera {
//!     run.remove(id);
//! }
//! run.stop();
//! let outcome = run.join()?;
//! assert!(outcome.faults().next().is_none());
//! # Ok::<(), mostream::run::RunError>(())
//! ```

mod check;
pub mod config;
mod control;
mod events;
pub mod guard;
mod home_assistant;
pub mod inputs;
mod observe;
mod open;
mod outputs;
mod place;
mod publish;
mod reload;
mod resolve;
mod save;
mod scene;
mod sources;
pub mod spec;
mod token;
mod values;

pub use home_assistant::HomeAssistantSpec;
pub use observe::Observe;
pub use open::pipelines;
pub use publish::PublishSpec;
pub use reload::Changes;
pub use spec::{RunSpec, Shared, SourceOptions, SourceSpec, SpecError};

use crate::backbone::{BackboneError, Checkpoint, Measure};
use crate::discover::groups::GroupsError;
use crate::engine::sink::{Message, SinkError};
use crate::engine::status::{Board, LaneId, Snapshot, SourceStatus};
use crate::engine::{Backbones, Ended, Engine, EngineError, Fault, Outcome, Task};
use crate::fault::{Kind, OfKind};
use crate::picture::PictureError;
use crate::publish::records::{Lines, Records};
use crate::publish::rtsp::{Access, RtspServer};
use crate::stream::StreamError;
use crate::web::{self, WebError};
use crate::zones::Regions;
use crate::zoo::ZooError;
use observe::Window;
use open::{Ready, Setup};
use place::{Faults, Place, Wrong};
use sources::{Planned, Taken};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a spec does not say: how a run is bound to the program around it.
#[derive(Clone, Default)]
pub struct Options {
    pub observe: Observe,
    /// Whoever sets it ends the run; closing the window of `display` does.
    pub stop: Arc<AtomicBool>,
    /// The file that the spec is from: who asks the page for it has it read again.
    pub config: Option<PathBuf>,
    /// What tries devices and precisions where it is left open which of them is used, and not known yet.
    pub measure: Option<Measure>,
}

/// Why a run cannot be started, or a source not be added. What goes wrong at a source later is a [`Fault`].
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// What is asked for does not go together.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Input(String),
    #[error("{0}")]
    Output(String),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    #[error(transparent)]
    Model(#[from] ZooError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Groups(#[from] GroupsError),
    #[error(transparent)]
    Page(#[from] WebError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Of a spec that is from a file: `FILE:LINE`, where the line is known.
    #[error("{place}: {error}")]
    Placed { place: String, error: Box<Self> },
}

impl OfKind for RunError {
    fn kind(&self) -> Kind {
        match self {
            Self::Spec(error) => error.kind(),
            Self::Usage(_) => Kind::Usage,
            Self::Input(_) => Kind::Input,
            Self::Output(_) => Kind::Output,
            Self::Stream(error) => error.kind(),
            Self::Picture(error) => error.kind(),
            Self::Backbone(error) => error.kind(),
            Self::Model(error) => error.kind(),
            Self::Engine(error) => error.kind(),
            Self::Groups(error) => error.kind(),
            Self::Page(error) => error.kind(),
            Self::Sink(error) => error.kind(),
            Self::Placed { error, .. } => error.kind(),
        }
    }
}

/// A run. To drop it stops it and waits until its outputs are whole.
pub struct Run {
    core: Arc<Core>,
    /// None where nothing is observed.
    window: Option<Window>,
    token: Option<token::Made>,
}

/// What changes come to, those that are asked for over HTTP, too.
struct Core {
    engine: Engine,
    /// Taken by who adds or removes.
    state: Mutex<State>,
    setup: Setup,
}

/// The sources as they are now.
struct State {
    /// What holds for one that is added and says nothing else.
    each: SourceOptions,
    known: Vec<Known>,
}

/// A source that is on the board.
struct Known {
    id: LaneId,
    /// Of those that were given as one: a folder may be several.
    first: LaneId,
    /// As it was given, whole.
    spec: SourceSpec,
    name: String,
    stem: String,
    own: outputs::Own,
    /// Files that are no output's.
    read: Vec<PathBuf>,
}

/// A run that has everything it needs, and has not begun.
struct Prepared {
    given: Vec<SourceSpec>,
    each: SourceOptions,
    ready: Vec<Ready>,
    setup: Setup,
    task: Task,
    models: Backbones<Arc<Checkpoint>>,
    board: Arc<Board>,
    page: Option<SocketAddr>,
    web_token: Option<String>,
    access: Access,
    window: Option<Window>,
}

impl Prepared {
    /// What can be gone on without is among the `faults`.
    fn new(spec: RunSpec, options: &Options, faults: &mut Faults) -> Result<Self, Wrong> {
        spec.check().map_err(RunError::from)?;
        let RunSpec { shared, each, sources: given } = spec;
        let of_all = Place::of_all;
        let web_token = shared.web_token.as_deref().map(token::read).transpose();
        let web_token = faults.note(of_all("web-token"), web_token).flatten();
        let access = token::access(&shared, faults);
        let given = Vec::from_iter(given.iter().map(|source| source.over(&each)));
        let planned = sources::plan(&given, &Taken::default(), faults);
        let is_live = planned.iter().any(Planned::is_live);
        let of_server = [&shared.web_token, &shared.rtsp_out_credentials, &shared.rtsp_out_cert, &shared.rtsp_out_key];
        let of_run = of_server.into_iter().chain([&shared.groups, &shared.model]).flatten();
        let read = Vec::from_iter(of_run.filter(|path| path.is_file()).cloned());
        let own = outputs::plan(&planned, &shared, options.observe, &[], &read, faults);
        for (path, key) in [(&shared.records, "records"), (&shared.events, "events")] {
            path.as_ref().and_then(|path| faults.note(of_all(key), Records::check(path, is_live)));
        }
        let feature = faults.note(of_all("feature"), shared.feature()).unwrap_or_default();
        let checkpoint = Arc::new(shared.checkpoint().map_err(|error| of_all("model").wrong(error))?);
        let is_size = shared.model_size().check(checkpoint.patch());
        faults.note(of_all("size"), is_size.map_err(|why| RunError::Usage(format!("size {why}"))));
        let groups = faults.note(of_all("groups"), shared.load_groups(checkpoint.id())).flatten();

        let task = Task {
            model: checkpoint.id().to_owned(),
            cue: shared.cue(),
            localizer: shared.localizer(),
            groups,
            with_masks: shared.masks,
            with_timings: shared.timings,
        };
        // A camera of which nobody asks anything is shown.
        let is_unseen = |(source, own): (&Planned, &outputs::Own)| {
            let is_out = shared.has_lines() || shared.display || shared.rtsp_out.is_some();
            source.is_live() && own.video.is_none() && source.options.push.is_none() && !is_out
        };
        let has_unseen = options.observe == Observe::Nothing && planned.iter().zip(&own).any(is_unseen);
        let page = shared.web.or(has_unseen.then_some(spec::WEB));
        publish::check(&publish::orders(&shared).map_err(RunError::from)?, faults);
        home_assistant::check(&shared, faults);
        let (devices, size) = (shared.devices(), shared.model_size());
        let measure = options.measure.filter(|_| faults.0.is_empty());
        let session = shared.session_options().chosen(&checkpoint, size.usual(&checkpoint), measure);
        let (window, watcher) = observe::open(options.observe, &options.stop).unzip();
        let setup = Setup {
            by: format!("{}, middle keys, {}", checkpoint.id(), session.first_precision()),
            model_size: resolve::decoder_size(size, &checkpoint),
            is_shown: page.is_some() || shared.rtsp_out.is_some() || shared.home_assistant.is_some(),
            read,
            records: None,
            events: None,
            event_store: None,
            publisher: None,
            home_assistant: None,
            rtsp: None,
            web: None,
            observe: options.observe,
            watcher,
            stop: options.stop.clone(),
            shared,
        };
        let ready = setup.open_all(planned, own, faults);
        let models = Backbones { feature, size, devices, options: session, checkpoint };
        Ok(Self { given, each, ready, setup, task, models, board: Arc::default(), page, web_token, access, window })
    }

    /// Listens for who looks on.
    fn serve(&mut self) -> Result<(), Wrong> {
        let rtsp = self.setup.shared.rtsp_out.map(|address| RtspServer::bind(address, &self.access)).transpose();
        self.setup.rtsp = rtsp.map_err(|error| Place::of_all("rtsp-out").wrong(error))?;
        let (board, token) = (&self.board, &self.web_token);
        let serve = |address| web::Server::start(address, board.clone(), token.clone(), web::Options::default());
        self.setup.web = self.page.map(serve).transpose().map_err(|error| Place::of_all("web").wrong(error))?;
        Ok(())
    }
}

impl Run {
    /// Opens every source and output, and begins. Nothing has begun where there is an error.
    pub fn start(spec: RunSpec, options: Options) -> Result<Self, RunError> {
        Self::begin(spec, &options).map_err(|wrong| wrong.told(options.config.as_deref()))
    }

    fn begin(spec: RunSpec, options: &Options) -> Result<Self, Wrong> {
        let mut faults = Faults::default();
        let prepared = Prepared::new(spec, options, &mut faults);
        faults.none()?;
        let mut prepared = prepared?;
        prepared.serve()?;
        let Prepared { given, each, ready, mut setup, task, models, board, window, .. } = prepared;
        let is_live = ready.iter().any(|ready| ready.source.is_live());
        let to = |path: &PathBuf, lines: Lines| match is_live {
            true => Records::append(path, lines).map_err(RunError::from),
            false => Ok(Records::replace(path, lines)),
        };
        setup.records = setup.shared.records.as_ref().map(|path| to(path, Lines::Frames)).transpose()?;
        setup.events = setup.shared.events.as_ref().map(|path| to(path, Lines::Events)).transpose()?;
        setup.event_store = events::keep(&setup, is_live)?;
        setup.publisher = publish::start(&setup.shared, &board, options)?;
        setup.home_assistant = home_assistant::start(&setup.shared, &board)?;
        let engine = Engine::start(task, Arc::new(models), board, options.stop.clone()).map_err(RunError::from)?;
        let core = Arc::new(Core { engine, state: Mutex::new(State { each, known: Vec::new() }), setup });
        core.begin(&given, ready, &mut core.state().known)?;
        let token = core.setup.web.as_ref().and_then(|server| control::open(server, &core, options.config.clone()));
        Ok(Self { core, window, token })
    }

    /// Adds a source, with options of its own before those of the spec; the others do not notice. A folder may be several.
    pub fn add(&self, source: SourceSpec) -> Result<Vec<LaneId>, RunError> {
        Ok(self.core.add(&source)?)
    }

    /// Ends a source, waits until its outputs are whole, and says how it went; none where there is no such source. What has ended by itself
    /// stays known until it is removed. Of what is observed, messages that find no room meanwhile are lost.
    pub fn remove(&self, id: LaneId) -> Option<Ended> {
        self.core.remove(id)
    }

    /// Nothing is made of the source's frames until it is resumed: a file's wait, a live source stays connected and its frames are let go.
    /// False where there is no such source.
    pub fn pause(&self, id: LaneId) -> bool {
        self.core.pause(id, true).is_some()
    }

    /// False where there is no such source.
    pub fn resume(&self, id: LaneId) -> bool {
        self.core.pause(id, false).is_some()
    }

    /// Parts a source's picture into these zones, lines and areas from its next frame on; the source stays connected. False where there is no
    /// such source.
    pub fn set_regions(&self, id: LaneId, regions: Regions) -> bool {
        self.core.set_regions(id, regions)
    }

    /// How every source is, those that have ended included.
    pub fn snapshot(&self) -> Vec<Snapshot> {
        self.board().sources().iter().map(|source| source.snapshot()).collect()
    }

    /// The same, as it changes.
    pub fn board(&self) -> &Arc<Board> {
        self.core.engine.board()
    }

    /// The live page's address with the token by which a browser may change sources, for one person's eyes; none where there is no page, or
    /// its token is the user's own.
    pub fn page_link(&self) -> Option<String> {
        Some(format!("http://{}/?token={}", self.page()?, self.token.as_ref()?.token))
    }

    /// Where the live page is; none where there is none.
    pub fn page(&self) -> Option<SocketAddr> {
        self.core.setup.web.as_ref().map(web::Server::addr)
    }

    /// Waits for what is observed next; none once every source has ended and all of it was read, and where nothing is observed. Who does not
    /// read holds files up, and misses frames of live sources.
    pub fn next_message(&self) -> Option<Message> {
        self.window.as_ref()?.next(|| self.is_idle())
    }

    /// See [`Self::next_message`].
    pub fn messages(&self) -> impl Iterator<Item = Message> {
        std::iter::from_fn(|| self.next_message())
    }

    /// Whether every source so far has ended.
    pub fn is_idle(&self) -> bool {
        self.core.engine.is_idle()
    }

    /// Whether the sources have been looked after within this time, and no device has been at the same runs of the model for longer. It says
    /// nothing of frames: a camera may be away, and a session may take minutes to open.
    pub fn is_alive(&self, within: Duration) -> bool {
        self.board().is_alive(within)
    }

    /// Everything ends soon; outputs are complete up to there.
    pub fn stop(&self) {
        self.core.setup.stop.store(true, Ordering::Relaxed);
    }

    /// What is written for sources that had frames; a file appears under its name when it is complete.
    pub fn written(&self) -> Vec<PathBuf> {
        let has_frames = |source: &&Known| self.board().get(source.id).is_some_and(|now| now.progress().0 > 0);
        let state = self.core.state();
        let own = state.known.iter().filter(has_frames).flat_map(|source| [&source.own.video, &source.own.records]);
        let shared = &self.core.setup.shared;
        own.chain([&shared.records, &shared.events]).flatten().cloned().collect()
    }

    /// Waits until every source has ended and its outputs are whole. What is observed and not read is lost.
    pub fn join(self) -> Result<Outcome, RunError> {
        let core = self.core.clone();
        // Nobody else changes anything any more.
        drop(self);
        let Some(Core { engine, mut setup, .. }) = Arc::into_inner(core) else { return Err(EngineError::Over.into()) };
        let mut outcome = engine.join()?;
        for lines in [setup.records.take(), setup.events.take()].into_iter().flatten() {
            if let (Err(error), Some(last)) = (lines.finish(), outcome.sources.last_mut()) {
                last.faults.push(Fault::Sink(error));
            }
        }
        Ok(outcome)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.core.setup.web.iter().for_each(web::Server::obey_no_more);
    }
}

impl Core {
    fn add(&self, source: &SourceSpec) -> Result<Vec<LaneId>, Wrong> {
        let mut state = self.state();
        let given = [source.over(&state.each)];
        let ready = self.plan(&given, &state.known)?;
        Ok(self.begin(&given, ready, &mut state.known)?)
    }

    fn remove(&self, id: LaneId) -> Option<Ended> {
        let mut state = self.state();
        let ended = self.engine.remove(id);
        state.known.retain(|source| source.id != id);
        ended
    }

    fn pause(&self, id: LaneId, is_paused: bool) -> Option<Arc<SourceStatus>> {
        let source = self.board().get(id)?;
        if is_paused {
            source.pause()
        } else {
            source.resume()
        }
        Some(source)
    }

    fn set_regions(&self, id: LaneId, regions: Regions) -> bool {
        let mut state = self.state();
        let known = state.known.iter_mut().find(|source| source.id == id);
        let Some((known, status)) = known.zip(self.board().get(id)) else { return false };
        known.spec.options = std::mem::take(&mut known.spec.options).with_regions(&regions);
        status.set_regions(regions);
        true
    }

    /// What whole sources become beside those that are `known`, opened.
    fn plan(&self, given: &[SourceSpec], known: &[Known]) -> Result<Vec<Ready>, Wrong> {
        given.iter().try_for_each(|source| source.check()).map_err(RunError::from)?;
        let mut faults = Faults::default();
        let names = known.iter().map(|source| source.name.clone()).collect();
        let stems = known.iter().map(|source| source.stem.clone()).collect();
        let planned = sources::plan(given, &Taken { names, stems }, &mut faults);
        let Setup { shared, observe, read, .. } = &self.setup;
        let own = outputs::plan(&planned, shared, *observe, known, read, &mut faults);
        let ready = self.setup.open_all(planned, own, &mut faults);
        faults.none()?;
        Ok(ready)
    }

    fn begin(&self, given: &[SourceSpec], ready: Vec<Ready>, known: &mut Vec<Known>) -> Result<Vec<LaneId>, RunError> {
        let (mut begun, mut last) = (Vec::new(), None);
        for ready in ready {
            let (source, own) = (&ready.source, ready.own.clone());
            let (name, number, stem) = (source.name.clone(), source.given, sources::lower(&source.stem));
            let files = source.files().iter().filter_map(|file| file.file.clone());
            let read = files.chain(source.options.credentials.clone()).collect();
            let status = self.board().enter(name.clone());
            status.set_regions(source.options.regions());
            if source.options.paused == Some(true) {
                status.pause();
            }
            let id = self.engine.add(self.setup.input(ready, status))?;
            let first = last.filter(|(given, _)| *given == number).map_or(id, |(_, first)| first);
            last = Some((number, first));
            known.push(Known { id, first, spec: given[number].clone(), name, stem, own, read });
            begun.push(id);
        }
        Ok(begun)
    }

    fn board(&self) -> &Arc<Board> {
        self.engine.board()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
