//! What a running source's picture is parted into, changed, and kept in the file of the run.

use super::reload::connected;
use super::spec::{SourceOptions, SourceSpec};
use super::{Core, RunError, RunSpec};
use crate::engine::status::LaneId;
use crate::partial::{PartialFile, check_in_place};
use crate::zones::Regions;
use serde_json::{Map, Value};
use std::io::{self, Error, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

impl Core {
    /// Parts the picture of a source, and of those that were given as one with it, from the next frame on; where the source is one of the
    /// `file`'s, its tables say the same before. True where they do, none where there is no such source. Nothing has changed where there is
    /// an error.
    pub(super) fn save_regions(
        &self,
        id: LaneId,
        regions: &Regions,
        file: Option<&Path>,
    ) -> Result<Option<bool>, RunError> {
        let mut state = self.state();
        let Some(source) = state.known.iter().find(|source| source.id == id) else { return Ok(None) };
        let (first, spec) = (source.first, source.spec.clone());
        let file = file.filter(|_| !spec.options.is_guest);
        let saved = file.map(|file| save(file, &spec, regions)).transpose()?.flatten();
        let is_saved = saved.is_some();
        // As the file has it, so that to read it again changes nothing.
        let SourceOptions { zone, line, ignore, mask, .. } =
            saved.unwrap_or_else(|| spec.options.with_regions(regions));
        for source in state.known.iter_mut().filter(|source| source.first == first) {
            let options = std::mem::take(&mut source.spec.options);
            let (zone, line, ignore, mask) = (zone.clone(), line.clone(), ignore.clone(), mask.clone());
            source.spec.options = SourceOptions { zone, line, ignore, mask, ..options };
            self.board().get(source.id).into_iter().for_each(|status| status.set_regions(regions.clone()));
        }
        Ok(Some(is_saved))
    }
}

/// Writes the tables of a whole source into the file that it is from, and gives what the file says of it then; none where it is not there.
fn save(file: &Path, source: &SourceSpec, regions: &Regions) -> Result<Option<SourceOptions>, RunError> {
    let (spec, text) = RunSpec::read_with_text(file)?;
    let fail = |why: &dyn std::fmt::Display| RunError::Output(format!("{}: {why}", file.display()));
    let is_it = |(_, other): &(usize, &SourceSpec)| connected(&other.over(&spec.each)) == connected(source);
    let mut same = spec.sources.iter().enumerate().filter(is_it);
    let Some((number, _)) = same.next() else { return Ok(None) };
    if let Some((other, _)) = same.next() {
        let why = format!("sources {} and {} say the same: give each a name", number + 1, other + 1);
        return Err(RunError::Usage(format!("{}: {why}", file.display())));
    }
    let text_now = edited(&text, &spec, number, regions).map_err(|why| fail(&why))?;
    // What is written is what was meant, and nothing else is changed.
    let now = RunSpec::from_toml(&text_now).map_err(|error| fail(&error))?;
    let options = now.sources.get(number).map(|source| source.options.over(&now.each)).unwrap_or_default();
    let mut wanted = spec;
    if let (Some(wanted), Some(now)) = (wanted.sources.get_mut(number), now.sources.get(number)) {
        let SourceOptions { zone, line, ignore, mask, .. } = now.options.clone();
        wanted.options = SourceOptions { zone, line, ignore, mask, ..std::mem::take(&mut wanted.options) };
    }
    if now != wanted || options.regions() != *regions {
        return Err(fail(&"the tables cannot be written into it: write them by hand, and reload"));
    }
    if text_now != text {
        replace(file, &text_now).map_err(|error| fail(&error))?;
    }
    Ok(Some(options))
}

/// Whose it is, and who may read it, stays.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let there = std::fs::symlink_metadata(file)?;
    if !there.is_file() {
        let why = "is a link, or no file, and is not written through: change the file that it leads to";
        return Err(Error::new(ErrorKind::InvalidInput, why));
    }
    check_in_place(file)?;
    let (partial, mut new) = PartialFile::create(file)?;
    let owner = |of: &std::fs::Metadata| (of.uid(), of.gid());
    if owner(&new.metadata()?) != owner(&there) {
        fchown(&new, Some(there.uid()), Some(there.gid()))?;
    }
    new.set_permissions(there.permissions())?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    partial.commit()
}

