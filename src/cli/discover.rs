//! `mostream discover`: the objects of many pictures and videos, grouped by how they look.

use super::cue::{CueArgs, cue};
use super::exit::{Exit, Failure, Outcome};
use super::failures;
use super::interrupt::stop_flag;
use super::localize::MethodArgs;
use super::model::{FeatureArg, ModelArgs};
use super::past::{self, Ask, Tracked};
use super::progress::{Progress, counted};
use super::values::whole;
use mostream::analyzer::{Analysis, AnalyzeError, Analyzer};
use mostream::backbone::Feature;
use mostream::discover::agreement::{nmi, purity};
use mostream::discover::collection::{Collection, MAX_OBJECTS, Seen};
use mostream::discover::groups::Groups;
use mostream::engine::Cue;
use mostream::evaluate::dataset::{Dataset, FrameTruth, Media, Options};
use mostream::fault::Kind;
use mostream::geometry::PixelBox;
use mostream::localize::{Detection, Localizer, Method, PatchOutput};
use mostream::picture;
use mostream::run::inputs::{Expanded, Input, PassedOver, expand};
use mostream::stream::ingest::Span;
use mostream::stream::pictures::VideoPictures;
use mostream::stream::preflight::Source;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::{debug, info, warn};

/// A box this near to an object's is of its class.
const SAME_IOU: f64 = 0.5;

#[derive(clap::Args)]
#[command(
    after_help = "Look at FOLDER/index.html, then name the groups, there or here, and let `run` and `label` use the names:\n  \
mostream discover photos/ clip.mp4 -o found\n  mostream discover --name found/groups.json 3=cup 5=dog\n  \
mostream run street.mp4 --groups found/groups.json",
    // Grouping needs features.
    mut_arg("method", |arg| arg.help("How boxes are found: most (several objects, or none), lost or tokencut (one object)"))
)]
pub struct Args {
    /// Pictures, videos, folders of them, URIs; with --name, ID=NAME for each group to name (ID= takes the name away)
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<OsString>,
    /// Where the gallery (index.html) and groups.json are written
    #[arg(short, long, value_name = "FOLDER", required_unless_present = "name")]
    output: Option<PathBuf>,
    /// Name groups in this file, and do nothing else
    #[arg(long, value_name = "groups.json", conflicts_with_all = ["output", "groups", "classes"])]
    name: Option<PathBuf>,
    /// Make this many groups [default: as many as stand out]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1, 1024))]
    groups: Option<u16>,
    /// Look at a video every so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = super::run::time_ns)]
    every: u64,
    /// INPUT is an annotated data set: print how well the groups agree with its classes, as JSON
    #[arg(long)]
    classes: bool,
    #[command(flatten)]
    boxes: MethodArgs,
    #[command(flatten)]
    cue: CueArgs,
    #[command(flatten)]
    model: ModelArgs,
}

/// An input and, of a data set, what is true of its frames.
struct Job {
    input: Input,
    truth: Vec<FrameTruth>,
}

/// What goes along from picture to picture.
struct Search<'a> {
    args: &'a Args,
    analyzer: Analyzer,
    localizer: Localizer,
    collection: Collection,
    /// Of each object, where its data set knows it.
    classes: Vec<Option<String>>,
    progress: Progress,
    pictures: u64,
    stop: &'a AtomicBool,
}

