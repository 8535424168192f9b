//! Prometheus' text format 0.0.4.

use crate::engine::histogram::Histogram;
use std::fmt::{Display, Write};

/// All families so far; writing into a string cannot fail.
#[derive(Default)]
pub struct Exposition(String);

/// The series of one name.
pub struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Exposition {
    /// One more, of this kind (`counter`, `gauge`, `histogram`). Its name comes after `mostream_`.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Family<'a> {
        write!(self.0, "# HELP mostream_{name} {help}\n# TYPE mostream_{name} {kind}\n").ok();
        Family { text: &mut self.0, name }
    }

    pub fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    pub fn series(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, value);
    }

    pub fn histogram(&mut self, labels: &[(&str, &str)], of: &Histogram) {
        for (bound, count) in of.cumulative() {
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".into() };
            self.line("_bucket", &[labels, &[("le", &bound)]].concat(), count);
        }
        self.line("_sum", labels, of.sum().as_secs_f64());
        self.line("_count", labels, of.count());
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        write!(self.text, "mostream_{}{suffix}", self.name).ok();
        for (number, (label, of)) in labels.iter().enumerate() {
            write!(self.text, "{}{label}=\"", if number == 0 { '{' } else { ',' }).ok();
            for letter in of.chars() {
                match letter {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    letter => self.text.push(letter),
                }
            }
            self.text.push('"');
        }
        writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" }).ok();
    }
}
