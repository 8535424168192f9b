//! `mostream label`: a training set from footage.

use super::cue::{CueArgs, cue};
use super::exit::{Exit, Failure, Outcome};
use super::failures;
use super::groups::GroupsArg;
use super::interrupt::stop_flag;
use super::localize::MethodArgs;
use super::model::ModelArgs;
use super::past::{self, Ask, Tracked};
use super::progress::{Progress, counted};
use super::values::whole;
use clap::ValueEnum;
use mostream::analyzer::{AnalyzeError, Analyzer, feature_for};
use mostream::backbone::Feature;
use mostream::discover::groups::Groups;
use mostream::engine::Cue;
use mostream::fault::Kind;
use mostream::label::duplicates::{Print, Seen};
use mostream::label::format::{self, Masks};
use mostream::label::journal::{self, Entry, Journal, Settings, Stamp};
use mostream::label::keyframe::{KeyFrames, THUMBNAIL};
use mostream::label::sequence::Sequences;
use mostream::label::{self, Format, Object, Picture, Split, SplitBy, contact, naming};
use mostream::localize::{Detection, Localizer};
use mostream::picture::{self, PictureError, RgbImage};
use mostream::run::inputs::{self, Expanded, Input, PassedOver};
use mostream::stream::StreamError;
use mostream::stream::ingest::Span;
use mostream::stream::pictures::VideoPictures;
use mostream::stream::preflight::Source;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::{debug, info, warn};

/// Of the JPEG files of the set.
const QUALITY: u8 = 95;
/// The longest side of a JPEG picture.
const LONGEST: u32 = 65_535;

#[derive(clap::Args)]
#[command(
    after_help = "Key frames of a clip: the first, then each frame of which more than a tenth has changed since the last one \
(cells of a 32x24 brightness thumbnail that differ by more than 16 of 255), at most two a second and at least one in ten. Pictures \
that look like one that is in the set already, from whatever source, are left out (in cvat and mot not those that look like others of their own video alone: tracks need them).\n\nA source is a video, a picture, or a folder's \
pictures of one size that are named alike but for the last number and share their colours with the next (frames of a clip).\n\nA run that was interrupted goes on when it \
is started again. Inputs that could not be used are listed on stderr and in FOLDER/failures.txt, and the exit code is 3; the set is \
complete but for them. FOLDER/contact/page-001.html shows the pictures with their boxes.\n\nExamples:\n  mostream label footage/ \
photos/ -o set --format yolo\n  mostream label *.mp4 -o set --every 2 --max-per-video 100 --min-score 0.3"
)]
pub struct Args {
    /// Videos, pictures, folders of them (read to their depths) and URIs
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<OsString>,
    /// The folder of the set: new, empty, or one to go on with
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// The layout: coco, yolo, voc, cvat (stills CVAT for images 1.1, videos CVAT for video 1.1, a folder per clip) or mot
    /// (MOT Challenge, a folder per clip)
    #[arg(long, value_enum, default_value = "coco")]
    format: FormatArg,
    /// Masks in COCO's annotations
    #[arg(long, value_enum, default_value = "polygons")]
    masks: MasksArg,
    /// The share that is held out for validation
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = share)]
    val: f64,
    /// What is held out: source (all pictures of a source are on one side), or time (the end of each video; for few sources: the
    /// sides are less apart)
    #[arg(long, value_enum, default_value = "source")]
    split: SplitArg,
    /// One frame in each such time instead of key frames: seconds, or [H:]M:S
    #[arg(long, value_name = "TIME", value_parser = interval)]
    every: Option<u64>,
    /// At most this many frames of a video, spread over it where its length is known
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1, u64::MAX))]
    max_per_video: Option<u64>,
    #[command(flatten)]
    boxes: MethodArgs,
    #[command(flatten)]
    cue: CueArgs,
    #[command(flatten)]
    groups: GroupsArg,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    Coco,
    Yolo,
    Voc,
    Cvat,
    Mot,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum MasksArg {
    Polygons,
    Rle,
}

