//! The counters of a run in Prometheus' text format 0.0.4.

use super::machine::Machine;
use crate::engine::crew::Usage;
use crate::engine::destinations::{DestinationSnapshot, DestinationState, WAITS};
use crate::engine::outputs::OutputSnapshot;
use crate::engine::status::{Board, Percentiles, Snapshot};
use crate::record::SourceState;
use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;

const STATES: [SourceState; 5] =
    [SourceState::Connecting, SourceState::Live, SourceState::Stalled, SourceState::Lost, SourceState::Ended];

/// What a metric is called, what it says, and where it is from.
type Metric = (&'static str, &'static str, fn(&Snapshot) -> f64);

const COUNTERS: [Metric; 8] = [
    ("frames_total", "Frames that came.", |s| s.frames as f64),
    ("inferred_total", "Frames the model ran on.", |s| s.inferred as f64),
    ("passed_over_total", "Frames the model had no time for.", |s| s.passed_over as f64),
    ("unchanged_total", "Frames left out because the picture had not changed.", |s| s.unchanged as f64),
    ("missed_by_sinks_total", "Finished frames that sinks had no time for.", |s| s.missed_by_sinks as f64),
    ("broken_total", "Frames that could not be decoded.", |s| s.broken as f64),
    ("objects_total", "Boxes in all inferred frames.", |s| s.objects as f64),
    ("connections_total", "How often the source came to life.", |s| s.connections as f64),
];

const GAUGES: [Metric; 5] = [
    ("objects", "Boxes in the last frame.", |s| s.objects_now as f64),
    ("fps", "Frames per second, of the last seconds.", |s| s.fps),
    ("inferred_fps", "Frames per second that the model ran on, of the last seconds.", |s| s.inferred_fps),
    ("past_bytes", "Memory that the source's past is known by: movement and scene.", |s| s.past_bytes as f64),
    ("state_since_seconds", "When the source came into its state, since 1970.", |s| s.state_since),
];

