//! What `deploy` has for Prometheus and Grafana, held to what the page really says, by Prometheus' own tool.

use crate::support::camera::{RtspCamera, free_port};
use crate::support::program::{mostream, signal, until};
use crate::support::site::{Site, event};
use crate::web::scrape;
use mostream::record::{EventName, Phase, SourceState};
use mostream::web::Options;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("promtool");
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("promtool: {error}: run tools/setup.sh"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Asserts that it is pleased with this file, which it reads in a folder.
#[track_caller]
fn passes(what: &str, text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yaml");
    std::fs::write(&file, text).unwrap();
    let said = promtool(&[what, "rules", file.to_str().unwrap()], "");
    let why = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.status.success(), "{why}");
}

fn board() -> Value {
    serde_json::from_str(&std::fs::read_to_string(at("deploy/grafana.json")).unwrap()).unwrap()
}

/// Each panel's title and question, with every choice made for all.
fn questions(board: &Value) -> Vec<(String, String)> {
    let panels = board["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().unwrap().clone();
        assert!(!targets.is_empty(), "{title}");
        let plain = |question: &str| question.replace("$__rate_interval", "5m");
        let variables = board["templating"]["list"].as_array().unwrap();
        let names = variables.iter().map(|variable| variable["name"].as_str().unwrap());
        let chosen =
            |question: String| names.clone().fold(question, |text, name| text.replace(&format!("${name}"), ".*"));
        targets
            .iter()
            .map(|target| (title.clone(), chosen(plain(target["expr"].as_str().unwrap()))))
            .collect::<Vec<_>>()
    };
    panels.flat_map(of_panel).collect()
}

/// The names of metrics in a question.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("mostream_")).map(str::to_owned).collect()
}

/// What a run says of itself while it looks at a camera.
fn page_of_a_run() -> String {
    let folder = tempfile::tempdir().unwrap();
    let (camera, port) = (RtspCamera::start(free_port(), &[]), free_port());
    let (input, web) = (format!("door={}", camera.url()), format!("--web=127.0.0.1:{port}"));
    let arguments = ["run", &web, "--exact", "--size=64x48", "--no-scene", "--records", "r.jsonl", &input];
    let mut run = mostream(folder.path(), &arguments).stderr(Stdio::null()).spawn().unwrap();
    let ask = || {
        let mut answer = ureq::get(format!("http://127.0.0.1:{port}/metrics")).call().ok()?;
        answer.body_mut().read_to_string().ok()
    };
    let has_looked = |text: &String| text.lines().any(|line| line.starts_with("mostream_latency_seconds{"));
    let mut text = None;
    until("a frame has its record", || {
        text = ask().filter(has_looked);
        text.is_some()
    });
    signal(&run, "INT");
    run.wait().unwrap();
    text.unwrap()
}

/// What a page says of a source where something happens, and of receivers.
fn page_of_a_board() -> String {
    let site = Site::open(&["ya\"rd\\"], None, Options::default());
    site.change(0, SourceState::Live, None);
    site.frame(0, 0, 2, None);
    site.board.sources()[0].happened(&event("yard", 1, EventName::Object, Phase::Start));
    for name in ["house", "a\"w\\ay\n"] {
        site.receiver(name);
    }
    site.get("/metrics").1
}

#[test]
fn the_board_and_the_alerts_ask_for_what_the_page_has() {
    let pages = [("a", page_of_a_run()), ("b", page_of_a_board())];
    let mut series = Vec::new();
    for (instance, text) in &pages {
        let said = promtool(&["check", "metrics"], text);
        let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        // The quantiles of the last frames are no summary, which is of all.
        let known = "mostream_latency_seconds non-summary metrics should not have \"quantile\" label";
        assert!(said.lines().all(|line| line == known), "{said}");
        for ((name, labels), value) in scrape(text) {
            let labels = labels.iter().map(|(label, value)| format!("{label}={}", json!(value)));
            let labels = Vec::from_iter(labels.chain([format!("job=\"mostream\",instance=\"{instance}\"")]));
            // What only grows, grows.
            let is_count = ["_total", "_bucket", "_sum", "_count"].iter().any(|ending| name.ends_with(ending));
            let values = format!("{value:.9}+{}x20", u8::from(is_count));
            let of_one = format!("{name}{{{}}}", labels.join(","));
            series.push((name, json!({"series": of_one, "values": values})));
        }
    }
    let told = BTreeSet::from_iter(series.iter().map(|(name, _)| name.clone()));
    let wait = |bound: &str| {
        let of_house = |line: &&str| line.contains("wait_seconds_bucket{destination=\"house\"") && line.contains(bound);
        pages[1].1.lines().find(of_house).unwrap().rsplit_once(' ').unwrap().1.to_owned()
    };
    assert_eq!(["\"0.025\"", "\"0.05\"", "\"600\"", "\"+Inf\""].map(wait), ["0", "1", "1", "2"]);

    let board = board();
    let questions = questions(&board);
    let asked = questions.iter().flat_map(|(_, question)| metrics_in(question));
    let variables = metrics_in(&board["templating"].to_string());
    let alerts = metrics_in(&std::fs::read_to_string(at("deploy/alerts.yaml")).unwrap());
    for name in asked.chain(variables).chain(alerts) {
        assert!(told.contains(&name), "no page says {name}");
    }
    // Every question has an answer, whatever it is, as Prometheus itself sees it.
    let answered = questions.iter().map(|(_, question)| {
        json!({"expr": format!("group({question})"), "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": 1}]})
    });
    let input = Vec::from_iter(series.into_iter().map(|(_, series)| series));
    let answered = Vec::from_iter(answered);
    passes(
        "test",
        &json!({"tests": [{"interval": "1m", "input_series": input, "promql_expr_test": answered}]}).to_string(),
    );
}

#[test]
fn alerts_are_told_when_something_is_wrong_and_only_then() {
    let rules = at("deploy/alerts.yaml");
    passes("check", &std::fs::read_to_string(&rules).unwrap());
    let happened = std::fs::read_to_string(at("tests/live/alerts.yaml")).unwrap();
    passes("test", &happened.replace("RULES", rules.to_str().unwrap()));
    let text = std::fs::read_to_string(rules).unwrap();
    for name in text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let is_seen = format!("alertname: {name}\n        exp_alerts:");
        assert!(happened.contains(&is_seen), "{name} is never told in the test");
    }
}

#[test]
fn the_panels_of_the_board_lie_beside_each_other() {
    let board = board();
    let panels = board["panels"].as_array().unwrap();
    let mut taken = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        let (x, y, w, h) = (place("x"), place("y"), place("w"), place("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} is {w} wide at {x}");
        for cell in (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y))) {
            let other = taken.insert(cell, title);
            assert!(other.is_none(), "{title} lies on {other:?}");
        }
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        let letters = BTreeSet::from_iter(targets.iter().map(|target| target["refId"].as_str().unwrap()));
        assert_eq!(letters.len(), targets.len(), "{title}");
    }
    let rows = BTreeSet::from_iter(taken.keys().map(|(_, y)| *y));
    assert!(rows.iter().copied().eq(0..rows.len() as u64), "a row is empty");
}
