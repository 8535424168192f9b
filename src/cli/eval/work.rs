//! The pictures of a data set through decoder, backbone and localizers, on one thread or several.

use super::super::cue::{self, CueArgs};
use super::super::model::ModelArgs;
use super::super::past::{self, Ask};
use super::state::{self, Entry, Found, Microseconds, State};
use crate::cli::exit::Failure;
use mostream::analyzer::{Analysis, AnalyzeError, Analyzer, feature_for};
use mostream::backbone::{Checkpoint, Feature};
use mostream::engine::{Cue, Seen, Sparing};
use mostream::evaluate::dataset::{Item, Media};
use mostream::evaluate::sample::Moment;
use mostream::localize::{Localizer, Method};
use mostream::picture::{self, RgbImage};
use mostream::run::spec::localizer;
use mostream::scene::Senses;
use mostream::stream::feed::Files;
use mostream::stream::ingest::Span;
use mostream::stream::pictures::VideoPictures;
use mostream::stream::preflight::Source;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, UNIX_EPOCH};

/// Results that wait to be written.
const WAITING: usize = 64;

/// What is asked of every picture. A setting is a size of input and a method: number `input * methods + method`.
pub struct Plan<'a> {
    pub items: &'a [Item],
    /// As shown.
    pub inputs: Vec<String>,
    pub methods: Vec<Method>,
    /// Of the methods on features.
    pub feature: Feature,
    pub paper: bool,
    /// Boxes below it are not measured, whatever the state holds; by default what `run` leaves out.
    pub min_score: Option<f32>,
    pub every: usize,
    pub cue: CueArgs,
    /// Of clips that are seen with their past: what the model runs on, and what is left out.
    pub sparing: Sparing,
    pub without: Senses,
    pub models: Models<'a>,
    /// All that the boxes depend on and no setting says.
    pub common_key: String,
}

/// What the engine needs.
pub struct Models<'a> {
    pub checkpoint: &'a Arc<Checkpoint>,
    /// For each input.
    pub args: Vec<ModelArgs>,
    pub stop: &'a AtomicBool,
}

/// What came of it.
#[derive(Default)]
pub struct Findings {
    /// By item and frame: what each setting found there. Frames that some setting failed on are not among them.
    pub found: BTreeMap<(usize, usize), Vec<Found>>,
    /// In order of the items.
    pub failures: Vec<String>,
}

enum Told {
    Found { item: usize, frame: usize, setting: usize, key: String, found: Found, is_new: bool },
    Failed { item: usize, why: String },
}

impl Plan<'_> {
    pub fn settings(&self) -> usize {
        self.inputs.len() * self.methods.len()
    }

    /// Boxes of a lower score are left out for this setting of this item.
    pub fn min_score(&self, setting: usize, item: usize) -> f32 {
        match self.cue(setting, item) {
            Cue::Time { min_score, .. } => min_score,
            Cue::Appearance => localizer(self.method(setting), self.paper, self.min_score).min_score,
        }
    }

    pub fn method(&self, setting: usize) -> Method {
        self.methods[setting % self.methods.len()]
    }

    /// Pictures have no past.
    pub fn cue(&self, setting: usize, item: usize) -> Cue {
        match self.items[item].media {
            Media::Still(_) => Cue::Appearance,
            Media::Sequence(_) | Media::Video(_) => {
                match cue::cue(self.cue, self.method(setting), self.paper, self.min_score) {
                    Cue::Time { min_score, without } => {
                        Cue::Time { min_score, without: self.without.all().chain(without.all()).collect() }
                    }
                    Cue::Appearance => Cue::Appearance,
                }
            }
        }
    }

    fn is_wanted(&self, item: usize, frame: usize) -> bool {
        frame.is_multiple_of(self.every) && self.items[item].frames.get(frame).is_some_and(|truth| truth.is_annotated)
    }

    /// Pictures that are to be looked at.
    pub fn pictures(&self) -> usize {
        let wanted = |item: usize| (0..self.items[item].frames.len()).filter(move |frame| self.is_wanted(item, *frame));
        (0..self.items.len()).flat_map(wanted).count()
    }

    fn key(&self, item: usize, frame: usize, setting: usize, stamp: &str) -> String {
        let input = &self.inputs[setting / self.methods.len()];
        let method = self.method(setting).to_string();
        let (id, frame) = (&self.items[item].id, frame.to_string());
        let past = match self.cue(setting, item) {
            Cue::Time { min_score, without } => {
                let least = localizer(self.method(setting), self.paper, self.min_score).min_score;
                format!("time {:?} without {without:?} at least {min_score}, of single pictures {least}", self.sparing)
            }
            Cue::Appearance => String::new(),
        };
        state::key(&[&self.common_key, input, &method, &past, id, &frame, stamp])
    }
}