pub fn run(args: Args) -> Outcome {
    if let Some(path) = &args.name {
        return name(path, &args.inputs);
    }
    if args.boxes.method == Method::DinoSeg || args.model.feature == FeatureArg::Attention {
        let why = "objects are grouped by patch features: use --method most, lost or tokencut and --feature k, q or v";
        return Err(Failure::new(Kind::Usage, why));
    }
    let folder =
        args.output.as_deref().ok_or_else(|| Failure::new(Kind::Usage, "no folder for the gallery: --output"))?;
    keep_names(folder)?;
    let (jobs, mut failures, passed_over) =
        if args.classes { annotated(&args.inputs) } else { plain(&args.inputs, folder) }?;
    let analyzer = args.model.analyzer()?;
    let unwritable = |error| Failure::new(Kind::Output, format!("{}: {error}", folder.display()));
    let stop = stop_flag()?;
    let is_still = |job: &Job| matches!(job.input, Input::Still(_));
    let total = jobs.iter().all(is_still).then_some(jobs.len() as u64);
    let mut search = Search {
        args: &args,
        analyzer,
        localizer: args.boxes.localizer(),
        collection: Collection::create(folder).map_err(unwritable)?,
        classes: Vec::new(),
        progress: Progress::new(total),
        pictures: 0,
        stop: &stop,
    };
    for job in &jobs {
        if search.is_over() {
            break;
        }
        // What a picture cannot give is told at the end; what no picture could is told now.
        match search.look(job) {
            Err(error) if error.kind == Kind::Output => return Err(error),
            Err(error) => failures.push(of_input(&job.input, &error.message)),
            Ok(()) => {}
        }
    }
    let Search { analyzer, collection, classes, progress, pictures, .. } = search;
    progress.finish();
    let is_full = collection.is_full();
    let model = analyzer.checkpoint().id();
    let (groups, assigned) =
        collection.finish(model, args.model.feature.name(), args.groups.map(usize::from)).map_err(unwritable)?;
    if args.classes {
        say_agreement(&assigned, &classes, groups.groups.len())?;
    }
    let (objects, made) = (assigned.len(), groups.groups.len());
    let (found, made) = (counted(objects as u64, "object"), counted(made as u64, "group"));
    info!("{found} in {}, {made} of them", counted(pictures, "picture"));
    groups.silhouette.iter().for_each(|apart| debug!("silhouette {apart:.2}"));
    info!("{} shows the groups", folder.join("index.html").display());
    info!(
        "{file} holds them; to name one: mostream discover --name {file} 1=NAME",
        file = folder.join("groups.json").display()
    );
    if is_full {
        warn!("only the first {MAX_OBJECTS} objects were kept: give fewer inputs, or a larger --every");
    }
    failures::list(folder, &failures, &passed_over).map_err(unwritable)?;
    Ok(match (stop.load(Ordering::Relaxed), failures.is_empty()) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Done,
        (false, false) => Exit::Input,
    })
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.collection.is_full()
    }

    fn look(&mut self, job: &Job) -> Result<(), Failure> {
        match &job.input {
            Input::Still(path) => {
                let picture = picture::decode(path)?;
                let analysis =
                    self.analyzer.analyze(&picture::view(&picture).map_err(AnalyzeError::from)?, self.feature())?;
                let detections = analysis.detections(&self.localizer)?;
                let name = job.input.name();
                let seen = Seen { picture: &picture, source: &name, frame: 0, pts_ns: 0 };
                self.take(&seen, &analysis, &detections, job.truth.first())
            }
            Input::Video(source) => self.look_at_video(source, &job.truth),
        }
    }

    fn look_at_video(&mut self, source: &Source, truth: &[FrameTruth]) -> Result<(), Failure> {
        let mut past = self.past(source)?;
        let mut video = VideoPictures::open(source, Span::default())?;
        let stop = self.stop;
        let mut due_ns = 0;
        while let Some(frame) = video.next(&|| stop.load(Ordering::Relaxed))? {
            if self.is_over() {
                break;
            }
            if frame.pts_ns < due_ns {
                continue;
            }
            due_ns = frame.pts_ns.saturating_add(self.args.every);
            let size = frame.display_size();
            let small = video.picture(&frame, self.analyzer.model_size(size.0, size.1))?;
            let analysis = self.analyzer.analyze_scaled(&small, size, self.feature())?;
            let detections = match past.remove(&frame.index) {
                Some(detections) => detections,
                None => analysis.detections(&self.localizer)?,
            };
            let picture = if detections.is_empty() { small } else { video.picture(&frame, size)? };
            let seen = Seen { picture: &picture, source: &source.name, frame: frame.index, pts_ns: frame.pts_ns };
            self.take(&seen, &analysis, &detections, truth.get(frame.index as usize))?;
        }
        video.warning().map_or(Ok(()), |warning| Err(Failure::new(Kind::Input, warning)))
    }

    /// What is in the frames that will be looked at, where the past is asked; of each track the surest sight, so that who stays for a minute
    /// is one sample, and not of the moment when half of it was in the picture.
    fn past(&self, source: &Source) -> Result<HashMap<u64, Vec<Detection>>, Failure> {
        let cue = cue(self.args.cue, self.args.boxes.method, false, self.args.boxes.min_score);
        if cue == Cue::Appearance {
            return Ok(HashMap::new());
        }
        let ask = Ask {
            args: &self.args.model,
            checkpoint: self.analyzer.checkpoint(),
            feature: self.feature(),
            localizer: self.localizer,
            cue,
        };
        let (mut due_ns, every) = (0, self.args.every);
        let found = past::objects(source, &ask, self.stop, move |record| {
            let is_due = record.pts_ns >= due_ns;
            if is_due {
                due_ns = record.pts_ns.saturating_add(every);
            }
            is_due
        })?;
        let found = BTreeMap::from_iter(found);
        let mut surest = HashMap::<u64, (f32, u64)>::new();
        for (frame, object) in
            found.iter().flat_map(|(frame, objects)| objects.iter().map(move |object| (frame, object)))
        {
            let (Some(track), score) = (object.track, object.detection.score) else { continue };
            let best = surest.entry(track).or_insert((score, *frame));
            if score > best.0 {
                *best = (score, *frame);
            }
        }
        let sample = |(frame, objects): (u64, Vec<Tracked>)| {
            let is_sample = |object: &Tracked| object.track.is_none_or(|track| surest[&track].1 == frame);
            (frame, objects.into_iter().filter(is_sample).map(|object| object.detection).collect())
        };
        Ok(found.into_iter().map(sample).collect())
    }

    fn feature(&self) -> Feature {
        self.args.model.feature.into()
    }

    fn take(
        &mut self,
        seen: &Seen,
        analysis: &Analysis,
        detections: &[Detection],
        truth: Option<&FrameTruth>,
    ) -> Result<(), Failure> {
        if let PatchOutput::Features(features) = &analysis.output {
            let taken = self.collection.add(seen, features, detections);
            let taken = taken.map_err(|error| Failure::new(Kind::Output, format!("a thumbnail: {error}")))?;
            self.classes.extend(detections[..taken].iter().map(|detection| class_of(detection, truth)));
        }
        self.pictures += 1;
        self.progress.update(self.pictures, self.collection.len() as u64);
        Ok(())
    }
}

