//! `mostream inspect`: a page that shows why each box was drawn.

use super::cue::{self, CueArgs};
use super::exit::{Exit, Failure, Outcome};
use super::interrupt::stop_flag;
use super::model::{FeatureArg, ModelArgs};
use super::past::{self, Ask};
use super::progress::{Progress, counted};
use super::run::time_ns;
use mostream::analyzer::{Analysis, AnalyzeError, Analyzer};
use mostream::backbone::Feature;
use mostream::engine::{Cue, Seen, Sparing};
use mostream::fault::Kind;
use mostream::inspect::page::{self, Caption};
use mostream::inspect::past::Follower;
use mostream::inspect::{Fate, Inspection, Past, maps};
use mostream::localize::Method;
use mostream::partial;
use mostream::picture::{self, RgbImage};
use mostream::record::Every;
use mostream::run::guard::guard;
use mostream::run::inputs;
use mostream::run::spec::localizer;
use mostream::stream::feed::Files;
use mostream::stream::ingest::Span;
use mostream::stream::pictures::VideoPictures;
use mostream::stream::preflight::Source;
use mostream::track::AROUND_NS;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::{debug, info};

#[derive(clap::Args)]
#[command(
    after_help = "A frame of a video is seen as run sees it, after all frames before it.\n\nExamples:\n  mostream inspect photo.jpg\n  mostream inspect clip.mp4@1:30 -o frame.html --pngs maps"
)]
pub struct Args {
    /// A picture, or a video and a time in it: clip.mp4@12.5, clip.mp4@1:30 (without a time its first frame)
    #[arg(value_name = "IMAGE|VIDEO@TIME")]
    input: OsString,
    /// Write the page here [default: NAME.inspect.html in the current folder, NAME@SECONDS.inspect.html for a time]
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
    /// Overwrite NAME.inspect.html
    #[arg(long)]
    force: bool,
    /// Write the maps into this folder, too, as PNG files
    #[arg(long, value_name = "FOLDER")]
    pngs: Option<PathBuf>,
    #[command(flatten)]
    cue: CueArgs,
    #[command(flatten)]
    model: ModelArgs,
}

/// What is looked at.
struct Subject {
    name: String,
    /// Of a video's frame, in seconds.
    time: Option<f64>,
    picture: RgbImage,
    features: Analysis,
    attention: Analysis,
    /// Of a video, with its past up to this frame.
    video: Option<(Source, u64)>,
}

pub fn run(args: Args) -> Outcome {
    let feature = match args.model.feature {
        FeatureArg::Attention => {
            let why = "inspect shows the attention anyway: --feature is k, q or v here";
            return Err(Failure::new(Kind::Usage, why));
        }
        feature => Feature::from(feature),
    };
    let (input, start_ns) = input_and_time(&args.input);
    let output = args.output.clone().unwrap_or_else(|| default_output(input, start_ns));
    let read = [Some(Path::new(input)), args.model.checkpoint.file()];
    guard(&[(&output, "-o")], &read.into_iter().flatten().collect::<Vec<_>>())?;
    if args.output.is_none() && !args.force && output.exists() {
        let why = format!("{} would be overwritten: --force does so, -o gives another name", output.display());
        return Err(Failure::new(Kind::Usage, why));
    }

    let mut analyzer = args.model.analyzer()?;
    let subject = look(input, start_ns, feature, &mut analyzer)?;
    let inspection = Inspection::new(&subject.features, &subject.attention)?;
    let cue = cue::cue(args.cue, Method::Most, false, None);
    let past = match &subject.video {
        Some((source, at_ns)) if cue != Cue::Appearance => {
            let localizer = localizer(Method::Most, false, None);
            let ask = Ask { args: &args.model, checkpoint: analyzer.checkpoint(), feature, localizer, cue };
            follow(source, *at_ns, &ask)?
        }
        _ => None,
    };
    let model = analyzer.checkpoint().id();
    let caption = Caption { name: &subject.name, model, feature: args.model.feature.name(), time: subject.time };
    let page = page::html(&inspection, past.as_ref(), &subject.picture, &caption).map_err(Failure::internal)?;
    write(&output, page.as_bytes())?;
    let drawn = inspection.candidates.iter().filter(|c| matches!(c.fate, Fate::Drawn { .. })).count();
    let objects = |count: usize| counted(count as u64, "object");
    let found = match &past {
        Some(past) => {
            let (frame, with_past) = (past.record.frame, objects(past.record.objects.len()));
            format!("{with_past} in frame {frame}, {drawn} in that picture by itself")
        }
        None => objects(drawn),
    };
    info!("{found}: {} shows why", output.display());
    debug!("MOST made {}", counted(inspection.candidates.len() as u64, "cluster"));

    if let Some(folder) = &args.pngs {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::new(Kind::Output, format!("{} cannot be made: {error}", folder.display())))?;
        let mut maps = maps::all(&inspection);
        maps.extend(past.iter().flat_map(|past| maps::of_past(past, &inspection.layout)));
        for (name, map) in &maps {
            write(&folder.join(format!("{name}.png")), &picture::to_png(map).map_err(Failure::internal)?)?;
        }
        info!("{}: {} as PNG files", folder.display(), counted(maps.len() as u64, "map"));
    }
    Ok(Exit::Done)
}