/// Works through the items, one thread for each list of analyzers (one analyzer per size of input). `on_picture` hears how many
/// pictures are done, and how many boxes were found. None where `stop` was set before the end.
pub fn run(
    plan: &Plan,
    workers: Vec<Vec<Analyzer>>,
    mut state: State,
    stop: &AtomicBool,
    mut on_picture: impl FnMut(u64, u64),
) -> Result<Option<Findings>, Failure> {
    let next = AtomicUsize::new(0);
    let abort = AtomicBool::new(false);
    let mut file = state.take_file();
    let mut found: BTreeMap<(usize, usize), Vec<Option<Found>>> = BTreeMap::new();
    let mut failures = Vec::new();
    let (sender, receiver) = sync_channel(WAITING);
    let is_over = || stop.load(Ordering::Relaxed) || abort.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for analyzers in workers {
            let mut worker = Worker { plan, analyzers, state: &state, tell: sender.clone(), is_over: &is_over };
            let next = &next;
            threads.push(scope.spawn(move || {
                while !(worker.is_over)() {
                    let item = next.fetch_add(1, Ordering::Relaxed);
                    if item >= worker.plan.items.len() {
                        break;
                    }
                    worker.item(item)?;
                }
                Ok::<_, Failure>(())
            }));
        }
        drop(sender);
        let mut told = Ok(());
        let (mut pictures, mut boxes) = (0, 0);
        // To the end, so that no worker waits for ever.
        for message in receiver {
            match message {
                Told::Failed { item, why } => failures.push((item, why)),
                Told::Found { item, frame, setting, key, found: new, is_new } => {
                    if is_new && told.is_ok() {
                        let (input, method) = (setting / plan.methods.len(), setting % plan.methods.len());
                        let entry = Entry {
                            key,
                            item: &plan.items[item].id,
                            frame,
                            input: &plan.inputs[input],
                            method: plan.methods[method],
                        };
                        told = State::add(&mut file, entry, &new);
                        if told.is_err() {
                            abort.store(true, Ordering::Relaxed);
                        }
                    }
                    let all = found.entry((item, frame)).or_insert_with(|| vec![None; plan.settings()]);
                    boxes += new.boxes.len() as u64;
                    all[setting] = Some(new);
                    if all.iter().all(Option::is_some) {
                        pictures += 1;
                        on_picture(pictures, boxes);
                    }
                }
            }
        }
        for thread in threads {
            thread.join().map_err(|_| Failure::internal("a worker thread has panicked"))??;
        }
        told
    })?;
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    failures.sort_by_key(|(item, _)| *item);
    let whole = |(at, found): (_, Vec<Option<Found>>)| Some((at, found.into_iter().collect::<Option<Vec<_>>>()?));
    Ok(Some(Findings {
        found: found.into_iter().filter_map(whole).collect(),
        failures: failures.into_iter().map(|(_, why)| why).collect(),
    }))
}

