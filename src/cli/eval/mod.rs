//! `mostream eval`: how near the boxes come to those that people drew.

mod events;
mod output;
mod state;
mod work;

use super::cue::CueArgs;
use super::exit::{Exit, Failure, Outcome};
use super::interrupt::stop_flag;
use super::model::{CheckpointArgs, DeviceArgs, FeatureArg, ModelArgs};
use super::progress::Progress;
use crate::cli::values::whole;
use mostream::analyzer::Analyzer;
use mostream::backbone::{self, DEFAULT_MAX_PATCHES, Feature};
use mostream::bounded;
use mostream::engine::Sparing;
use mostream::evaluate::dataset::{Dataset, Format, Item, Media, Options};
use mostream::evaluate::events::Measured;
use mostream::evaluate::report::{self, Choices, DatasetSummary, Machine, Model, Report};
use mostream::fault::Kind;
use mostream::localize::Method;
use mostream::record::Every;
use mostream::run::guard::guard;
use mostream::scene::Sense;
use state::State;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;
use tracing::{info, warn};
use work::{Findings, Models, Plan};

/// A longer list of exclusions is none.
const MAX_EXCLUDE_BYTES: u64 = 64 << 20;

#[derive(clap::Args)]
#[command(
    after_help = "What is found is kept beside the report, in REPORT.state.jsonl: the same command goes on where it was cut off, \
and only what is new is computed when methods or sizes are added. Without --json and --csv nothing is kept.\n\nThe report is \
complete where files could not be read, and names them; the exit code is then 3.\n\nExamples:\n  mostream eval VOCdevkit/VOC2007 \
--split trainval --method all --json voc07.json\n  mostream eval coco --split val2017 --patches 600,1200,2400 --json coco.json --csv \
coco.csv\n  mostream eval clips --every 5"
)]
pub struct Args {
    /// A data set: a folder in the layout of VOC, COCO, YOLO, DAVIS or MOT, or of clips with NAME.boxes.json or
    /// NAME.events.json beside them; or a COCO JSON file
    dataset: PathBuf,
    /// Layout of the data set: voc, coco, yolo, clips, events, davis or mot [default: what it looks like]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// The part to evaluate, by the data set's own name (trainval, val2017) [default: all of it]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Leave out what this JSON list of ids or file names holds
    #[arg(long, value_name = "FILE.json")]
    exclude: Option<PathBuf>,
    /// In what this JSON list of ids or file names holds only some objects are annotated: boxes elsewhere are not wrong there
    #[arg(long, value_name = "FILE.json")]
    partial: Option<PathBuf>,
    /// Only the first N pictures and clips
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1, u64::MAX))]
    limit: Option<u64>,
    /// Of clips, every Nth frame is counted; those in between are looked at only where the past is asked (--cue time)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u32>(1, u32::MAX.into()))]
    every: u32,
    /// Of clips that are seen with their past (--cue time): the backbone runs on each Nth frame
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>(1, u64::MAX))]
    infer_every: u64,
    /// Of the same: it runs only where something may have changed, as in run
    #[arg(long)]
    adaptive: bool,
    /// Of the same: find objects without pixels, novelty, ghosts, motion, appearance or crops (docs/evaluation.md), to learn what each brings
    #[arg(long, value_name = "CUE", value_delimiter = ',', value_parser = sense)]
    without: Vec<Sense>,
    #[command(flatten)]
    cue: CueArgs,
    /// How boxes are found: most, lost, tokencut, dino-seg, or all; may be given several times
    #[arg(long, value_name = "METHOD", default_value = "most", value_delimiter = ',', value_parser = methods)]
    method: Vec<Methods>,
    /// Take the paper's boxes as they are: duplicates kept, in the paper's order
    #[arg(long)]
    paper: bool,
    #[arg(long, help = super::localize::min_score_help(), value_name = "SCORE", value_parser = super::localize::score, conflicts_with = "paper")]
    min_score: Option<f32>,
    /// Write everything to this file
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
    /// Write a row per picture, size and method to this file
    #[arg(long, value_name = "FILE.csv")]
    csv: Option<PathBuf>,
    /// Pictures that are worked on at the same time; the cores are shared among them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u16>(1, 256))]
    jobs: u16,
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// What most, lost and tokencut read: keys, queries or values of the model's last block
    #[arg(long, value_enum, default_value_t)]
    feature: FeatureArg,
    /// Size of the model's input in pixels [default: the picture's aspect, as large as --patches allows]
    #[arg(long, value_name = "WxH", value_parser = super::model::size, conflicts_with = "patches")]
    size: Option<(u32, u32)>,
    /// Patches of the model's input, at most; several, separated by commas, are evaluated one by one
    #[arg(long, value_name = "N", default_values_t = [DEFAULT_MAX_PATCHES as u16], value_delimiter = ',', value_parser = whole::<u16>(1, 16_384))]
    patches: Vec<u16>,
    /// Threads of the model for each picture [default: the cores, shared by --jobs]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1, 65_535))]
    threads: Option<u16>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What one `--method` asks for.
