//! What a run says on stderr, as text or as JSON.

use crate::cli::tell::tell;
use mostream::engine::status::Snapshot;
use mostream::stream::redact;
use std::io::IsTerminal;
use std::time::SystemTime;

/// Lines on stderr.
#[derive(Clone, Copy)]
pub struct Log {
    pub is_json: bool,
    pub is_quiet: bool,
}

impl Log {
    /// What a user may want to know.
    pub fn say(&self, line: &str) {
        if !self.is_quiet {
            self.write("info", line);
        }
    }

    /// What needs attention, or changes.
    pub fn warn(&self, line: &str) {
        self.write("notice", line);
    }

    /// What holds a secret: only a terminal shows it, which keeps nothing.
    pub fn whisper(&self, line: &str) {
        if !self.is_quiet && !self.is_json && std::io::stderr().is_terminal() {
            tell!("mostream: {line}");
        }
    }

    pub fn status(&self, now: &Snapshot) {
        if self.is_quiet {
            return;
        }
        if self.is_json {
            let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
            let line = serde_json::json!({ "time": time, "level": "info", "status": now });
            tell!("{}", redact(&line.to_string()));
            return;
        }
        let latency =
            now.latency_ms.map_or(String::new(), |ms| format!(", latency {:.0} ms (p95 {:.0})", ms.p50, ms.p95));
        let decoded = now.decoder.as_ref().map_or(String::new(), |decoder| format!(", decoded by {decoder}"));
        let spared = match now.unchanged {
            0 => String::new(),
            // The share of the frames that the model was not asked about.
            spared => format!(", {spared} unchanged ({:.0} %)", 100.0 * spared as f64 / now.frames as f64),
        };
        self.write(
            "info",
            &format!(
                "{}: {}, {} frames, {:.1} per second, {:.1} of them inferred, {} passed over{spared}, {} boxes now{latency}{decoded}",
                now.name,
                now.state.name(),
                now.frames,
                now.fps,
                now.inferred_fps,
                now.passed_over,
                now.objects_now
            ),
        );
    }

    pub fn write(&self, level: &str, line: &str) {
        let line = redact(line);
        if !self.is_json {
            tell!("mostream: {line}");
            return;
        }
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        tell!("{}", serde_json::json!({ "time": time, "level": level, "message": line }));
    }
}