type OutputMetric = (&'static str, &'static str, &'static str, fn(&OutputSnapshot) -> f64);

const OUTPUTS: [OutputMetric; 5] = [
    ("written_bytes_total", "counter", "Bytes written to an output.", |o| o.written_bytes as f64),
    ("last_write_seconds", "gauge", "When something was written to it last, since 1970.", |o| {
        o.last_write.unwrap_or_default()
    }),
    ("write_errors_total", "counter", "Times that it could not be written.", |o| o.write_errors as f64),
    ("unwritten_frames_total", "counter", "Frames that are missing in it for that.", |o| o.unwritten as f64),
    ("output_failing", "gauge", "1 while it cannot be written.", |o| f64::from(u8::from(o.failing.is_some()))),
];

type DestinationMetric = (&'static str, &'static str, &'static str, fn(&DestinationSnapshot) -> f64);

const DESTINATIONS: [DestinationMetric; 6] = [
    ("publish_waiting", "gauge", "Messages that wait for a receiver.", |d| d.waiting as f64),
    ("publish_waiting_bytes", "gauge", "Their bytes on disk.", |d| d.waiting_bytes as f64),
    ("publish_oldest_seconds", "gauge", "How long the first of them has waited.", |d| d.oldest_age.unwrap_or_default()),
    ("publish_sent_total", "counter", "Messages handed over, repeats included.", |d| d.sent as f64),
    ("publish_acknowledged_total", "counter", "Messages that a receiver has acknowledged.", |d| d.acknowledged as f64),
    ("publish_errors_total", "counter", "Times that a receiver, or the disk, did not take something.", |d| {
        d.errors as f64
    }),
];

type DeviceMetric = (&'static str, &'static str, &'static str, fn(&Usage) -> f64);

const DEVICES: [DeviceMetric; 4] = [
    ("device_runs_total", "counter", "Runs of the model.", |u| u.runs() as f64),
    ("device_pictures_total", "counter", "Pictures the model ran on.", |u| u.pictures() as f64),
    ("device_busy_seconds_total", "counter", "Time in runs of the model, the sum over those under way at once.", |u| {
        u.busy().as_secs_f64()
    }),
    ("device_batch", "gauge", "Pictures of one run, at most.", |u| u.batch as f64),
];

type Quantile = (&'static str, fn(&Percentiles) -> f64);

const QUANTILES: [Quantile; 3] = [("0.5", |l| l.p50), ("0.95", |l| l.p95), ("0.99", |l| l.p99)];

/// All metrics. Sources of the same name are told apart by a number: a series may not come twice.
pub fn text(board: &Board) -> String {
    let mut names = HashSet::new();
    let mut sources = Vec::new();
    for source in board.sources() {
        let snapshot = source.snapshot();
        let mut name = snapshot.name.clone();
        let mut number = 2;
        while !names.insert(name.clone()) {
            name = format!("{} #{number}", snapshot.name);
            number += 1;
        }
        sources.push((escaped(&name), snapshot, source.events()));
    }

    let mut text = String::new();
    let head = |text: &mut String, name: &str, kind: &str, help: &str| {
        // Writing into a string cannot fail.
        write!(text, "# HELP mostream_{name} {help}\n# TYPE mostream_{name} {kind}\n").ok();
    };
    head(&mut text, "up", "gauge", "1 while the program runs.");
    text.push_str("mostream_up 1\n");
    head(&mut text, "build_info", "gauge", "The version of the program.");
    writeln!(text, "mostream_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")).ok();
    head(&mut text, "run_info", "gauge", "The run, as in its records.");
    writeln!(text, "mostream_run_info{{run=\"{}\"}} 1", board.run).ok();
    head(&mut text, "uptime_seconds", "gauge", "Seconds since the run began.");
    writeln!(text, "mostream_uptime_seconds {}", board.started.elapsed().as_secs_f64()).ok();
    if let Some(bytes) = resident_bytes() {
        head(&mut text, "resident_memory_bytes", "gauge", "Memory of the program.");
        writeln!(text, "mostream_resident_memory_bytes {bytes}").ok();
    }
    for (kind, metrics) in [("counter", &COUNTERS[..]), ("gauge", &GAUGES[..])] {
        for (name, help, value) in metrics {
            head(&mut text, name, kind, help);
            for (source, snapshot, _) in &sources {
                writeln!(text, "mostream_{name}{{source=\"{source}\"}} {}", value(snapshot)).ok();
            }
        }
    }
    let machine = Machine::read(Path::new("/sys"));
    for (name, label, help, readings) in [
        ("temperature_celsius", "zone", "Temperature of a part of the machine.", machine.temperatures),
        ("power_watts", "rail", "Power that the board's monitor measures.", machine.power),
    ] {
        head(&mut text, name, "gauge", help);
        let mut seen = HashSet::new();
        for (what, value) in readings.into_iter().filter(|(what, _)| seen.insert(what.clone())) {
            writeln!(text, "mostream_{name}{{{label}=\"{}\"}} {value}", escaped(&what)).ok();
        }
    }
    if let Some(load) = machine.gpu_load {
        head(&mut text, "gpu_load", "gauge", "How busy the board's GPU is, 0 to 1.");
        writeln!(text, "mostream_gpu_load {load}").ok();
    }
    for (name, kind, help, value) in DEVICES {
        head(&mut text, name, kind, help);
        for (number, usage) in board.devices().iter().enumerate() {
            let (device, precision, value) = (escaped(&usage.device), &usage.precision, value(usage));
            writeln!(
                text,
                "mostream_{name}{{device=\"{device}\",precision=\"{precision}\",session=\"{number}\"}} {value}"
            )
            .ok();
        }
    }
    head(&mut text, "source_state", "gauge", "1 for the state the source is in.");
    for (source, snapshot, _) in &sources {
        for state in STATES {
            let (name, is) = (format!("{state:?}").to_lowercase(), u8::from(snapshot.state == state));
            writeln!(text, "mostream_source_state{{source=\"{source}\",state=\"{name}\"}} {is}").ok();
        }
    }
    for (name, kind, help, value) in OUTPUTS {
        head(&mut text, name, kind, help);
        for (source, snapshot, _) in &sources {
            let mut names = HashSet::new();
            for output in snapshot.outputs.iter().filter(|output| names.insert(&output.name)) {
                let (output, value) = (escaped(&output.name), value(output));
                writeln!(text, "mostream_{name}{{source=\"{source}\",output=\"{output}\"}} {value}").ok();
            }
        }
    }
    destinations(board, &mut text, head);
    let (counter, gauge) = ("What happened: what began, and what does not last.", "Events that go on.");
    head(&mut text, "events_total", "counter", counter);
    for (source, _, happened) in &sources {
        for ((event, zone), count) in &happened.counts {
            let zone = zone.as_deref().map_or_else(String::new, |zone| format!(",zone=\"{}\"", escaped(zone)));
            writeln!(text, "mostream_events_total{{source=\"{source}\",event=\"{}\"{zone}}} {count}", event.name())
                .ok();
        }
    }
    head(&mut text, "events_open", "gauge", gauge);
    for (source, _, happened) in &sources {
        writeln!(text, "mostream_events_open{{source=\"{source}\"}} {}", happened.open.len()).ok();
    }
    head(&mut text, "decoder_info", "gauge", "1 for the decoder that runs, and the memory its frames are in.");
    for (source, snapshot, _) in &sources {
        if let (Some(decoder), Some(memory)) = (&snapshot.decoder, &snapshot.decoder_memory) {
            let (decoder, memory) = (escaped(decoder), escaped(memory));
            let labels = format!("source=\"{source}\",decoder=\"{decoder}\",memory=\"{memory}\"");
            writeln!(text, "mostream_decoder_info{{{labels}}} 1").ok();
        }
    }
    head(
        &mut text,
        "latency_seconds",
        "gauge",
        "From a frame's clock time to its record, of the last inferred frames.",
    );
    for (source, snapshot, _) in &sources {
        for (quantile, value) in QUANTILES {
            if let Some(latency) = &snapshot.latency_ms {
                let seconds = value(latency) / 1e3;
                writeln!(text, "mostream_latency_seconds{{source=\"{source}\",quantile=\"{quantile}\"}} {seconds}")
                    .ok();
            }
        }
    }
    text
}

/// Who records are sent to.
fn destinations(board: &Board, text: &mut String, head: impl Fn(&mut String, &str, &str, &str)) {
    let all = Vec::from_iter(board.destinations().iter().map(|destination| destination.snapshot()));
    if all.is_empty() {
        return;
    }
    let all = Vec::from_iter(all.iter().map(|snapshot| (escaped(&snapshot.name), snapshot)));
    for (name, kind, help, value) in DESTINATIONS {
        head(text, name, kind, help);
        for (destination, snapshot) in &all {
            writeln!(text, "mostream_{name}{{destination=\"{destination}\"}} {}", value(snapshot)).ok();
        }
    }
    head(text, "publish_state", "gauge", "1 for the state the receiver is in.");
    for (destination, snapshot) in &all {
        for state in DestinationState::ALL {
            let (name, is) = (state.name(), u8::from(snapshot.state == state));
            writeln!(text, "mostream_publish_state{{destination=\"{destination}\",state=\"{name}\"}} {is}").ok();
        }
    }
    head(text, "publish_lost_total", "counter", "Messages that will not arrive, which a gap tells the receiver.");
    for (destination, snapshot) in &all {
        for (cause, lost) in &snapshot.lost {
            writeln!(text, "mostream_publish_lost_total{{destination=\"{destination}\",cause=\"{cause}\"}} {lost}")
                .ok();
        }
    }
    head(text, "publish_wait_seconds", "histogram", "From when a message was put down until it was acknowledged.");
    for (destination, snapshot) in &all {
        let mut sum = 0;
        let bounds = WAITS.iter().map(f64::to_string).chain(["+Inf".into()]);
        for (bound, count) in bounds.zip(snapshot.waits.counts) {
            sum += count;
            let labels = format!("destination=\"{destination}\",le=\"{bound}\"");
            writeln!(text, "mostream_publish_wait_seconds_bucket{{{labels}}} {sum}").ok();
        }
        let seconds = snapshot.waits.seconds;
        writeln!(text, "mostream_publish_wait_seconds_sum{{destination=\"{destination}\"}} {seconds}").ok();
        writeln!(text, "mostream_publish_wait_seconds_count{{destination=\"{destination}\"}} {sum}").ok();
    }
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// What Linux says the process holds in memory.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?.trim();
    kib.parse::<u64>().ok().map(|kib| kib * 1024)
}