#[derive(Clone, Copy, ValueEnum)]
enum SplitArg {
    Source,
    Time,
}

/// What is known of a source.
#[derive(Clone, Copy, Default)]
struct Known {
    /// Frames that were chosen, and how many of them are in the set, on each side.
    chosen: u64,
    kept: [u64; 2],
    is_done: bool,
}

struct Labeller<'a> {
    args: &'a Args,
    settings: &'a Settings,
    analyzer: Analyzer,
    feature: Feature,
    localizer: Localizer,
    cue: Cue,
    groups: Option<Groups>,
    journal: Journal,
    known: HashMap<String, Known>,
    seen: Seen,
    sequences: Sequences,
    /// Pictures of the set on each side, its objects, and pictures that were left out.
    pictures: [u64; 2],
    objects: u64,
    duplicates: u64,
    passed_over: Vec<PassedOver>,
    stop: Arc<AtomicBool>,
    progress: Progress,
    done: u64,
}

pub fn run(args: Args) -> Outcome {
    let format = match args.format {
        FormatArg::Coco => Format::Coco,
        FormatArg::Yolo => Format::Yolo,
        FormatArg::Voc => Format::Voc,
        FormatArg::Cvat => Format::Cvat,
        FormatArg::Mot => Format::Mot,
    };
    if args.masks == MasksArg::Rle && format != Format::Coco {
        let why = "--masks rle needs --format coco: no other format has run lengths";
        return Err(Failure::new(Kind::Usage, why));
    }
    // A set within a folder of footage is not footage.
    let Expanded { mut inputs, failures, passed_over } =
        inputs::expand(&args.inputs, Some(&args.output)).some(&args.inputs)?;
    let analyzer = args.model.analyzer()?;
    let localizer = args.boxes.localizer();
    let cue = cue(args.cue, args.boxes.method, false, args.boxes.min_score);
    let groups = args.groups.load(args.boxes.method, args.model.feature, analyzer.checkpoint().id())?;
    let settings = Settings {
        version: Settings::VERSION,
        format,
        method: args.boxes.method.to_string(),
        model: analyzer.checkpoint().id().to_owned(),
        feature: args.model.feature.name().to_owned(),
        size: args.model.size.map_or(format!("{} patches", args.model.patches), |(w, h)| format!("{w}x{h}")),
        min_score: match cue {
            Cue::Time { min_score, .. } => min_score,
            Cue::Appearance => localizer.min_score,
        },
        with_past: cue != Cue::Appearance,
        val: args.val,
        split: match args.split {
            SplitArg::Source => SplitBy::Source,
            SplitArg::Time => SplitBy::Time,
        },
        every_ns: args.every,
        max_per_video: args.max_per_video,
        categories: label::categories(groups.iter().flat_map(Groups::names)),
        groups: groups.as_ref().map(Groups::digest),
    };
    let mut failures: Vec<String> = failures.iter().map(|error| format!("{error:#}")).collect();
    let mut names = HashSet::new();
    inputs.retain(|input| names.insert(clip_name(input)));

    let stop = stop_flag()?;
    let (mut known, mut seen) = (HashMap::<String, Known>::new(), Seen::default());
    let (mut pictures, mut objects, mut duplicates, mut last) = ([0; 2], 0, 0, None);
    let files: HashMap<String, &Path> =
        inputs.iter().filter_map(|input| Some((clip_name(input), file_of(input)?))).collect();
    let is_other = |clip: &str, known: Option<Stamp>| files.get(clip).is_some_and(|path| Stamp::of(path) != known);
    let journal = Journal::open(&args.output, &settings, is_other, |entry| match entry {
        Entry::Settings(_) => {}
        Entry::Picture(picture) => {
            let source = known.entry(picture.clip.clone()).or_default();
            source.chosen += 1;
            source.kept[picture.split as usize] += 1;
            pictures[picture.split as usize] += 1;
            objects += picture.objects.len() as u64;
            seen.keep(picture.print);
            last = Some(picture.clip);
        }
        Entry::Duplicate { clip } => {
            known.entry(clip.clone()).or_default().chosen += 1;
            duplicates += 1;
            last = Some(clip);
        }
        Entry::Done { clip, .. } => known.entry(clip).or_default().is_done = true,
    })?;
    // A source that was interrupted goes on first, so that its pictures stay together.
    if let Some(at) = inputs.iter().position(|input| Some(clip_name(input)) == last) {
        inputs[..=at].rotate_right(1);
    }

    let mut labeller = Labeller {
        feature: feature_for(args.boxes.method, args.model.feature.into()),
        progress: Progress::of(Some(inputs.len() as u64), "input"),
        args: &args,
        settings: &settings,
        localizer,
        cue,
        groups,
        analyzer,
        journal,
        known,
        seen,
        sequences: Sequences::new(inputs.iter().filter_map(still)),
        pictures,
        objects,
        duplicates,
        passed_over,
        stop,
        done: 0,
    };
    for input in &inputs {
        if labeller.is_stopped() {
            break;
        }
        match labeller.source(input) {
            Err(error) if error.kind == Kind::Input => failures.push(error.message),
            outcome => outcome?,
        }
        labeller.done += 1;
        labeller.progress.update(labeller.done, labeller.objects);
    }
    labeller.progress.finish();
    labeller.finish(failures)
}