#[derive(Clone, Copy)]
enum Methods {
    All,
    One(Method),
}

const METHODS: [Method; 4] = [Method::Most, Method::Lost, Method::TokenCut, Method::DinoSeg];

pub fn run(mut args: Args) -> Outcome {
    args.device = args.device.exact_by_default();
    args.patches.sort_unstable();
    args.patches.dedup();
    if args.feature == FeatureArg::Attention {
        let why = "--feature is what most, lost and tokencut read: k, q or v (dino-seg reads the attention by itself)";
        return Err(Failure::new(Kind::Usage, why));
    }
    let outputs = [(&args.json, "--json"), (&args.csv, "--csv")];
    let outputs: Vec<(&Path, &str)> =
        outputs.into_iter().filter_map(|(path, flag)| Some((path.as_deref()?, flag))).collect();
    let inputs = [Some(args.dataset.as_path()), args.checkpoint.file()];
    guard(&outputs, &inputs.into_iter().flatten().collect::<Vec<_>>())?;
    let stop = stop_flag()?;
    let (items, dataset, failures) = read(&args)?;
    let model_args = args.model_args();
    let checkpoint = Arc::new(model_args[0].checkpoint()?);
    let library = backbone::find_library(None, model_args[0].session_options(&checkpoint).first_device())?;
    let machine = machine(&args, backbone::runtime_info(&library)?.version)?;
    let model =
        Model { id: checkpoint.id().to_owned(), patch: checkpoint.patch(), feature: args.feature.name().to_owned() };
    let models = Models { checkpoint: &checkpoint, args: args.model_args(), stop: &stop };
    let plan = plan(&args, &items, &model, &machine, models)?;
    let is_of_events = items.iter().any(|item| item.story.is_some());
    let evaluated = match is_of_events {
        true => events(&args, dataset, &plan)?,
        false => boxes(&args, dataset, &plan, machine.threads)?,
    };
    let Some(mut evaluated) = evaluated else {
        let is_kept = !is_of_events && (args.json.is_some() || args.csv.is_some());
        info!("interrupted, no report is written{}", if is_kept { "; the same command goes on" } else { "" });
        return Ok(Exit::Interrupted);
    };
    evaluated.failures.splice(0..0, failures);
    if evaluated.dataset.items == 0 {
        let first = evaluated.failures.first().map_or("no picture is annotated", String::as_str);
        return Err(Failure::new(Kind::Input, format!("{}: nothing to evaluate: {first}", args.dataset.display())));
    }
    let report = Report {
        evaluation: report::VERSION,
        program: concat!("mostream ", env!("CARGO_PKG_VERSION")).to_owned(),
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        machine,
        model,
        dataset: evaluated.dataset,
        choices: Choices::default(),
        results: evaluated.results,
        events: evaluated.events,
        failures: evaluated.failures,
    };
    if let Some(path) = &args.json {
        output::write(path, &(serde_json::to_string_pretty(&report).map_err(Failure::internal)? + "\n"))?;
    }
    if let (Some(path), Some(csv)) = (&args.csv, &evaluated.csv) {
        output::write(path, csv)?;
    }
    output::print(&report)?;
    tell_failures(&report.failures);
    Ok(if report.failures.is_empty() { Exit::Done } else { Exit::Input })
}

/// What came of it.
struct Evaluated {
    dataset: DatasetSummary,
    results: Vec<report::Outcome>,
    events: Option<Measured>,
    /// Where `--csv` asks for it.
    csv: Option<String>,
    failures: Vec<String>,
}