struct Worker<'a> {
    plan: &'a Plan<'a>,
    /// One for each size of input.
    analyzers: Vec<Analyzer>,
    state: &'a State,
    tell: SyncSender<Told>,
    is_over: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Worker<'a> {
    /// Every wanted frame of the item. What is wrong with its files is told; an error is the model's.
    fn item(&mut self, item: usize) -> Result<(), Failure> {
        match &self.plan.items[item].media {
            Media::Still(path) => self.still(item, 0, path),
            Media::Sequence(paths) => {
                let frames = self.plan.items[item].frames.len();
                self.clip(item, paths, &|frame| paths.get(frame).map(PathBuf::as_path))?;
                for (frame, path) in paths.iter().enumerate() {
                    if self.plan.is_wanted(item, frame) && !(self.is_over)() {
                        self.still(item, frame, path)?;
                    }
                }
                if frames > paths.len() {
                    self.fail(item, format!("{frames} frames are annotated, but there are {} pictures", paths.len()));
                }
                Ok(())
            }
            Media::Video(path) => {
                self.clip(item, std::slice::from_ref(path), &|_| Some(path.as_path()))?;
                self.video(item, path)
            }
        }
    }

    /// The settings that ask the past: every frame through the engine. `file_of` is where a frame lies.
    fn clip(
        &mut self,
        item: usize,
        files: &[PathBuf],
        file_of: &dyn Fn(usize) -> Option<&'a Path>,
    ) -> Result<(), Failure> {
        let (plan, frames) = (self.plan, self.plan.items[item].frames.len());
        for setting in 0..plan.settings() {
            let cue @ Cue::Time { .. } = plan.cue(setting, item) else { continue };
            let mut wanted = BTreeMap::new();
            for frame in (0..frames).filter(|frame| plan.is_wanted(item, *frame)) {
                let Some(Ok(stamp)) = file_of(frame).map(stamp) else { continue };
                let key = plan.key(item, frame, setting, &stamp);
                match self.state.get(&key) {
                    Some(found) => self.found(item, frame, setting, key, found.clone(), false),
                    None => drop(wanted.insert(frame, key)),
                }
            }
            if wanted.is_empty() || (self.is_over)() {
                continue;
            }
            let sources = files.iter().map(Source::new).collect::<Result<Vec<_>, _>>();
            let sources = match sources {
                Ok(sources) => sources,
                Err(error) => {
                    self.fail(item, error.to_string());
                    return Ok(());
                }
            };
            // A frame of a sequence is known by its file: one that cannot be read is not counted.
            let frame_of: HashMap<String, usize> = sources
                .iter()
                .enumerate()
                .filter(|_| files.len() > 1)
                .map(|(at, file)| (file.name.clone(), at))
                .collect();
            let tell = self.tell.clone();
            let left = Arc::new(Mutex::new(wanted));
            let wanted = left.clone();
            // Pictures in a folder have no time of their own.
            let (is_video, mut inferred) = (files.len() == 1, 0);
            let take = move |seen: Seen| {
                let Seen::Record(record) = seen else { return };
                inferred += u64::from(record.inferred);
                let frame = frame_of.get(&record.source).copied().unwrap_or(record.frame as usize);
                let Some(key) = wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(&frame) else { return };
                let timings = record.timings_us.unwrap_or_default();
                let found = Found {
                    picture: [record.width, record.height],
                    boxes: record.objects.iter().map(|object| object.bbox).collect(),
                    scores: record.objects.iter().map(|object| object.score).collect(),
                    tracks: record.objects.iter().map(|object| Some(object.track?.id)).collect(),
                    us: Microseconds {
                        decode: 0,
                        scale: timings.convert,
                        infer: timings.inference,
                        localize: timings.localize,
                        motion: timings.motion,
                        scene: timings.scene,
                    },
                    moment: is_video.then_some(Moment { pts_ns: record.pts_ns, inferred: Some(inferred) }),
                };
                // The receiver listens to the end.
                tell.send(Told::Found { item, frame, setting, key, found, is_new: true }).ok();
            };
            let ask = Ask {
                args: &plan.models.args[setting / plan.methods.len()],
                checkpoint: plan.models.checkpoint,
                feature: feature_for(plan.method(setting), plan.feature),
                localizer: localizer(plan.method(setting), plan.paper, plan.min_score),
                cue,
            };
            let feed = Files::new(sources, Span::default()).of_one_scene();
            let outcome = past::watch(feed, plan.sparing, &ask, plan.models.stop, take)?;
            let is_sound = outcome.faults().next().is_none();
            for fault in outcome.faults() {
                self.fail(item, fault.to_string());
            }
            // Of a sequence the missing files are told one by one.
            let left = left.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((last, _)) = left.last_key_value()
                && is_sound
                && files.len() == 1
                && !(self.is_over)()
            {
                let why = format!("{}: annotated up to frame {last}, but ends before", files[0].display());
                self.fail(item, why);
            }
        }
        Ok(())
    }

    fn still(&mut self, item: usize, frame: usize, path: &Path) -> Result<(), Failure> {
        let missing = match stamp(path) {
            Ok(stamp) => self.missing(item, frame, &stamp),
            Err(error) => {
                self.fail(item, format!("{}: {error}", path.display()));
                return Ok(());
            }
        };
        if missing.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        match picture::decode(path) {
            Ok(picture) => {
                let decode = start.elapsed().as_micros() as u64;
                let scaled = |(width, height)| Ok(picture::scaled(&picture, width, height));
                self.analyze(item, frame, missing, (picture.dimensions(), None), decode, scaled)
            }
            Err(error) => {
                self.fail(item, error.to_string());
                Ok(())
            }
        }
    }

    fn video(&mut self, item: usize, path: &Path) -> Result<(), Failure> {
        let stamp = match stamp(path) {
            Ok(stamp) => stamp,
            Err(error) => {
                self.fail(item, format!("{}: {error}", path.display()));
                return Ok(());
            }
        };
        let frames = self.plan.items[item].frames.len();
        let wanted = (0..frames).filter(|frame| self.plan.is_wanted(item, *frame));
        let mut missing: BTreeMap<usize, Vec<(usize, String)>> =
            wanted.map(|frame| (frame, self.missing(item, frame, &stamp))).filter(|(_, m)| !m.is_empty()).collect();
        let Some(last) = missing.keys().next_back().copied() else { return Ok(()) };
        let opened = Source::new(path).and_then(|source| VideoPictures::open(&source, Span::default()));
        let mut video = match opened {
            Ok(video) => video,
            Err(error) => {
                self.fail(item, error.to_string());
                return Ok(());
            }
        };
        for index in 0..=last {
            let start = Instant::now();
            match video.next(self.is_over) {
                Ok(Some(frame)) => {
                    let decode = start.elapsed().as_micros() as u64;
                    let Some(missing) = missing.remove(&index) else { continue };
                    let scaled = |size| video.picture(&frame, size).map(Cow::Owned).map_err(|error| error.to_string());
                    let moment = Moment { pts_ns: frame.pts_ns, inferred: None };
                    self.analyze(item, index, missing, (frame.display_size(), Some(moment)), decode, scaled)?;
                }
                Ok(None) if (self.is_over)() => break,
                Ok(None) => {
                    let why =
                        format!("{}: annotated up to frame {last}, but ends after {index} frames", path.display());
                    self.fail(item, video.warning().map_or(why, str::to_owned));
                    break;
                }
                Err(error) => {
                    self.fail(item, error.to_string());
                    break;
                }
            }
        }
        Ok(())
    }

    /// The settings that are not known yet, with their keys; those that are known are told.
    fn missing(&self, item: usize, frame: usize, stamp: &str) -> Vec<(usize, String)> {
        let mut missing = Vec::new();
        let is_single = |setting: &usize| self.plan.cue(*setting, item) == Cue::Appearance;
        for setting in (0..self.plan.settings()).filter(is_single) {
            let key = self.plan.key(item, frame, setting, stamp);
            match self.state.get(&key) {
                Some(found) => self.found(item, frame, setting, key, found.clone(), false),
                None => missing.push((setting, key)),
            }
        }
        missing
    }

    /// `scaled` gives the picture, of size `picture` and of a video's `moment`, in another size.
    fn analyze<'p>(
        &mut self,
        item: usize,
        frame: usize,
        missing: Vec<(usize, String)>,
        (picture, moment): ((u32, u32), Option<Moment>),
        decode: u64,
        mut scaled: impl FnMut((u32, u32)) -> Result<Cow<'p, RgbImage>, String>,
    ) -> Result<(), Failure> {
        let methods = self.plan.methods.len();
        for missing in missing.chunk_by(|a, b| a.0 / methods == b.0 / methods) {
            let analyzer = &mut self.analyzers[missing[0].0 / methods];
            let size = analyzer.model_size(picture.0, picture.1);
            let start = Instant::now();
            let image = match scaled(size) {
                Ok(image) => image,
                Err(why) => {
                    self.fail(item, format!("{}, frame {frame}: {why}", self.plan.items[item].id));
                    return Ok(());
                }
            };
            let scale = start.elapsed().as_micros() as u64;
            // The same features serve every method that reads them.
            let mut known: Option<(Feature, Analysis, u64)> = None;
            for (setting, key) in missing {
                let method = self.plan.methods[setting % methods];
                let feature = feature_for(method, self.plan.feature);
                if known.as_ref().is_none_or(|(of, ..)| *of != feature) {
                    let analyzer = &mut self.analyzers[setting / methods];
                    analyzer.prepare(feature, size)?;
                    let start = Instant::now();
                    match analyzer.analyze_scaled(&image, picture, feature) {
                        Ok(analysis) => known = Some((feature, analysis, start.elapsed().as_micros() as u64)),
                        Err(AnalyzeError::Localize(error)) => {
                            self.fail(item, format!("{}, frame {frame}: {error}", self.plan.items[item].id));
                            return Ok(());
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                let Some((_, analysis, infer)) = &known else { continue };
                // All of them: the state serves any --min-score.
                let start = Instant::now();
                let detections =
                    match analysis.detections(&Localizer { method, paper: self.plan.paper, min_score: 0.0 }) {
                        Ok(detections) => detections,
                        Err(error) => {
                            self.fail(item, format!("{}, frame {frame}: {error}", self.plan.items[item].id));
                            return Ok(());
                        }
                    };
                let localize = start.elapsed().as_micros() as u64;
                let found = Found {
                    picture: [picture.0, picture.1],
                    boxes: detections.iter().map(|d| [d.bbox.xmin, d.bbox.ymin, d.bbox.xmax, d.bbox.ymax]).collect(),
                    scores: detections.iter().map(|detection| detection.score).collect(),
                    tracks: None,
                    us: Microseconds { decode, scale, infer: *infer, localize, ..Microseconds::default() },
                    moment,
                };
                self.found(item, frame, *setting, key.clone(), found, true);
            }
        }
        Ok(())
    }

    // The receiver listens to the end, so nothing told is lost.
    fn found(&self, item: usize, frame: usize, setting: usize, key: String, found: Found, is_new: bool) {
        self.tell.send(Told::Found { item, frame, setting, key, found, is_new }).ok();
    }

    fn fail(&self, item: usize, why: String) {
        self.tell.send(Told::Failed { item, why }).ok();
    }
}

/// What changes when a file does: its length and the time it was written.
fn stamp(path: &Path) -> std::io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    let written = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{} bytes, {} ns", metadata.len(), written.as_nanos()))
}