impl Labeller<'_> {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Takes what is new of a source into the set.
    fn source(&mut self, input: &Input) -> Result<(), Failure> {
        let clip = clip_name(input);
        let known = self.known.get(&clip).copied().unwrap_or_default();
        if known.is_done {
            return Ok(());
        }
        let file = file_of(input).and_then(Stamp::of);
        let warning = match input {
            Input::Still(path) if known.chosen == 0 => {
                let split = naming::split_of(&self.sequences.source_of(path), self.args.val);
                self.take(input, known, (0, 0, split), &picture::decode(path)?, None)?;
                None
            }
            Input::Still(_) => None,
            Input::Video(source) => self.video(input, source, known)?,
        };
        // An interrupted video is gone on with later.
        if matches!(input, Input::Still(_)) || !self.is_stopped() {
            let file = file.filter(|_| warning.is_some());
            self.append(&Entry::Done { clip, warning, file })?;
        }
        Ok(())
    }

    /// What the video lacks, where it lacks something.
    fn video(&mut self, input: &Input, source: &Source, known: Known) -> Result<Option<String>, Failure> {
        let mut past = match self.cue {
            Cue::Time { .. } => self.past(source)?,
            Cue::Appearance => HashMap::new(),
        };
        let mut video = VideoPictures::open(source, Span::default()).map_err(of_input)?;
        let mut chooser = self.chooser(&video);
        let stop = self.stop.clone();
        let stopped = || stop.load(Ordering::Relaxed);
        let mut now = Known::default();
        let of_source = naming::split_of(&id_of(input), self.args.val);
        let length_ns = video.media().duration_ns.filter(|_| self.settings.split == SplitBy::Time);
        while self.args.max_per_video.is_none_or(|most| now.chosen < most)
            && let Some(frame) = video.next(&stopped)?
        {
            let small = video.picture(&frame, THUMBNAIL)?;
            if !chooser.takes(frame.pts_ns, &label::luma(&small, THUMBNAIL.0, THUMBNAIL.1)) {
                continue;
            }
            // The choice depends on what was chosen before, so a second run chooses again; the rest it need not do again.
            if now.chosen < known.chosen {
                (now.chosen, now.kept) = (now.chosen + 1, known.kept);
                continue;
            }
            let full = video.picture(&frame, frame.display_size())?;
            let split = length_ns.map_or(of_source, |length| Split::at(frame.pts_ns, length, self.args.val));
            now = self.take(input, now, (frame.index, frame.pts_ns, split), &full, past.remove(&frame.index))?;
            self.progress.update(self.done, self.objects);
        }
        Ok(video.warning().map(str::to_owned))
    }

    /// What is in the frames that will be chosen.
    fn past(&self, source: &Source) -> Result<HashMap<u64, Vec<Tracked>>, Failure> {
        let mut video = VideoPictures::open(source, Span::default()).map_err(of_input)?;
        let mut chooser = self.chooser(&video);
        let mut chosen = HashSet::new();
        let stop = self.stop.clone();
        while self.args.max_per_video.is_none_or(|most| (chosen.len() as u64) < most)
            && let Some(frame) = video.next(&|| stop.load(Ordering::Relaxed))?
        {
            let small = video.picture(&frame, THUMBNAIL)?;
            if chooser.takes(frame.pts_ns, &label::luma(&small, THUMBNAIL.0, THUMBNAIL.1)) {
                chosen.insert(frame.index);
            }
        }
        let ask = Ask {
            args: &self.args.model,
            checkpoint: self.analyzer.checkpoint(),
            feature: self.feature,
            localizer: self.localizer,
            cue: self.cue,
        };
        past::objects(source, &ask, &self.stop, move |record| chosen.contains(&record.frame))
    }

    fn chooser(&self, video: &VideoPictures) -> KeyFrames {
        match self.args.every {
            Some(interval) => KeyFrames::every(interval),
            None => KeyFrames::by_change(video.media().duration_ns, self.args.max_per_video),
        }
    }

    /// Adds a picture to the set unless it is there already, with what its `past` shows; what is known of its source then.
    fn take(
        &mut self,
        input: &Input,
        known: Known,
        (frame, pts_ns, split): (u64, u64, Split),
        full: &RgbImage,
        past: Option<Vec<Tracked>>,
    ) -> Result<Known, Failure> {
        let (width, height) = full.dimensions();
        if width.max(height) > LONGEST {
            let why =
                format!("{width}x{height} pixels are too many for a JPEG file (expected at most {LONGEST} a side)");
            return Err(PictureError { path: input.name(), why }.into());
        }
        let (clip, print) = (clip_name(input), Print::of(full));
        let is_followed = matches!((input, self.cue), (Input::Video(_), Cue::Time { .. }));
        // A track lives on neighbours that look alike; the clip's own pictures are the last that were kept.
        let own =
            if is_followed && self.settings.format.has_tracks() { known.kept.iter().sum::<u64>() as usize } else { 0 };
        if self.seen.has(&print, own) {
            self.duplicates += 1;
            self.append(&Entry::Duplicate { clip })?;
            return Ok(Known { chosen: known.chosen + 1, ..known });
        }
        let analysis = self.analyzer.analyze(&picture::view(full).map_err(AnalyzeError::from)?, self.feature)?;
        let layout = analysis.layout;
        let found = match past {
            Some(found) => found,
            None => {
                let found = analysis.detections(&self.localizer)?.into_iter();
                found.map(|detection| Tracked { detection, track: None }).collect()
            }
        };
        let name_of = |detection: &Detection| self.groups.as_ref()?.name_of(&analysis.output, &detection.patches);
        let categories = &self.settings.categories;
        let object = |Tracked { detection, track }: &Tracked| {
            Object::new(detection, *track, &layout, label::class_of(name_of(detection), categories))
        };
        let mut kept = known.kept;
        kept[split as usize] += 1;
        let picture = Picture {
            source: input.name(),
            name: if matches!(input, Input::Still(_)) { clip.clone() } else { format!("{clip}-{frame:06}") },
            clip,
            frame,
            pts_ns,
            split,
            number: kept[split as usize],
            width,
            height,
            is_followed,
            patch: layout.patch,
            model: [layout.image_width, layout.image_height],
            objects: found.iter().filter_map(object).collect(),
            print,
        };
        let path = self.args.output.join(format::picture_path(self.settings.format, &picture));
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| picture::write_jpeg(&path, full, QUALITY))
            .and_then(|()| contact::keep_thumbnail(&self.args.output, &picture.name, full));
        written.map_err(|error| unwritten(&path, error))?;
        self.seen.keep(print);
        self.pictures[split as usize] += 1;
        self.objects += picture.objects.len() as u64;
        self.append(&Entry::Picture(Box::new(picture)))?;
        Ok(Known { chosen: known.chosen + 1, kept, ..known })
    }

    fn append(&mut self, entry: &Entry) -> Result<(), Failure> {
        self.journal.append(entry).map_err(|error| unwritten(&self.args.output.join(journal::STATE), error))
    }

    /// Makes the set's files of the journal, and says how it went.
    fn finish(self, mut failures: Vec<String>) -> Outcome {
        let folder = &self.args.output;
        let masks = if self.args.masks == MasksArg::Rle { Masks::Rle } else { Masks::Polygons };
        let written = (|| {
            format::write(folder, self.settings.format, masks, &self.settings.categories)?;
            contact::write(folder, &self.settings.categories)?;
            let mut warnings = Vec::new();
            for entry in journal::entries(folder)? {
                if let Entry::Done { warning, .. } = entry? {
                    warnings.extend(warning);
                }
            }
            failures.splice(..0, warnings);
            failures::list(folder, &failures, &self.passed_over)
        })();
        written.map_err(|error: std::io::Error| unwritten(folder, error))?;
        let Self { pictures: [train, val], objects, duplicates, args, .. } = &self;
        let is_wanted = args.val > 0.0 && args.val < 1.0;
        if let (side, true) = (if *val == 0 { "val" } else { "train" }, is_wanted && (*train == 0) != (*val == 0)) {
            let other = match self.settings.split {
                SplitBy::Source => {
                    ", or, in a new folder, --split time (the end of each video is held out) or another --val"
                }
                SplitBy::Time => ", longer ones, or, in a new folder, another --val",
            };
            warn!("no picture of the set is in {side}: give more sources{other}");
        }
        let pictures = train + val;
        let folder = folder.display();
        let sides = format!("{train} to train, {val} to validate");
        info!("{} in {} ({sides})", counted(*objects, "object"), counted(pictures, "picture"));
        info!("{folder} is the set, {folder}/contact/page-001.html shows its boxes");
        if *duplicates > 0 {
            debug!("{} left out", counted(*duplicates, "near-duplicate"));
        }
        Ok(match (self.is_stopped(), failures.is_empty()) {
            (true, _) => Exit::Interrupted,
            (false, true) => Exit::Done,
            (false, false) => Exit::Input,
        })
    }
}

