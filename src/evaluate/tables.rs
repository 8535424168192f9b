//! A report as tables, for the terminal and for Markdown.

use super::events::{Measured, Row};
use super::report::{Cue, Measures, Outcome, Quality, Report, Share, Tenth};
use super::sample::Estimate;
use crate::localize::Method;

/// Which size of input pays, for each method of a report with several.
pub const KNEE: &str =
    "the fastest size of input at which the method's CorLoc, any box, is not below the interval of its best";

/// One table; every row is as long as the header.
#[derive(Clone, Debug)]
pub struct Table {
    pub title: &'static str,
    pub header: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

/// What the report says; tables that the data gives nothing for are left out. Shares are in percent, intervals in brackets.
pub fn tables(report: &Report) -> Vec<Table> {
    let results = &report.results;
    let of_events = report.events.iter().flat_map(events);
    let all = [
        curve(results),
        corloc(results),
        quality(results),
        score(results),
        reliability(results),
        clips(results),
        tracks(results),
        speed(results),
    ];
    all.into_iter().chain(of_events).filter(|table| !table.rows.is_empty()).collect()
}

/// In one line: what was evaluated.
pub fn summary(report: &Report) -> String {
    let set = &report.dataset;
    let plural = |count: u64, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    let mut text = format!(
        "{} ({}{}): {} of {}, {}",
        set.name,
        set.format,
        set.split.as_ref().map_or(String::new(), |split| format!(", {split}")),
        plural(set.pictures, "picture", "pictures"),
        plural(set.items, "item", "items"),
        plural(set.objects, "object", "objects"),
    );
    if set.format == "events" {
        text = format!("{} ({}): {}", set.name, set.format, plural(set.clips, "clip", "clips"));
    }
    let mut more = |count: u64, what: &str| {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    };
    more(set.events, "events");
    more(set.difficult, "difficult");
    more(set.truncated, "truncated");
    more(set.crowds, "crowds besides");
    more(set.empty_pictures, "pictures known to be empty");
    more(set.pictures - set.exhaustive_pictures, "pictures with only some objects annotated");
    more(set.excluded, "items excluded");
    if set.clips > 0 && set.every > 1 {
        text += &format!(", one frame in {} of clips", set.every);
    }
    text
}

/// Of one size of input there is no curve.
fn curve(results: &[Outcome]) -> Table {
    let is_curve = results.iter().any(|outcome| outcome.input != results[0].input);
    let row = |outcome: &Outcome| {
        let m = &outcome.measures;
        let mut row = name(outcome);
        row.push(outcome.min_score.to_string());
        row.push(
            outcome.milliseconds.analysis.map_or("-".into(), |ms| format!("{:.1}{}", ms.value, interval(&ms, 1.0, 1))),
        );
        row.push(m.corloc_any.map_or("-".into(), of_share));
        row.push(m.all.and_then(|all| all.ap50).map_or("-".into(), percent));
        row.push(m.all.map_or("-".into(), |all| percent(all.recall50)));
        let is_knee = knee(results, outcome.method).is_some_and(|knee| std::ptr::eq(knee, outcome));
        row.push(if is_knee { "knee" } else { "" }.into());
        row
    };
    let header =
        vec!["input", "method", "min score", "ms, infer and localize", "CorLoc, any box", "AP50", "recall50", "knee"];
    Table { title: "Quality against time", header, rows: results.iter().filter(|_| is_curve).map(row).collect() }
}

/// [`KNEE`].
pub fn knee(results: &[Outcome], method: Method) -> Option<&Outcome> {
    let known = || {
        let of_method = results.iter().filter(move |outcome| outcome.method == method);
        of_method.filter_map(|outcome| {
            Some((outcome, outcome.measures.corloc_any?.estimate, outcome.milliseconds.analysis?))
        })
    };
    let (_, best, _) = known().max_by(|(_, a, _), (_, b, _)| a.value.total_cmp(&b.value))?;
    let good = known().filter(|(_, found, _)| found.value >= best.low.unwrap_or(best.value));
    good.min_by(|(_, _, a), (_, _, b)| a.value.total_cmp(&b.value)).map(|(outcome, ..)| outcome)
}

fn corloc(results: &[Outcome]) -> Table {
    let is_flagged = results.iter().any(|outcome| outcome.measures.corloc_single_without_hard.is_some());
    let mut header = vec!["input", "method", "boxes per picture", "CorLoc, best box", "CorLoc, any box"];
    if is_flagged {
        header.extend(["best, without hard", "any, without hard"]);
    }
    let row = |outcome: &Outcome| {
        let m = &outcome.measures;
        let mut row = name(outcome);
        row.push(m.boxes_per_picture.map_or("-".into(), plain));
        let hard = [m.corloc_single_without_hard, m.corloc_any_without_hard];
        let shares = [m.corloc_single, m.corloc_any].into_iter().chain(hard.into_iter().filter(|_| is_flagged));
        row.extend(shares.map(|share| share.map_or("-".into(), of_share)));
        row
    };
    Table { title: "Localization", header, rows: results.iter().map(row).collect() }
}

fn quality(results: &[Outcome]) -> Table {
    let sizes = |m: &Measures| [("all", m.all), ("small", m.small), ("medium", m.medium), ("large", m.large)];
    let row = |outcome: &Outcome, size: &str, quality: Quality| {
        let mut row = name(outcome);
        row.extend([size.to_owned(), quality.objects.to_string()]);
        row.extend([quality.ap50, quality.ap].map(|ap| ap.map_or("-".into(), percent)));
        row.extend([quality.recall50, quality.recall].map(percent));
        row
    };
    let rows = results.iter().flat_map(|outcome| {
        sizes(&outcome.measures).into_iter().filter_map(move |(size, quality)| Some(row(outcome, size, quality?)))
    });
    let header = vec!["input", "method", "size", "objects", "AP50", "AP", "recall50", "recall"];
    Table { title: "Precision and recall, class-agnostic", header, rows: rows.collect() }
}

fn score(results: &[Outcome]) -> Table {
    let header = vec![
        "input",
        "method",
        "min score",
        "precision",
        "boxes over 40 %",
        "AUC of the score",
        "false boxes per empty picture",
        "empty pictures with boxes",
    ];
    let row = |outcome: &Outcome| {
        let m = &outcome.measures;
        let mut row = name(outcome);
        row.push(outcome.min_score.to_string());
        row.push(m.precision.map_or("-".into(), of_share));
        row.push(m.large_boxes.map_or("-".into(), of_share));
        row.push(m.score_auc.map_or("-".into(), |auc| format!("{:.3}{}", auc.value, interval(&auc, 1.0, 3))));
        row.push(m.empty.map_or("-".into(), |empty| plain(empty.boxes_per_picture)));
        row.push(m.empty.map_or("-".into(), |empty| percent(empty.share_with_boxes)));
        row
    };
    Table { title: "Score, and boxes where nothing is", header, rows: results.iter().map(row).collect() }
}

fn reliability(results: &[Outcome]) -> Table {
    let row = |outcome: &Outcome, tenth: &Tenth| {
        let mut row = name(outcome);
        row.push(format!("{:.1} to {:.1}", f64::from(tenth.tenth) / 10.0, f64::from(tenth.tenth + 1) / 10.0));
        row.extend([tenth.boxes.to_string(), format!("{:.1}", 100.0 * tenth.mean_score), percent(tenth.right)]);
        row
    };
    let rows = results.iter().flat_map(|outcome| outcome.measures.reliability.iter().map(|tenth| row(outcome, tenth)));
    let header = vec!["input", "method", "score", "boxes", "mean score", "right"];
    Table { title: "Reliability of the score", header, rows: rows.collect() }
}

fn clips(results: &[Outcome]) -> Table {
    let mut rows = Vec::new();
    for outcome in results {
        let Some(video) = &outcome.measures.video else { continue };
        let share = |share: Option<f64>| share.map_or("-".into(), |share| format!("{:.1}", 100.0 * share));
        let row = |cells: [String; 10]| name(outcome).into_iter().chain(cells).collect::<Vec<_>>();
        let rate = |rate: Option<f64>| rate.map_or("-".into(), |rate| format!("{rate:.1}"));
        for clip in &video.clips {
            rows.push(row([
                clip.id.clone(),
                clip.frames.to_string(),
                clip.objects.to_string(),
                share(clip.recall50),
                share(clip.precision),
                share(clip.best),
                share(clip.any),
                rate(clip.false_per_minute),
                share(clip.inferred),
                String::new(),
            ]));
        }
        let jitter = video
            .jitter
            .map_or("-".into(), |jitter| format!("{:.3}{}", jitter.estimate.value, interval(&jitter.estimate, 1.0, 3)));
        let frames: u64 = video.clips.iter().map(|clip| clip.frames).sum();
        let objects: u64 = video.clips.iter().map(|clip| clip.objects).sum();
        let mut sum = |name: &str, shares: [Option<Estimate>; 5], rate: Option<Estimate>, jitter: String| {
            let [recall, precision, best, any, inferred] = shares.map(|share| share.map_or("-".into(), percent));
            let rate = rate.map_or("-".into(), |rate| format!("{:.1}{}", rate.value, interval(&rate, 1.0, 1)));
            let counts = [name.into(), frames.to_string(), objects.to_string()];
            let [name, frames, objects] = counts;
            rows.push(row([name, frames, objects, recall, precision, best, any, rate, inferred, jitter]));
        };
        let m = &outcome.measures;
        let estimate = |share: Option<Share>| share.map(|share| share.estimate);
        let pooled = [
            m.all.map(|all| all.recall50),
            estimate(m.precision),
            estimate(m.corloc_single),
            estimate(m.corloc_any),
            video.inferred,
        ];
        sum("pooled", pooled, m.empty.and_then(|empty| empty.per_minute), jitter);
        let means = [video.mean_recall50, video.mean_precision, video.mean_best, video.mean_any, video.mean_inferred];
        sum("mean of clips", means, video.mean_false_per_minute, String::new());
    }
    let header = vec![
        "input",
        "method",
        "clip",
        "frames",
        "objects",
        "recall50",
        "precision",
        "best",
        "any",
        "false boxes a minute",
        "inferred",
        "jitter",
    ];
    Table { title: "Video", header, rows }
}

fn tracks(results: &[Outcome]) -> Table {
    let mut rows = Vec::new();
    for outcome in results {
        let Some(video) = &outcome.measures.video else { continue };
        let row = |clip: &str, cells: Vec<String>| {
            name(outcome).into_iter().chain([clip.to_owned()]).chain(cells).collect::<Vec<_>>()
        };
        for (clip, tracking) in video.clips.iter().filter_map(|clip| Some((clip, clip.tracking?))) {
            let mut cells: Vec<String> =
                tracking.shares().into_iter().map(|share| format!("{:.1}", 100.0 * share)).collect();
            cells.push(tracking.switches_per_minute.map_or("-".into(), |rate| format!("{rate:.1}")));
            rows.push(row(&clip.id, cells));
        }
        if let Some(tracking) = video.tracking {
            let mut cells: Vec<String> = tracking.shares().into_iter().map(percent).collect();
            let rate = |rate: Estimate| format!("{:.1}{}", rate.value, interval(&rate, 1.0, 1));
            cells.push(tracking.switches_per_minute.map_or("-".into(), rate));
            rows.push(row("pooled", cells));
        }
    }
    let header = vec![
        "input",
        "method",
        "clip",
        "HOTA",
        "DetA",
        "AssA",
        "LocA",
        "OWTA",
        "IDF1",
        "IDP",
        "IDR",
        "MOTA",
        "switches a minute",
    ];
    Table { title: "Tracks", header, rows }
}

fn speed(results: &[Outcome]) -> Table {
    let row = |outcome: &Outcome| {
        let ms = &outcome.milliseconds;
        let stages = [ms.decode, ms.motion, ms.scale, ms.infer, ms.localize, ms.scene];
        let total = stages.iter().sum();
        name(outcome).into_iter().chain(stages.into_iter().chain([total]).map(|ms: f64| format!("{ms:.1}"))).collect()
    };
    let header = vec!["input", "method", "decode", "motion", "scale", "infer", "localize", "scene", "sum"];
    Table { title: "Milliseconds per picture (medians)", header, rows: results.iter().map(row).collect() }
}

fn events(measured: &Measured) -> [Table; 4] {
    let row = |row: &Row| {
        let share = |share: Option<Estimate>| share.map_or("-".into(), percent);
        let ends = if row.lasting > 0 { format!("{} of {}", row.ends, row.lasting) } else { "-".into() };
        let delay = row.delay.map_or("-".into(), |delay| format!("{delay:.1}"));
        let counts = [row.truth, row.told, row.right].map(|count| count.to_string());
        let cells = counts.into_iter().chain([share(row.recall), share(row.precision), ends, delay]);
        std::iter::once(row.name.clone()).chain(cells).collect::<Vec<_>>()
    };
    let table = |title: &'static str, name: &'static str, rows: &mut dyn Iterator<Item = &Row>| {
        let header = vec![name, "true", "told", "right", "recall", "precision", "ends right", "told after s"];
        Table { title, header, rows: rows.map(row).collect() }
    };
    let empty = measured.empty.iter();
    let empty = empty.map(|empty| {
        vec![format!("{:.1}", empty.minutes), empty.wrong.to_string(), format!("{:.2}", empty.per_minute)]
    });
    [
        table("Events", "event", &mut measured.kinds.iter().chain([&measured.all])),
        table("Events by situation", "situation", &mut measured.situations.iter()),
        table("Events by disturbance", "disturbance", &mut measured.disturbances.iter()),
        Table {
            title: "Events where nobody is",
            header: vec!["minutes", "events that are not true", "a minute"],
            rows: empty.collect(),
        },
    ]
}

fn name(outcome: &Outcome) -> Vec<String> {
    let paper = if outcome.paper { ", paper" } else { "" };
    let cue = if outcome.cue == Cue::Time { ", time" } else { "" };
    let adaptive = if outcome.adaptive { ", adaptive" } else { "" };
    let without: String = outcome.without.iter().map(|sense| format!(", without {}", sense.name())).collect();
    vec![outcome.input.clone(), format!("{}{paper}{cue}{adaptive}{without}", outcome.method)]
}

fn percent(estimate: Estimate) -> String {
    format!("{:.1}{}", 100.0 * estimate.value, interval(&estimate, 100.0, 1))
}

fn of_share(share: Share) -> String {
    percent(share.estimate)
}

fn plain(estimate: Estimate) -> String {
    format!("{:.2}{}", estimate.value, interval(&estimate, 1.0, 2))
}

fn interval(estimate: &Estimate, scale: f64, digits: usize) -> String {
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!(" [{:.digits$}, {:.digits$}]", scale * low, scale * high),
        _ => String::new(),
    }
}

impl Table {
    /// Columns padded with spaces.
    pub fn text(&self) -> String {
        let lines =
            || std::iter::once(self.header.iter().map(|cell| cell.to_string()).collect()).chain(self.rows.clone());
        let mut widths = vec![0; self.header.len()];
        for line in lines() {
            widths
                .iter_mut()
                .zip(&line)
                .for_each(|(width, cell): (_, &String)| *width = cell.chars().count().max(*width));
        }
        let mut text = format!("{}\n", self.title);
        for line in lines() {
            let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            text += &format!("  {}\n", cells.join("  ").trim_end());
        }
        text
    }

    /// A Markdown table without its title.
    pub fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = String>| {
            let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|").replace('<', "&lt;")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = line(&mut self.header.iter().map(|cell| cell.to_string()));
        text += &line(&mut self.header.iter().map(|_| "---".into()));
        self.rows.iter().for_each(|row| text += &line(&mut row.iter().cloned()));
        text
    }
}
