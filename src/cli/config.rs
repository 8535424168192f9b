//! The file of `mostream run --config`: every key is the long flag of the same name.

use super::exit::{Exit, Failure, to_stdout};
use super::run::{self, Shared, SourceArgs};
use clap::error::{ContextKind, ContextValue};
use clap::{Args as _, Command, FromArgMatches};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml_edit::{Document, Item, TableLike, Value};

#[derive(clap::Subcommand)]
pub enum ConfigCommand {
    /// Say whether a file is one that `mostream run --config` takes
    Check { file: PathBuf },
}

/// A source of the file, or of the command line.
#[derive(clap::Args)]
pub struct OneSource {
    /// What to read
    #[arg(long)]
    pub input: OsString,
    /// Its name in records, files and on the page
    #[arg(long)]
    pub name: Option<String>,
    #[command(flatten)]
    pub args: SourceArgs,
}

/// What a file says.
pub struct Config {
    pub shared: Shared,
    pub sources: Vec<OneSource>,
}

pub fn run(command: ConfigCommand) -> anyhow::Result<Exit> {
    let ConfigCommand::Check { file } = command;
    let config = read(&file)?;
    to_stdout(|out| writeln!(out, "{}: {} sources, no fault", file.display(), config.sources.len()))?;
    Ok(Exit::Done)
}

/// Reads a file; an error names its line.
pub fn read(path: &Path) -> Result<Config, Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| Failure::new(Exit::Usage, format!("{name}: {error}")))?;
    let fail = |at: Option<usize>, why: String| {
        let line = at.map_or(1, |at| text[..at.min(text.len())].matches('\n').count() + 1);
        Failure::new(Exit::Usage, format!("{name}:{line}: {why}"))
    };
    let document = Document::parse(text.as_str())
        .map_err(|error| fail(error.span().map(|span| span.start), error.message().replace('\n', ", ")))?;
    let root = document.as_table();
    let shared_command = || Shared::augment_args(Command::new("run"));
    let source_command = || OneSource::augment_args(Command::new("source"));

    let (mut shared, mut defaults) = (Vec::new(), Vec::new());
    for (key, item) in root.iter().filter(|(key, _)| *key != "source") {
        let entry = entry(root, key, item).map_err(|(at, why)| fail(at, why))?;
        match (knows(&shared_command(), key), knows(&source_command(), key) && !["input", "name"].contains(&key)) {
            (true, _) => shared.push(entry),
            (_, true) => defaults.push(entry),
            _ => return Err(fail(entry.at, unknown(key, &[shared_command(), source_command()]))),
        }
    }
    let tables = match root.get("source") {
        Some(Item::ArrayOfTables(tables)) if !tables.is_empty() => tables,
        Some(other) => {
            return Err(fail(other.span().map(|span| span.start), "write [[source]] before each source".into()));
        }
        None => return Err(fail(None, "there is no [[source]]".into())),
    };
    let mut sources = Vec::new();
    for table in tables {
        let mut entries: Vec<Entry> =
            defaults.iter().filter(|default| !table.contains_key(&default.key)).cloned().collect();
        for (key, item) in table {
            let entry = entry(table, key, item).map_err(|(at, why)| fail(at, why))?;
            if !knows(&source_command(), key) {
                return Err(fail(entry.at, unknown(key, &[source_command()])));
            }
            entries.push(entry);
        }
        if !table.contains_key("input") {
            return Err(fail(table.span().map(|span| span.start), "this source has no input".into()));
        }
        sources.push(parse(source_command(), &entries).map_err(|(at, why)| fail(at, why))?);
    }
    let at_web = shared.iter().find(|entry| entry.key == "web").and_then(|entry| entry.at);
    let shared = parse(shared_command(), &shared).map_err(|(at, why)| fail(at, why))?;
    run::check_web(&shared).map_err(|failure| fail(at_web, failure.message))?;
    Ok(Config { shared, sources })
}

/// A key and its value as a command line has them.
#[derive(Clone)]
struct Entry {
    key: String,
    values: Vec<String>,
    /// Where the key stands, in bytes.
    at: Option<usize>,
}

type Fault = (Option<usize>, String);

fn entry(table: &dyn TableLike, key: &str, item: &Item) -> Result<Entry, Fault> {
    let at = table.key(key).and_then(|key| key.span()).or(item.span()).map(|span| span.start);
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.value().clone()),
        Value::Integer(number) => Ok(number.value().to_string()),
        Value::Float(number) => Ok(number.value().to_string()),
        _ => Err((at, format!("{key}: expected text or a number"))),
    };
    let flag = format!("--{key}");
    let values = match item.as_value() {
        Some(Value::Boolean(yes)) => {
            if *yes.value() {
                vec![flag]
            } else {
                Vec::new()
            }
        }
        Some(Value::Array(values)) => {
            values.iter().map(|value| Ok(format!("{flag}={}", text(value)?))).collect::<Result<_, _>>()?
        }
        Some(value) => vec![format!("{flag}={}", text(value)?)],
        None => return Err((at, format!("{key}: expected a value"))),
    };
    Ok(Entry { key: key.to_owned(), values, at })
}

fn knows(command: &Command, key: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_long() == Some(key))
}

fn unknown(key: &str, commands: &[Command]) -> String {
    let mut known: Vec<&str> =
        commands.iter().flat_map(Command::get_arguments).filter_map(|argument| argument.get_long()).collect();
    known.sort_unstable();
    known.dedup();
    format!("{key}: there is no such key (known: {})", known.join(", "))
}

fn parse<T: FromArgMatches>(command: Command, entries: &[Entry]) -> Result<T, Fault> {
    let arguments = entries.iter().flat_map(|entry| &entry.values);
    let command = command.no_binary_name(true).disable_help_flag(true);
    let parsed = command.try_get_matches_from(arguments).and_then(|matches| T::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let named = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(text)) => text.clone(),
            Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
            _ => String::new(),
        };
        let key = named.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default();
        let at = entries.iter().find(|entry| entry.key == key).and_then(|entry| entry.at);
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        (at, first.to_owned())
    })
}