fn still(input: &Input) -> Option<&Path> {
    match input {
        Input::Still(path) => Some(path),
        Input::Video(_) => None,
    }
}

/// The file of one that is in a file.
fn file_of(input: &Input) -> Option<&Path> {
    match input {
        Input::Still(path) => Some(path),
        Input::Video(source) => source.file.as_deref(),
    }
}

/// The bytes that a source is named by.
fn id_of(input: &Input) -> Vec<u8> {
    match input {
        Input::Still(path) => path.as_os_str().as_encoded_bytes().to_vec(),
        Input::Video(source) => source.name.clone().into_bytes(),
    }
}

fn clip_name(input: &Input) -> String {
    naming::name_of(&id_of(input))
}

/// What one input does not give, for want of a decoder, too: the others do.
fn of_input(error: StreamError) -> Failure {
    Failure::new(Kind::Input, error)
}

fn unwritten(path: &Path, error: std::io::Error) -> Failure {
    Failure::new(Kind::Output, format!("{}: {error}", path.display()))
}

/// A number in 0..=1.
fn share(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "expected a number in 0 to 1".into())
}

fn interval(text: &str) -> Result<u64, String> {
    match super::run::time_ns(text)? {
        0 => Err("expected more than 0 seconds".into()),
        interval => Ok(interval),
    }
}
