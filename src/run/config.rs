//! A spec as a TOML file, and back: every key is the long flag of the same name.

use super::RunError;
use super::place::Place;
use super::spec::{RunSpec, SpecError};
use crate::bounded;
use crate::markup::plain;
use crate::stream::redact;
use serde_json::{Map, Value};
use std::path::Path;
use toml_edit::{Document, Item, TableLike};

/// Stands above a key whose value is not whole.
const LEFT_OUT: &str = "# its user name and password are not written here: see credentials in docs/config.md\n";

/// A thousand cameras with zones have fewer.
const MOST_BYTES: u64 = 16 << 20;

/// What is wrong with a file, and in which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {}", plain(why))]
pub struct ConfigError {
    /// From 1.
    pub line: usize,
    pub why: String,
}

impl RunSpec {
    /// Reads a file; what is wrong is told with the file's name and the line.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        Self::read_with_text(path).map(|(spec, _)| spec)
    }

    /// The same, and the text of the file.
    pub(super) fn read_with_text(path: &Path) -> Result<(Self, String), RunError> {
        let fail = |why: &dyn std::fmt::Display| RunError::Usage(format!("{}:{why}", path.display()));
        let text = bounded::read_text(path, MOST_BYTES).map_err(|error| fail(&format!(" {error}")))?;
        let spec = Self::from_toml(&text).map_err(|error| fail(&error))?;
        Ok((spec, text))
    }

    /// From the text of a file, checked.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let line = |at: Option<usize>| at.map_or(1, |at| line(text, at));
        let document = Document::parse(text).map_err(|error| {
            let why = error.message().replace('\n', ", ");
            ConfigError { line: line(error.span().map(|span| span.start)), why }
        })?;
        let root = document.as_table();
        let of_spec = |error: SpecError| {
            let at = place(root, error.source_number, error.key.as_deref(), error.table);
            ConfigError { line: line(at), why: error.to_string() }
        };
        let spec = table(root).and_then(Self::from_table).map_err(of_spec)?;
        spec.check().map_err(of_spec)?;
        Ok(spec)
    }

    /// The text of a file that says the same, with nothing that is as usual. User names and passwords in addresses are left out, which a
    /// comment says.
    pub fn to_toml(&self) -> Result<String, SpecError> {
        let fail = |why: String| SpecError { why, ..SpecError::default() };
        // As text each number has as few digits as tell it.
        let written = serde_json::to_string(self).and_then(|text| serde_json::from_str(&text));
        let mut root: Map<String, Value> = written.map_err(|error| fail(error.to_string()))?;
        let sources = root.remove("source");
        let mut text = lines(&root, "", false);
        for source in sources.iter().filter_map(Value::as_array).flatten().filter_map(Value::as_object) {
            text.push_str(&format!("\n[[source]]\n{}", lines(source, "source.", true)));
        }
        Ok(text)
    }
}

/// Of what is said: nothing else is as usual. A source's own `false` counts: what holds for all may be `true`. Tables are named after what
/// they are `of`.
fn lines(table: &Map<String, Value>, of: &str, is_source: bool) -> String {
    let (mut text, mut tables) = (String::new(), String::new());
    for (key, value) in table {
        let value = match value {
            Value::Null => continue,
            Value::Bool(false) if !is_source => continue,
            Value::String(value) => {
                let shown = redact(value);
                if shown != *value {
                    text.push_str(LEFT_OUT);
                }
                toml_edit::Value::from(shown).to_string()
            }
            Value::Array(values) if !values.is_empty() && values.iter().all(Value::is_object) => {
                for table in values.iter().filter_map(Value::as_object) {
                    tables.push_str(&format!("\n[[{of}{key}]]\n{}", lines(table, of, is_source)));
                }
                continue;
            }
            Value::Object(table) => {
                tables.push_str(&format!("\n[{of}{key}]\n{}", lines(table, of, is_source)));
                continue;
            }
            other => other.to_string(),
        };
        text.push_str(&format!("{key} = {value}\n"));
    }
    text + &tables
}

/// The line of a file in which this is said, from 1.
pub(super) fn line_of(file: &Path, at: Place) -> Option<usize> {
    let text = bounded::read_text(file, MOST_BYTES).ok()?;
    let document = Document::parse(&*text).ok()?;
    place(document.as_table(), at.source, at.key, at.table).map(|at| line(&text, at))
}