/// The tables by their keys; as text each number has as few digits as tell it.
fn tables(regions: &Regions) -> Result<Map<String, Value>, String> {
    let written = serde_json::to_string(regions).and_then(|text| serde_json::from_str(&text));
    written.map_err(|error| error.to_string())
}

/// The text with other tables of the source of this number; comments and all that has not changed are as they were.
fn edited(text: &str, spec: &RunSpec, number: usize, regions: &Regions) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    let own = &spec.sources[number].options;
    let (of_all, of_own, whole) =
        (tables(&spec.each.regions())?, tables(&own.regions())?, tables(&own.over(&spec.each).regions())?);
    let sources = document.get_mut("source").and_then(Item::as_array_of_tables_mut);
    let source = sources.and_then(|sources| sources.get_mut(number)).ok_or("write [[source]] before each source")?;
    let list = |of: &Map<String, Value>, key: &str| of.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    for key in super::spec::REGIONS {
        let wanted = list(&tables(regions)?, key);
        if wanted == list(&whole, key) {
            continue;
        }
        if !wanted.is_empty() {
            let item = source.entry(key).or_insert(Item::None);
            let before = list(&of_own, key).into_iter().zip(tables_of(std::mem::take(item)));
            *item = Item::ArrayOfTables(changed(before.map(Some).collect(), &wanted));
        } else if list(&of_all, key).is_empty() {
            source.remove(key);
        } else {
            // Else it would have those of all.
            source.insert(key, value(Array::new()));
        }
    }
    Ok(document.to_string())
}

fn tables_of(item: Item) -> Vec<Table> {
    match item {
        Item::ArrayOfTables(tables) => tables.into_iter().collect(),
        Item::Value(toml_edit::Value::Array(values)) => {
            values.into_iter().filter_map(|value| Some(value.as_inline_table()?.clone().into_table())).collect()
        }
        _ => Vec::new(),
    }
}

/// Tables that say what is wanted: each the same as before, else the one of its name, else, where there are as many, the one in its place.
fn changed(mut before: Vec<Option<(Value, Table)>>, wanted: &[Value]) -> ArrayOfTables {
    let is_as_many = before.len() == wanted.len();
    let change = |(at, wanted): (usize, &Value)| {
        let mut find = |is: &dyn Fn(&Value) -> bool| {
            before.iter_mut().find(|before| before.as_ref().is_some_and(|(said, _)| is(said)))?.take()
        };
        let name = wanted.get("name");
        let found = find(&|said| said == wanted).or_else(|| find(&|said| name.is_some() && said.get("name") == name));
        let in_place = |before: &mut Vec<Option<(Value, Table)>>| before.get_mut(at).and_then(Option::take);
        let found = found.or_else(|| (is_as_many && name.is_none()).then(|| in_place(&mut before)).flatten());
        let (said, mut table) = found.unwrap_or_default();
        fill(&mut table, &said, wanted);
        // In their order, behind what is before them.
        table.set_position(None);
        table
    };
    wanted.iter().enumerate().map(change).collect()
}

fn fill(table: &mut Table, said: &Value, wanted: &Value) {
    let keys = |of: &Value| Vec::from_iter(of.as_object().into_iter().flatten().map(|(key, _)| key.clone()));
    keys(said).iter().filter(|key| wanted.get(key).is_none()).for_each(|key| drop(table.remove(key)));
    let mut keys = keys(wanted);
    keys.sort_by_key(|key| key != "name");
    for key in keys.iter().filter(|key| said.get(key) != wanted.get(key)) {
        let mut now = of_json(&wanted[key]);
        let item = table.entry(key).or_insert(Item::None);
        // What is said behind it, too.
        if let Some(before) = item.as_value() {
            *now.decor_mut() = before.decor().clone();
        }
        *item = value(now);
    }
}

fn of_json(value: &Value) -> toml_edit::Value {
    match value {
        Value::Array(values) => values.iter().map(of_json).collect(),
        Value::String(text) => text.as_str().into(),
        other => match other.as_f64() {
            Some(number) if number.fract() == 0.0 && number.abs() < 1e9 => (number as i64).into(),
            Some(number) => number.into(),
            None => other.to_string().into(),
        },
    }
}