/// The class of the drawn box that the object's box is nearest to, where it is near enough.
fn class_of(detection: &Detection, truth: Option<&FrameTruth>) -> Option<String> {
    let whole = |[xmin, ymin, xmax, ymax]: [f64; 4]| PixelBox {
        xmin: xmin.round() as u32,
        ymin: ymin.round() as u32,
        xmax: xmax.round() as u32,
        ymax: ymax.round() as u32,
    };
    let boxes = truth.into_iter().flat_map(|truth| &truth.boxes).filter(|drawn| !drawn.is_crowd);
    let near = boxes.map(|drawn| (detection.bbox.iou(&whole(drawn.bbox)), drawn)).filter(|(iou, _)| *iou >= SAME_IOU);
    near.max_by(|a, b| a.0.total_cmp(&b.0))?.1.class.clone()
}

/// Prints how well the groups agree with the classes of the objects that have one.
fn say_agreement(assigned: &[usize], classes: &[Option<String>], groups: usize) -> Result<(), Failure> {
    let mut numbers = BTreeMap::new();
    for class in classes.iter().flatten() {
        let next = numbers.len();
        numbers.entry(class).or_insert(next);
    }
    let judged = assigned.iter().zip(classes).filter_map(|(&group, class)| Some((group, numbers[class.as_ref()?])));
    let (of_group, of_class): (Vec<usize>, Vec<usize>) = judged.unzip();
    let said = serde_json::json!({
        "objects": assigned.len(),
        "judged": of_group.len(),
        "groups": groups,
        "classes": numbers.len(),
        "purity": purity(&of_group, &of_class),
        "nmi": nmi(&of_group, &of_class),
    });
    writeln!(std::io::stdout(), "{said}")
        .map_err(|error| Failure::new(Kind::Output, format!("cannot write to stdout: {error}")))?;
    Ok(())
}

