//! From what was found to the report, the rows per picture and the terminal.

use super::work::{Findings, Plan};
use crate::cli::exit::Failure;
use mostream::engine;
use mostream::evaluate::corloc::{self, Boxes, Objects};
use mostream::evaluate::dataset::Media;
use mostream::evaluate::report::{Cue, DatasetSummary, Measures, Outcome, Report, Stages};
use mostream::evaluate::sample::{self, FoundBox, Sample};
use mostream::evaluate::tables;
use mostream::fault::Kind;
use mostream::geometry;
use mostream::partial::PartialFile;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

/// The boxes of one setting, picture by picture.
struct Pictures<'a> {
    ids: Vec<&'a str>,
    /// All but what was found; items as counted here.
    truths: Vec<Sample<'a>>,
    boxes: Vec<Vec<FoundBox>>,
}

impl<'a> Pictures<'a> {
    /// Items that nothing was found out about are not counted.
    fn new(plan: &Plan<'a>, findings: &Findings, setting: usize) -> Self {
        let (mut ids, mut truths, mut boxes) = (Vec::new(), Vec::new(), Vec::new());
        let mut last = None;
        for (&(item, frame), found) in &findings.found {
            let source = &plan.items[item];
            if last != Some(item) {
                ids.push(source.id.as_str());
                last = Some(item);
            }
            let found = &found[setting];
            truths.push(Sample {
                item: ids.len() - 1,
                frame,
                picture: found.picture,
                truth: &source.frames[frame],
                is_exhaustive: source.is_exhaustive,
                found: &[],
                is_followed: found.tracks.is_some(),
                moment: found.moment,
            });
            let track = |at: usize| found.tracks.as_ref()?.get(at).copied();
            let all = found.boxes.iter().zip(&found.scores).enumerate();
            let all = all.map(|(at, (bbox, &score))| FoundBox { bbox: bbox.map(f64::from), score, track: track(at) });
            boxes.push(all.filter(|found| found.score >= plan.min_score(setting, item)).collect());
        }
        Self { ids, truths, boxes }
    }

    fn samples(&self) -> Vec<Sample<'_>> {
        self.truths.iter().zip(&self.boxes).map(|(sample, found)| Sample { found, ..*sample }).collect()
    }
}

/// Fills in the numbers of what was evaluated.
pub fn count(mut summary: DatasetSummary, plan: &Plan, findings: &Findings) -> DatasetSummary {
    let pictures = Pictures::new(plan, findings, 0);
    let items: BTreeSet<usize> = findings.found.keys().map(|(item, _)| *item).collect();
    summary.items = items.len() as u64;
    summary.clips = items.iter().filter(|item| !matches!(plan.items[**item].media, Media::Still(_))).count() as u64;
    for sample in pictures.samples() {
        summary.pictures += 1;
        summary.exhaustive_pictures += u64::from(sample.is_exhaustive);
        summary.empty_pictures += u64::from(sample.is_known_empty());
        summary.objects += sample.objects().count() as u64;
        summary.crowds += (sample.truth.boxes.len() - sample.objects().count()) as u64;
        summary.difficult += sample.objects().filter(|truth| truth.is_difficult).count() as u64;
        summary.truncated += sample.objects().filter(|truth| truth.is_truncated).count() as u64;
    }
    summary
}

/// Every measure of every setting.
pub fn results(plan: &Plan, findings: &Findings) -> Vec<Outcome> {
    let outcome = |setting| {
        let pictures = Pictures::new(plan, findings, setting);
        let median = |stage: fn(&super::state::Microseconds) -> u64| {
            let mut us: Vec<u64> = findings.found.values().map(|found| stage(&found[setting].us)).collect();
            us.sort_unstable();
            us.get(us.len() / 2).map_or(0.0, |us| *us as f64 / 1e3)
        };
        let (cue, without) = match plan.cue(setting, 0) {
            engine::Cue::Appearance => (Cue::Appearance, Vec::new()),
            engine::Cue::Time { without, .. } => (Cue::Time, without.all().collect()),
        };
        Outcome {
            input: plan.inputs[setting / plan.methods.len()].clone(),
            method: plan.methods[setting % plan.methods.len()],
            paper: plan.paper,
            cue,
            without,
            adaptive: plan.sparing.is_adaptive && cue == Cue::Time,
            min_score: plan.min_score(setting, 0),
            measures: Measures::of(&pictures.samples(), &pictures.ids, plan.every),
            milliseconds: Stages {
                decode: median(|us| us.decode),
                scale: median(|us| us.scale),
                infer: median(|us| us.infer),
                localize: median(|us| us.localize),
                motion: median(|us| us.motion),
                scene: median(|us| us.scene),
                analysis: sample::median(
                    findings
                        .found
                        .values()
                        .map(|found| (found[setting].us.infer + found[setting].us.localize) as f64 / 1e3),
                ),
            },
        }
    };
    (0..plan.settings()).map(outcome).collect()
}

/// A row per picture and setting.
pub fn csv(plan: &Plan, findings: &Findings) -> String {
    let mut text = String::from(
        "item,frame,width,height,input,method,objects,boxes,right_boxes,localized_best,localized_any,best_iou,top_score,\
         decode_us,scale_us,infer_us,localize_us\n",
    );
    for setting in 0..plan.settings() {
        let pictures = Pictures::new(plan, findings, setting);
        let (input, method) = (setting / plan.methods.len(), setting % plan.methods.len());
        for (sample, found) in pictures.samples().iter().zip(findings.found.values()) {
            let found = &found[setting];
            let localized = |boxes| match corloc::is_localized(sample, Objects::All, boxes) {
                Some(is_localized) => u8::from(is_localized).to_string(),
                None => String::new(),
            };
            let ious =
                sample.objects().flat_map(|truth| sample.found.iter().map(|f| geometry::iou(&f.bbox, &truth.bbox)));
            let cells = [
                quoted(pictures.ids[sample.item]),
                sample.frame.to_string(),
                found.picture[0].to_string(),
                found.picture[1].to_string(),
                plan.inputs[input].clone(),
                plan.methods[method].to_string(),
                sample.objects().count().to_string(),
                sample.found.len().to_string(),
                sample.found.iter().filter(|found| sample.is_right(found)).count().to_string(),
                localized(Boxes::Best),
                localized(Boxes::Any),
                ious.max_by(f64::total_cmp).map_or(String::new(), |iou| format!("{iou:.4}")),
                sample.best().map_or(String::new(), |best| best.score.to_string()),
                found.us.decode.to_string(),
                found.us.scale.to_string(),
                found.us.infer.to_string(),
                found.us.localize.to_string(),
            ];
            text += &cells.join(",");
            text.push('\n');
        }
    }
    text
}

/// As RFC 4180 has it.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// Writes a file that appears when it is complete.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = PartialFile::create(path).and_then(|(partial, mut file)| {
        file.write_all(text.as_bytes())?;
        partial.commit()
    });
    written.map_err(|error| Failure::new(Kind::Output, format!("{}: {error}", path.display())))
}

/// The tables, on stdout.
pub fn print(report: &Report) -> Result<(), Failure> {
    let mut text = tables::summary(report) + "\n" + &format!("{}, feature {}\n", report.model.id, report.model.feature);
    for table in tables::tables(report) {
        text += &format!("\n{}", table.text());
    }
    text += "\nShares in percent; in brackets 95 % by bootstrap over pictures, clips as a whole.\n";
    match std::io::stdout().write_all(text.as_bytes()) {
        // The reader has seen enough: `… | head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|why| Failure::new(Kind::Output, format!("cannot write to stdout: {why}"))),
    }
}