/// Reads the picture or the frame and runs the backbone on it.
fn look(input: &OsStr, start_ns: Option<u64>, feature: Feature, analyzer: &mut Analyzer) -> Result<Subject, Failure> {
    let path = Path::new(input);
    if inputs::is_still(path) && !input.to_string_lossy().contains("://") {
        if start_ns.is_some() {
            return Err(Failure::new(
                Kind::Usage,
                format!("{} is a still picture: leave out the time", path.display()),
            ));
        }
        let picture = picture::decode(path)?;
        let view = picture::view(&picture).map_err(AnalyzeError::from)?;
        let features = analyzer.analyze(&view, feature)?;
        let attention = analyzer.analyze(&view, Feature::ClsAttention)?;
        let name = path.file_name().unwrap_or(input).to_string_lossy().into_owned();
        return Ok(Subject { name, time: None, picture, features, attention, video: None });
    }
    let source = Source::new(input)?;
    let span = Span { start_ns: start_ns.unwrap_or(0), duration_ns: None };
    let mut video = VideoPictures::open(&source, span)?;
    let frame = video.next(&|| false)?;
    let frame = frame.ok_or_else(|| Failure::new(Kind::Input, format!("{}: no frame there", source.name)))?;
    let size = frame.display_size();
    // As `run` does: the model's picture is made from the decoder's pixels in one pass.
    let scaled = video.picture(&frame, analyzer.model_size(size.0, size.1))?;
    let features = analyzer.analyze_scaled(&scaled, size, feature)?;
    let attention = analyzer.analyze_scaled(&scaled, size, Feature::ClsAttention)?;
    let name = source.name.rsplit('/').next().unwrap_or_default().to_owned();
    let time = Some(frame.pts_ns as f64 / 1e9);
    let picture = video.picture(&frame, size)?;
    Ok(Subject { name, time, picture, features, attention, video: Some((source, frame.pts_ns)) })
}

/// The past of the frame at this time, as `run` sees it; none where the frame is too small for one.
fn follow(source: &Source, at_ns: u64, ask: &Ask) -> Result<Option<Past>, Failure> {
    let stop = stop_flag()?;
    // The frames that its record waits for are seen, too.
    let span = Span { start_ns: 0, duration_ns: Some(at_ns.saturating_add(AROUND_NS + 1)) };
    let files = Files::new(vec![source.clone()], span);
    let media = files.media();
    let seen = Arc::new(Mutex::new((Follower::default(), None::<Progress>)));
    let kept = seen.clone();
    let take = move |shown: Seen| {
        let mut seen = kept.lock().unwrap_or_else(PoisonError::into_inner);
        match shown {
            Seen::Frame { record, .. } | Seen::Record(record) if record.pts_ns > at_ns => {}
            Seen::Frame { record, evidence, scene } => {
                seen.0.follow(record, evidence, scene);
                let total = || media.get().and_then(|(media, span)| media.frames_in(*span));
                let progress = seen.1.get_or_insert_with(|| Progress::new(total()));
                progress.update(record.frame + 1, record.objects.len() as u64);
            }
            Seen::Record(record) => seen.0.tell(record),
        }
    };
    let outcome = past::watch(files, Sparing { every: Every::default(), is_adaptive: false }, ask, &stop, take)?;
    let (follower, progress) = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    progress.iter().for_each(Progress::finish);
    match outcome.into_fault() {
        Some(fault) => Err(fault.into()),
        None if stop.load(Ordering::Relaxed) => Err(Failure::new(Kind::Stopped, "interrupted, no page is written")),
        None => Ok(follower.past()),
    }
}

/// `VIDEO@TIME` in its parts; a file that is called like that is taken as it is.
fn input_and_time(text: &OsStr) -> (&OsStr, Option<u64>) {
    if Path::new(text).exists() {
        return (text, None);
    }
    let parts = text.to_str().and_then(|text| text.rsplit_once('@'));
    let parts = parts.and_then(|(input, time)| Some((input.as_ref(), time_ns(time).ok()?)));
    parts.map_or((text, None), |(input, time)| (input, Some(time)))
}

/// The time is in seconds, however it was given.
fn default_output(input: &OsStr, start_ns: Option<u64>) -> PathBuf {
    let path = match input.to_str().filter(|text| text.contains("://")) {
        Some(uri) => uri.split(['?', '#']).next().unwrap_or_default().as_ref(),
        None => input,
    };
    let mut name = Path::new(path).file_stem().unwrap_or("picture".as_ref()).to_owned();
    name.push(start_ns.map_or(String::new(), |ns| format!("@{}", ns as f64 / 1e9)));
    name.push(".inspect.html");
    name.into()
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    partial::write(path, content).map_err(|error| Failure::unwritten(path, error))
}
