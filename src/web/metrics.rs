//! What a run, its devices and its receivers do, for Prometheus.

use super::exposition::Exposition;
use super::machine::Machine;
use crate::engine::crew::Usage;
use crate::engine::destinations::{DestinationSnapshot, DestinationState};
use crate::engine::outputs::OutputSnapshot;
use crate::engine::status::{Board, Percentiles, Snapshot};
use crate::record::SourceState;
use std::collections::HashSet;
use std::path::Path;

const STATES: [SourceState; 5] =
    [SourceState::Connecting, SourceState::Live, SourceState::Stalled, SourceState::Lost, SourceState::Ended];

/// What a metric is called, its kind, what it says, and where it is from.
type Metric<T> = (&'static str, &'static str, &'static str, fn(&T) -> f64);

const SOURCES: [Metric<Snapshot>; 14] = [
    ("frames_total", "counter", "Frames that came.", |s| s.frames as f64),
    ("inferred_total", "counter", "Frames the model ran on.", |s| s.inferred as f64),
    ("passed_over_total", "counter", "Frames the model had no time for.", |s| s.passed_over as f64),
    ("late_total", "counter", "Frames left out, without a record, as those before them were still worked on.", |s| {
        s.late as f64
    }),
    ("unchanged_total", "counter", "Frames left out because the picture had not changed.", |s| s.unchanged as f64),
    ("missed_by_sinks_total", "counter", "Finished frames that sinks had no time for.", |s| s.missed_by_sinks as f64),
    ("broken_total", "counter", "Frames that could not be decoded.", |s| s.broken as f64),
    ("objects_total", "counter", "Boxes in all inferred frames.", |s| s.objects as f64),
    ("connections_total", "counter", "How often the source came to life.", |s| s.connections as f64),
    ("objects", "gauge", "Boxes in the last frame.", |s| s.objects_now as f64),
    ("fps", "gauge", "Frames per second, of the last seconds.", |s| s.fps),
    ("inferred_fps", "gauge", "Frames per second that the model ran on, of the last seconds.", |s| s.inferred_fps),
    ("past_bytes", "gauge", "Memory that the source's past is known by: movement and scene.", |s| s.past_bytes as f64),
    ("state_since_seconds", "gauge", "When the source came into its state, since 1970.", |s| s.state_since),
];

const OUTPUTS: [Metric<OutputSnapshot>; 5] = [
    ("written_bytes_total", "counter", "Bytes written to an output.", |o| o.written_bytes as f64),
    ("last_write_seconds", "gauge", "When something was written to it last, since 1970.", |o| {
        o.last_write.unwrap_or_default()
    }),
    ("write_errors_total", "counter", "Times that it could not be written.", |o| o.write_errors as f64),
    ("unwritten_frames_total", "counter", "Frames that are missing in it for that.", |o| o.unwritten as f64),
    ("output_failing", "gauge", "1 while it cannot be written.", |o| f64::from(u8::from(o.failing.is_some()))),
];

const DESTINATIONS: [Metric<DestinationSnapshot>; 7] = [
    ("publish_waiting", "gauge", "Messages that wait for a receiver.", |d| d.waiting as f64),
    ("publish_waiting_bytes", "gauge", "Their bytes on disk.", |d| d.waiting_bytes as f64),
    ("publish_spool_size_bytes", "gauge", "Bytes on disk that may wait for it.", |d| d.spool_size as f64),
    ("publish_oldest_seconds", "gauge", "How long the first of them has waited.", |d| d.oldest_age.unwrap_or_default()),
    ("publish_sent_total", "counter", "Messages handed over, repeats included.", |d| d.sent as f64),
    ("publish_acknowledged_total", "counter", "Messages that a receiver has acknowledged.", |d| d.acknowledged as f64),
    ("publish_errors_total", "counter", "Times that a receiver, or the disk, did not take something.", |d| {
        d.errors as f64
    }),
];

const DEVICES: [Metric<Usage>; 4] = [
    ("device_runs_total", "counter", "Runs of the model.", |u| u.runs() as f64),
    ("device_pictures_total", "counter", "Pictures the model ran on.", |u| u.pictures() as f64),
    ("device_busy_seconds_total", "counter", "Time in runs of the model, the sum over those under way at once.", |u| {
        u.busy().as_secs_f64()
    }),
    ("device_batch", "gauge", "Pictures of one run, at most.", |u| u.batch as f64),
];

type Quantile = (&'static str, fn(&Percentiles) -> f64);

const QUANTILES: [Quantile; 3] = [("0.5", |l| l.p50), ("0.95", |l| l.p95), ("0.99", |l| l.p99)];

/// What a series is told apart by.
type Labels<'a> = Vec<(&'static str, &'a str)>;

/// All metrics. Sources of the same name are told apart by a number: a series may not come twice.
pub fn text(board: &Board) -> String {
    let mut names = HashSet::new();
    let mut all = Vec::new();
    for source in board.sources() {
        let snapshot = source.snapshot();
        let mut name = snapshot.name.clone();
        let mut number = 2;
        while !names.insert(name.clone()) {
            name = format!("{} #{number}", snapshot.name);
            number += 1;
        }
        all.push((name, snapshot, source.events()));
    }

    let mut out = Exposition::default();
    out.family("up", "gauge", "1 while the program runs.").series(&[], 1);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    out.family("build_info", "gauge", "The version of the program.").series(&version, 1);
    out.family("run_info", "gauge", "The run, as in its records.").series(&[("run", &board.run)], 1);
    let uptime = board.started.elapsed().as_secs_f64();
    out.family("uptime_seconds", "gauge", "Seconds since the run began.").series(&[], uptime);
    if let Some(bytes) = resident_bytes() {
        out.family("resident_memory_bytes", "gauge", "Memory of the program.").series(&[], bytes);
    }
    machine(&mut out);
    devices(board, &mut out);
    destinations(board, &mut out);

    let sources = Vec::from_iter(all.iter().map(|(name, snapshot, _)| (vec![("source", name.as_str())], snapshot)));
    each(&mut out, &SOURCES, &sources);
    let mut family = out.family("source_state", "gauge", "1 for the state the source is in.");
    for (labels, snapshot) in &sources {
        for state in STATES {
            let name = format!("{state:?}").to_lowercase();
            family.series(&[&labels[..], &[("state", &name)]].concat(), u8::from(snapshot.state == state));
        }
    }
    let mut outputs = Vec::new();
    for (labels, snapshot) in &sources {
        let mut names = HashSet::new();
        let of_source = snapshot.outputs.iter().filter(|output| names.insert(&output.name));
        outputs.extend(of_source.map(|output| ([&labels[..], &[("output", output.name.as_str())]].concat(), output)));
    }
    each(&mut out, &OUTPUTS, &outputs);
    let mut family = out.family("events_total", "counter", "What happened: what began, and what does not last.");
    for (source, _, happened) in &all {
        for ((event, zone), count) in &happened.counts {
            let labels = [("source", source.as_str()), ("event", event.name())];
            let zone = zone.as_deref().map(|zone| ("zone", zone));
            family.series(&Vec::from_iter(labels.into_iter().chain(zone)), count);
        }
    }
    let mut family = out.family("events_open", "gauge", "Events that go on.");
    for (source, _, happened) in &all {
        family.series(&[("source", source)], happened.open.len());
    }
    let mut family =
        out.family("decoder_info", "gauge", "1 for the decoder that runs, and the memory its frames are in.");
    for (labels, snapshot) in &sources {
        if let (Some(decoder), Some(memory)) = (&snapshot.decoder, &snapshot.decoder_memory) {
            family.series(&[&labels[..], &[("decoder", decoder), ("memory", memory)]].concat(), 1);
        }
    }
    let help = "From a frame's clock time to its record, of the last inferred frames.";
    let mut family = out.family("latency_seconds", "gauge", help);
    for (labels, snapshot) in &sources {
        for (quantile, value) in QUANTILES {
            if let Some(latency) = &snapshot.latency_ms {
                family.series(&[&labels[..], &[("quantile", quantile)]].concat(), value(latency) / 1e3);
            }
        }
    }
    let help = "From a frame's clock time to its record, of all inferred frames.";
    let mut family = out.family("record_latency_seconds", "histogram", help);
    for (labels, snapshot) in &sources {
        family.histogram(labels, &snapshot.latency);
    }
    out.into_text()
}

/// Metrics that have a number for each of these.
fn each<T>(out: &mut Exposition, metrics: &[Metric<T>], all: &[(Labels, &T)]) {
    for (name, kind, help, value) in metrics {
        let mut family = out.family(name, kind, help);
        for (labels, of) in all {
            family.series(labels, value(of));
        }
    }
}

fn machine(out: &mut Exposition) {
    let machine = Machine::read(Path::new("/sys"));
    for (name, label, help, readings) in [
        ("temperature_celsius", "zone", "Temperature of a part of the machine.", machine.temperatures),
        ("power_watts", "rail", "Power that the board's monitor measures.", machine.power),
    ] {
        let mut family = out.family(name, "gauge", help);
        let mut seen = HashSet::new();
        for (what, value) in readings.iter().filter(|(what, _)| seen.insert(what)) {
            family.series(&[(label, what)], value);
        }
    }
    if let Some(load) = machine.gpu_load {
        out.family("gpu_load", "gauge", "How busy the board's GPU is, 0 to 1.").series(&[], load);
    }
}

fn devices(board: &Board, out: &mut Exposition) {
    let numbers = Vec::from_iter((0..board.devices().len()).map(|number| number.to_string()));
    let of_device = |(usage, number)| {
        let usage: &Usage = usage;
        (vec![("device", usage.device.as_str()), ("precision", &usage.precision), ("session", number)], usage)
    };
    let devices = board.devices().iter().map(|usage| &**usage).zip(numbers.iter().map(String::as_str));
    let devices = Vec::from_iter(devices.map(of_device));
    each(out, &DEVICES, &devices);
    let mut family = out.family("inference_seconds", "histogram", "How long a run of the model took.");
    for (labels, usage) in &devices {
        family.histogram(labels, &usage.took());
    }
}

/// Who records are sent to.
fn destinations(board: &Board, out: &mut Exposition) {
    let all = Vec::from_iter(board.destinations().iter().map(|destination| destination.snapshot()));
    if all.is_empty() {
        return;
    }
    let all = Vec::from_iter(all.iter().map(|snapshot| (vec![("destination", snapshot.name.as_str())], snapshot)));
    each(out, &DESTINATIONS, &all);
    let mut family = out.family("publish_state", "gauge", "1 for the state the receiver is in.");
    for (labels, snapshot) in &all {
        for state in DestinationState::ALL {
            let labels = [&labels[..], &[("state", state.name())]].concat();
            family.series(&labels, u8::from(snapshot.state == state));
        }
    }
    let help = "Messages that will not arrive, which a gap tells the receiver.";
    let mut family = out.family("publish_lost_total", "counter", help);
    for (labels, snapshot) in &all {
        for (cause, lost) in &snapshot.lost {
            family.series(&[&labels[..], &[("cause", cause)]].concat(), lost);
        }
    }
    let help = "From when a message was put down until it was acknowledged.";
    let mut family = out.family("publish_wait_seconds", "histogram", help);
    for (labels, snapshot) in &all {
        family.histogram(labels, &snapshot.waits);
    }
}

/// What Linux says the process holds in memory.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?.trim();
    kib.parse::<u64>().ok().map(|kib| kib * 1024)
}