/// None where it was interrupted.
fn boxes(args: &Args, dataset: DatasetSummary, plan: &Plan, threads: usize) -> Result<Option<Evaluated>, Failure> {
    let state = match args.json.as_ref().or(args.csv.as_ref()) {
        Some(path) => State::open(&path.with_extension("state.jsonl"))?,
        None => State::none(),
    };
    let found = work(args, plan, threads, state)?;
    Ok(found.map(|findings| Evaluated {
        dataset: output::count(dataset, plan, &findings),
        results: output::results(plan, &findings),
        events: None,
        csv: args.csv.as_ref().map(|_| output::csv(plan, &findings)),
        failures: findings.failures,
    }))
}

/// The same of clips of which it is known what happens.
fn events(args: &Args, dataset: DatasetSummary, plan: &Plan) -> Result<Option<Evaluated>, Failure> {
    if args.csv.is_some() {
        return Err(Failure::new(Kind::Usage, "--csv has a row per picture, and events are of clips: give --json"));
    }
    let mut progress = Progress::of(Some(plan.items.len() as u64), "clip");
    let measured = events::run(plan, |clips, events| progress.update(clips, events))?;
    progress.finish();
    Ok(measured.map(|(measured, failures)| {
        let clips = measured.clips.len() as u64;
        Evaluated {
            dataset: DatasetSummary { items: clips, clips, events: measured.all.truth, ..dataset },
            results: Vec::new(),
            events: Some(measured),
            csv: None,
            failures,
        }
    }))
}

/// What is to be evaluated, and what could not be read.
fn read(args: &Args) -> Result<(Vec<Item>, DatasetSummary, Vec<String>), Failure> {
    let unusable = |error: &dyn std::fmt::Display| Failure::new(Kind::Input, error);
    let format = match args.format {
        Some(format) => format,
        None => Format::recognise(&args.dataset).map_err(|error| unusable(&error))?,
    };
    let options = Options { split: args.split.clone() };
    let Dataset { mut items, failures } =
        Dataset::open(&args.dataset, Some(format), &options).map_err(|error| unusable(&error))?;
    let all = items.len();
    let names = |path: &Path| {
        let names = names(path).map_err(|why| unusable(&format!("{}: {why}", path.display())))?;
        if !names.is_empty() && !items.iter().any(|item| is_named(item, &names)) {
            warn!("{} names nothing that is in the data set", path.display());
        }
        Ok::<_, Failure>(names)
    };
    let excluded = args.exclude.as_deref().map(names).transpose()?.unwrap_or_default();
    let partial = args.partial.as_deref().map(names).transpose()?.unwrap_or_default();
    items.retain(|item| !is_named(item, &excluded));
    items.iter_mut().for_each(|item| item.is_exhaustive &= !is_named(item, &partial));
    let excluded = (all - items.len()) as u64;
    items.truncate(args.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
    let name_of = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let absolute = std::path::absolute(&args.dataset).map_err(|error| unusable(&error))?;
    let summary = DatasetSummary {
        name: name_of(&absolute).unwrap_or_default(),
        format: format.to_string(),
        split: args.split.clone(),
        excluded,
        exclude: args.exclude.as_deref().and_then(name_of),
        limit: args.limit,
        every: args.every.into(),
        ..DatasetSummary::default()
    };
    Ok((items, summary, failures))
}

/// A JSON list of names and numbers.
fn names(path: &Path) -> Result<HashSet<String>, String> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Name {
        Text(String),
        Number(i64),
    }
    let text = bounded::read_text(path, MAX_EXCLUDE_BYTES).map_err(|error| error.to_string())?;
    let names: Vec<Name> =
        serde_json::from_str(&text).map_err(|error| format!("is no JSON list of ids or file names: {error}"))?;
    let text = |name| match name {
        Name::Text(text) => text,
        Name::Number(number) => number.to_string(),
    };
    Ok(names.into_iter().map(text).collect())
}

/// Whether the item is among the names: by its id, or by the name of its file with or without the extension.
fn is_named(item: &Item, names: &HashSet<String>) -> bool {
    let path = match &item.media {
        Media::Still(path) | Media::Video(path) => Some(path.as_path()),
        Media::Sequence(_) => None,
    };
    let of_file = path.into_iter().flat_map(|path| [path.file_name(), path.file_stem()]).flatten();
    names.contains(&item.id) || of_file.map(|name| name.to_string_lossy()).any(|name| names.contains(name.as_ref()))
}

