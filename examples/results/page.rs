//! The page of results, from reports of `mostream eval --json` and `mostream bench --json`.

use mostream::evaluate::report::{Choices, Cue, Outcome, Report};
use mostream::evaluate::sample::Estimate;
use mostream::evaluate::tables;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Reports of this name leave something out, to learn what it brings.
const ABLATION: &str = "ablation-";

pub type Failure = Box<dyn std::error::Error>;

/// The page that the reports in `folder` make, in order of their names.
pub fn markdown(folder: &Path) -> Result<String, Failure> {
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        entries => entries?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?,
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let (mut quality, mut clips, mut speed) = (String::new(), String::new(), String::new());
    let mut choices: Vec<Choices> = Vec::new();
    for path in &paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let failed = |error: serde_json::Error| format!("{}: {error}", path.display());
        let value: Value = serde_json::from_slice(&std::fs::read(path)?).map_err(failed)?;
        if value.get("evaluation").is_some() {
            let report: Report = serde_json::from_value(value).map_err(failed)?;
            if let [outcome] = &report.results[..] {
                clips += &clips_row(&name, outcome);
            }
            // What leaves something out is a row among the others.
            if !name.starts_with(ABLATION) {
                quality += &evaluation(&name, &report);
            }
            if !choices.contains(&report.choices) {
                choices.push(report.choices);
            }
        } else if value.get("stages").is_some() {
            speed += &bench_row(&name, &value);
        } else {
            return Err(format!("{}: is no report of mostream eval or bench", path.display()).into());
        }
    }
    let mut page = String::from(
        "# Results\n\nMade by `make results` from the reports in [results/](results); no number on this page is typed by hand. Shares \
         are in percent, in brackets are 95 % intervals. [evaluation.md](evaluation.md) says what is measured and how.\n",
    );
    if paths.is_empty() {
        page += "\nNo report is stored yet.\n";
    }
    if !clips.is_empty() {
        page += "\n## Clips: with and without each cue\n\nOf reports of one method at one size: all clips' objects, boxes and frames together, then the mean of the clips. \
                 The reports below have the intervals, the clips and the time of each stage.\n\n\
                 | report | cues | min score | recall50 | precision | best | any | mean recall50 | precision | best | any | boxes over 40 % | \
                 false boxes a minute | inferred | ms: motion | infer | scene |\n|";
        page += &" --- |".repeat(17);
        page += "\n";
        page += &clips;
    }
    page += &quality;
    if !speed.is_empty() {
        page += "\n## Speed\n\nMedians over rounds; stages alone in wall milliseconds per frame, the whole way in frames per second.\n\n\
                 | report | machine | device | precision | model | method | frame | patches | decode and scale | infer | localize | draw and encode | to records \
                 | to video | date |\n|";
        page += &" --- |".repeat(15);
        page += "\n";
        page += &speed;
    }
    for choices in choices {
        page += &rules(&choices);
    }
    Ok(page)
}

/// None of what is no clip.
fn clips_row(name: &str, outcome: &Outcome) -> String {
    let m = &outcome.measures;
    let Some(video) = &m.video else { return String::new() };
    let cues = match outcome.cue {
        Cue::Appearance => "appearance".to_owned(),
        Cue::Time => {
            let without: String = outcome.without.iter().map(|sense| format!(", without {}", sense.name())).collect();
            format!("time{}{without}", if outcome.adaptive { ", adaptive" } else { "" })
        }
    };
    let of =
        |estimate: Option<Estimate>, scale: f64| estimate.map_or("-".into(), |e| format!("{:.1}", scale * e.value));
    let share = |estimate| of(estimate, 100.0);
    let ms = &outcome.milliseconds;
    let mut cells = vec![name.to_owned(), cues, outcome.min_score.to_string()];
    cells.extend(
        [
            m.all.map(|all| all.recall50),
            m.precision.map(|share| share.estimate),
            m.corloc_single.map(|share| share.estimate),
            m.corloc_any.map(|share| share.estimate),
            video.mean_recall50,
            video.mean_precision,
            video.mean_best,
            video.mean_any,
            m.large_boxes.map(|share| share.estimate),
        ]
        .map(share),
    );
    cells.extend([of(m.empty.and_then(|empty| empty.per_minute), 1.0), share(video.inferred)]);
    cells.extend([ms.motion, ms.infer, ms.scene].map(|ms| format!("{ms:.1}")));
    format!("| {} |\n", cells.join(" | "))
}

fn evaluation(name: &str, report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "\n## {name}\n\n{}. Model {}, patches of {} pixels, feature {}. {}, {}; {}, {} cores, {} at a time with {} threads, ONNX Runtime \
         {}.\n",
        tables::summary(report),
        report.model.id,
        report.model.patch,
        report.model.feature,
        report.program,
        report.date,
        machine.processor,
        machine.cores,
        machine.jobs,
        machine.threads,
        machine.onnxruntime,
    );
    if let Some(exclude) = &report.dataset.exclude {
        text += &format!("Left out is what {exclude} names.\n");
    }
    if let Some(limit) = report.dataset.limit {
        text += &format!("Only the first {limit} items.\n");
    }
    if !report.failures.is_empty() {
        text += &format!("Could not be used: {}.\n", report.failures.len());
    }
    for table in tables::tables(report) {
        text += &format!("\n### {}\n\n{}", table.title, table.markdown());
        if table.header.contains(&"knee") {
            text += &format!("\nThe knee is {}.\n", tables::KNEE);
        }
    }
    text
}

fn rules(choices: &Choices) -> String {
    format!(
        "\n## Rules\n\n- A box is right at an IoU of {} with an object.\n- CorLoc: {}.\n- AP: {}.\n- Recall: {}.\n- AUC: {}.\n- Jitter: \
         {}.\n- Tracks: {}.\n- Events: {}.\n- Intervals: {}, {} draws, {} % of them, seed {}.\n",
        choices.right_iou,
        choices.corloc,
        choices.average_precision,
        choices.recall,
        choices.score_auc,
        choices.jitter,
        choices.tracking,
        choices.events,
        choices.intervals,
        choices.resamples,
        100.0 * choices.confidence,
        choices.seed,
    )
}

/// What a bench lacks is a dash.
fn bench_row(name: &str, bench: &Value) -> String {
    let at = |pointer: &str| match bench.pointer(pointer) {
        Some(Value::String(text)) => text.replace('|', "\\|"),
        Some(Value::Number(number)) => match number.as_u64() {
            Some(number) => number.to_string(),
            None => format!("{:.2}", number.as_f64().unwrap_or_default()),
        },
        _ => "-".to_owned(),
    };
    let joined = |a: &str, b: &str| format!("{}x{}", at(a), at(b));
    let stage = |stage: &str| at(&format!("/stages/{stage}/wall_ms"));
    let cells = [
        name.to_owned(),
        format!("{}, {} cores, {} threads", at("/machine/cpu"), at("/machine/cores"), at("/machine/threads")),
        at("/ran/device"),
        at("/ran/precision"),
        at("/model"),
        at("/method"),
        joined("/input/width", "/input/height"),
        joined("/input/grid/1", "/input/grid/0"),
        stage("decode_scale"),
        stage("infer"),
        stage("localize"),
        stage("draw_encode"),
        at("/to_records/fps"),
        at("/to_video/fps"),
        at("/date"),
    ];
    format!("| {} |\n", cells.join(" | "))
}