/// What is wrong with an input, under its name.
fn of_input(input: &Input, why: &str) -> String {
    let name = input.name();
    if why.starts_with(&name) { why.to_owned() } else { format!("{name}: {why}") }
}

/// Jobs, what is wrong with others, and what was passed over.
type Jobs = (Vec<Job>, Vec<String>, Vec<PassedOver>);

fn plain(arguments: &[OsString], output: &Path) -> Result<Jobs, Failure> {
    let Expanded { inputs, failures, passed_over } = expand(arguments, Some(output)).some(arguments)?;
    let jobs = inputs.into_iter().map(|input| Job { input, truth: Vec::new() });
    Ok((jobs.collect(), failures.iter().map(ToString::to_string).collect(), passed_over))
}

/// The pictures and clips of annotated data sets.
fn annotated(paths: &[OsString]) -> Result<Jobs, Failure> {
    let (mut jobs, mut failures) = (Vec::new(), Vec::new());
    for path in paths {
        let set = Dataset::open(Path::new(path), None, &Options::default())?;
        failures.extend(set.failures);
        for item in set.items {
            match item.media {
                Media::Still(path) => jobs.push(Job { input: Input::Still(path), truth: item.frames }),
                Media::Sequence(paths) => {
                    let truths = item.frames.into_iter().map(Some).chain(std::iter::repeat(None));
                    let frames = paths.into_iter().zip(truths);
                    jobs.extend(
                        frames
                            .map(|(path, truth)| Job { input: Input::Still(path), truth: truth.into_iter().collect() }),
                    );
                }
                Media::Video(path) => match Source::new(&path) {
                    Ok(source) => jobs.push(Job { input: Input::Video(source), truth: item.frames }),
                    Err(error) => failures.push(error.to_string()),
                },
            }
        }
    }
    Ok((jobs, failures, Vec::new()))
}

/// Names that a person gave are not overwritten.
fn keep_names(folder: &Path) -> Result<(), Failure> {
    let path = folder.join("groups.json");
    match Groups::load(&path) {
        Ok(groups) if groups.groups.iter().any(|group| group.name.is_some()) => {
            let why = format!("{} has named groups: give another -o, or move it away", path.display());
            Err(Failure::new(Kind::Usage, why))
        }
        _ => Ok(()),
    }
}

/// `3=cup`: writes the names into the file.
fn name(path: &Path, names: &[OsString]) -> Outcome {
    let mut groups = Groups::load(path)?;
    for text in names.iter().map(|text| text.to_string_lossy()) {
        let wrong = |why: String| Failure::new(Kind::Usage, format!("{text:?}: {why}"));
        let parts = text.split_once('=').and_then(|(id, name)| Some((id.parse().ok()?, name)));
        let (id, name) =
            parts.ok_or_else(|| wrong("expected the number of a group and its name, such as 3=cup".into()))?;
        groups.set_name(id, name).map_err(wrong)?;
    }
    groups.write(path).map_err(|error| Failure::unwritten(path, error))?;
    for group in &groups.groups {
        let Some(name) = &group.name else { continue };
        info!("group {} of {} is {name}", group.id, group.size);
    }
    Ok(Exit::Done)
}