fn machine(args: &Args, onnxruntime: String) -> Result<Machine, Failure> {
    let cores = std::thread::available_parallelism().map_err(Failure::internal)?.get();
    let jobs = usize::from(args.jobs);
    Ok(Machine {
        processor: crate::cli::bench::cpu().unwrap_or_else(|| "unknown".to_owned()),
        cores,
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        onnxruntime,
        device: args.device.devices().to_string(),
        precision: args.device.precision().to_string(),
        jobs,
        threads: args.threads.map_or((cores / jobs).max(1), usize::from),
    })
}

fn plan<'a>(
    args: &Args,
    items: &'a [Item],
    model: &Model,
    machine: &Machine,
    models: Models<'a>,
) -> Result<Plan<'a>, Failure> {
    let is_wanted = |method: &Method| {
        args.method.iter().any(|wanted| match wanted {
            Methods::All => true,
            Methods::One(wanted) => wanted == method,
        })
    };
    let inputs = match args.size {
        Some((width, height)) => vec![format!("{width}x{height}")],
        None => args.patches.iter().map(|patches| format!("{patches} patches")).collect(),
    };
    // Another build of the program may find other boxes.
    let program = std::env::current_exe().and_then(std::fs::read);
    let program = program.map_err(|error| Failure::internal(format!("the program's own file: {error}")))?;
    let program = blake3::hash(&program).to_hex();
    let paper = args.paper.to_string();
    let Machine { onnxruntime, device, precision, .. } = machine;
    let common_key = state::key(&[&program, onnxruntime, device, precision, &model.id, &model.feature, &paper]);
    Ok(Plan {
        items,
        inputs,
        methods: METHODS.into_iter().filter(is_wanted).collect(),
        feature: Feature::from(args.feature),
        paper: args.paper,
        min_score: args.min_score,
        every: args.every as usize,
        cue: args.cue,
        sparing: Sparing { every: Every::Frames(args.infer_every), is_adaptive: args.adaptive },
        without: args.without.iter().copied().collect(),
        models,
        common_key,
    })
}

fn work(args: &Args, plan: &Plan, threads: usize, state: State) -> Result<Option<Findings>, Failure> {
    let Models { checkpoint, stop, .. } = plan.models;
    let analyzers = || -> Vec<Analyzer> {
        plan.models.args.iter().map(|args| args.analyzer_of(checkpoint.clone(), threads)).collect()
    };
    let workers = (0..args.jobs).map(|_| analyzers()).collect();
    let mut progress = Progress::of(Some(plan.pictures() as u64), "picture");
    let findings = work::run(plan, workers, state, stop, |pictures, boxes| progress.update(pictures, boxes));
    progress.finish();
    match findings {
        Err(_) if stop.load(Ordering::Relaxed) => Ok(None),
        findings => findings,
    }
}

fn tell_failures(failures: &[String]) {
    if !failures.is_empty() {
        warn!("{} could not be used:", failures.len());
        failures.iter().for_each(|why| warn!("{why}"));
    }
}

impl Args {
    /// The model's flags for each of the sizes of input.
    fn model_args(&self) -> Vec<ModelArgs> {
        let of = |&patches: &u16| ModelArgs {
            checkpoint: self.checkpoint.clone(),
            feature: self.feature,
            size: self.size,
            patches,
            threads: self.threads,
            device: self.device,
        };
        // --size is one, whatever --patches has.
        let inputs = if self.size.is_some() { 1 } else { self.patches.len() };
        self.patches.iter().take(inputs).map(of).collect()
    }
}

fn sense(text: &str) -> Result<Sense, String> {
    let known = Sense::ALL.into_iter().find(|sense| sense.name() == text);
    known.ok_or_else(|| format!("expected {}", Sense::ALL.map(Sense::name).join(", ")))
}

fn methods(text: &str) -> Result<Methods, String> {
    match text {
        "all" => Ok(Methods::All),
        _ => super::localize::method(text).map(Methods::One).map_err(|why| format!("{why}, or all")),
    }
}