/// Of this byte.
fn line(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Where in the file something is said, in bytes: at its key, of several tables at the one of this number, else at the source's table.
fn place(root: &dyn TableLike, source: Option<usize>, key: Option<&str>, number: Option<usize>) -> Option<usize> {
    let tables = root.get("source").and_then(Item::as_array_of_tables);
    let own = source.and_then(|number| tables?.get(number));
    let key = key.unwrap_or_default();
    let one_of = |item: &Item, number: usize| match item {
        Item::ArrayOfTables(tables) => tables.get(number)?.span(),
        Item::Value(toml_edit::Value::Array(values)) => values.get(number)?.span(),
        _ => None,
    };
    let of = |table: &dyn TableLike| {
        let one = number.and_then(|number| one_of(table.get(key)?, number));
        let span = one.or_else(|| table.key(key).and_then(|key| key.span())).or_else(|| table.get(key)?.span());
        span.map(|span| span.start)
    };
    // What a source has from all is written above.
    own.and_then(|table| of(table)).or_else(|| of(root)).or_else(|| own?.span().map(|span| span.start))
}

fn table(table: &dyn TableLike) -> Result<Map<String, Value>, SpecError> {
    table.iter().map(|(key, item)| Ok((key.to_owned(), value(key, item)?))).collect()
}

fn value(key: &str, item: &Item) -> Result<Value, SpecError> {
    match item {
        Item::ArrayOfTables(tables) => {
            let tables = tables.iter().enumerate().map(|(number, source)| {
                table(source).map(Value::Object).map_err(|error| match key {
                    "source" => SpecError { source_number: Some(number), ..error },
                    _ => SpecError::in_table(key, number, error.to_string()),
                })
            });
            tables.collect()
        }
        Item::Value(value) => of_value(key, value),
        Item::Table(of_key) => table(of_key).map(Value::Object),
        Item::None => Ok(Value::Null),
    }
}

fn of_value(key: &str, value: &toml_edit::Value) -> Result<Value, SpecError> {
    Ok(match value {
        toml_edit::Value::String(text) => Value::from(text.value().as_str()),
        toml_edit::Value::Integer(number) => Value::from(*number.value()),
        toml_edit::Value::Float(number) if !number.value().is_finite() => {
            let why = format!("expected a finite number, not {}", number.value());
            return Err(SpecError { key: Some(key.to_owned()), why, ..SpecError::default() });
        }
        toml_edit::Value::Float(number) => Value::from(*number.value()),
        toml_edit::Value::Boolean(yes) => Value::from(*yes.value()),
        toml_edit::Value::Array(values) => values.iter().map(|value| of_value(key, value)).collect::<Result<_, _>>()?,
        toml_edit::Value::InlineTable(of_key) => Value::Object(table(of_key)?),
        toml_edit::Value::Datetime(time) => {
            let why = format!("{} is a date: write it in quotes, or another value", time.value());
            return Err(SpecError { key: Some(key.to_owned()), why, ..SpecError::default() });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Every;
    use crate::run::SourceSpec;
    use std::time::Duration;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let mut spec = RunSpec::default();
        spec.shared.records = Some("a \"b\"\n.jsonl".into());
        spec.shared.min_score = Some(0.3);
        spec.shared.web = Some("0.0.0.0:80".parse().unwrap());
        spec.shared.web_token = Some("token".into());
        spec.shared.size = "64x48".parse().ok();
        spec.shared.device = "cuda:0,1".parse().ok();
        spec.each.output = Some("{name}.mp4".into());
        spec.each.adaptive = Some(true);
        spec.each.segment = Some(Duration::from_millis(90_500));
        spec.each.start = Some(Duration::from_millis(1_250));
        spec.each.mode = "640x480@30000/1001:NV12".parse().ok();
        spec.sources = vec![SourceSpec::new("a.mp4"), SourceSpec::new("rtsp://10.0.0.7/x").named("door")];
        spec.sources[1].options.every = Some(Every::Frames(5));
        let text = spec.to_toml().unwrap();
        assert_eq!(RunSpec::from_toml(&text), Ok(spec), "{text}");
        assert!(text.contains("min-score = 0.3\n") && text.contains("segment = \"1m 30s 500ms\"\n"), "{text}");
    }

    #[test]
    fn what_a_source_has_not_is_written_where_all_have_it() {
        let mut spec = RunSpec { sources: vec![SourceSpec::new("rtsp://10.0.0.7/x")], ..RunSpec::default() };
        spec.each.insecure_tls = Some(true);
        spec.sources[0].options.insecure_tls = Some(false);
        let text = spec.to_toml().unwrap();
        assert_eq!(RunSpec::from_toml(&text), Ok(spec), "{text}");
    }

    #[test]
    fn secrets_in_addresses_are_not_written() {
        let mut spec = RunSpec { sources: vec![SourceSpec::new("rtsp://me:s3cret@10.0.0.7/x")], ..RunSpec::default() };
        spec.each.push = Some("srt://host:9000?passphrase=s3cret".into());
        let text = spec.to_toml().unwrap();
        assert!(!text.contains("s3cret") && !text.contains("me:"), "{text}");
        assert_eq!(text.matches("# its user name and password").count(), 2, "{text}");
        assert_eq!(RunSpec::from_toml(&text).unwrap().sources[0].input, "rtsp://10.0.0.7/x");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_key() {
        for (text, line, word) in [
            ("every = 2\nevry = 3\n[[source]]\ninput = \"a\"\n", 2, "evry"),
            ("[[source]]\ninput = \"a\"\n\n[[source]]\nevery = \"often\"\ninput = \"b\"\n", 5, "often"),
            ("[[source]]\ninput = \"a\"\n\n[[source]]\ninput = \"b\"\n\nsegment = \"1m\"\n", 7, "output"),
            ("segment = \"1m\"\n[[source]]\ninput = \"a\"\n", 1, "segment"),
            ("a = 1\na = 2\n", 2, "a"),
            ("[source]\ninput = \"a\"\n", 1, "[[source]]"),
            ("masks = true\nmethod = \"best\"\n[[source]]\ninput = \"a\"\n", 2, "best"),
            ("min-score = nan\n[[source]]\ninput = \"a\"\n", 1, "finite"),
            ("[[source]]\ninput = \"a\"\n[[source]]\ninput = \"rtsp://u:s3c'r@h/x\"\n", 4, "percent-encode"),
            ("[[source]]\ninput = \"a\"\nmode = 1979-05-27\n", 3, "mode"),
        ] {
            let error = RunSpec::from_toml(text).unwrap_err();
            assert!(error.line == line && error.why.contains(word), "{text}: {error}");
        }
    }
}
