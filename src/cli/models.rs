//! `mostream model`: models by name, and the files they are in.

use super::exit::{self, Exit, Failure, Outcome};
use super::interrupt;
use super::log;
use super::model::{CheckpointArgs, FeatureArg, checked, size};
use super::values::whole;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mostream::analyzer::ModelSize;
use mostream::backbone::{Checkpoint, DEFAULT_MAX_PATCHES, Description, Hints, Metadata};
use mostream::fault::OfKind;
use mostream::partial;
use mostream::run::guard::guard;
use mostream::zoo::{self, Event, Known, Options, Store, ZooError};
use serde::Serialize;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Of the bundled model, which is the program's own.
const BUNDLED_LICENSE: &str = "Apache-2.0 OR MIT";
/// The frame whose aspect an exported model has where nobody says a size.
const USUAL_FRAME: (u32, u32) = (640, 480);
const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(clap::Subcommand)]
pub enum ModelCommand {
    /// List the models: bundled, installed, and those that can be fetched
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Fetch a known model and install it
    Pull(PullArgs),
    /// Install a checkpoint from a file: .pth or .safetensors, also a full training checkpoint
    Import {
        file: PathBuf,
        /// What it is to be called [default: the file's name without its ending]
        #[arg(long)]
        name: Option<String>,
        /// Attention heads, where the file does not say [default: one per 64 of its width]
        #[arg(long, value_name = "N", value_parser = whole::<u16>(1, 65_535))]
        heads: Option<u16>,
    },
    /// Write a model as ONNX, for any runtime
    Export(ExportArgs),
    /// Say what a model is
    Info {
        /// A file, or the name of an installed model
        #[arg(value_name = "FILE|NAME")]
        model: PathBuf,
        /// Attention heads, where the file does not say [default: one per 64 of its width]
        #[arg(long, value_name = "N", value_parser = whole::<u16>(1, 65_535))]
        heads: Option<u16>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove an installed model
    Remove { name: String },
    /// Choose the model that every command uses where no --model is given, or say which it is
    Default {
        /// An installed one, `recommended`, or `mostream-vit-tiny-8`, which is the bundled one
        name: Option<String>,
    },
}

#[derive(clap::Args)]
#[command(
    after_help = "A download that was cut, or stopped with Ctrl-C, goes on where it was. Proxies are taken from \
https_proxy, http_proxy, all_proxy and no_proxy."
)]
pub struct PullArgs {
    /// One of `mostream model list`
    name: String,
    /// Take this file, which is what the address would give, in place of the download
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Ask this server: it replaces the scheme and the host of the model's address
    #[arg(long, value_name = "URL", env = "MOSTREAM_MIRROR", hide_env_values = true)]
    mirror: Option<String>,
    /// Fetch it even if it is installed, and compare
    #[arg(long)]
    again: bool,
    /// Seconds to wait for a connection, and for the next bytes
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = seconds)]
    timeout: f64,
    /// Failures in a row after which to give up
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = whole::<u32>(0, 1000))]
    retries: u32,
}

#[derive(clap::Args)]
pub struct ExportArgs {
    /// Where it is written
    #[arg(value_name = "FILE.onnx")]
    output: PathBuf,
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// What the model gives: keys, queries or values of its last block, or the CLS token's attention
    #[arg(long, value_enum, default_value_t)]
    feature: FeatureArg,
    /// Size of its input in pixels [default: 4:3, as large as --patches allows and 640x480 needs]
    #[arg(long, value_name = "WxH", value_parser = size, conflicts_with = "patches")]
    size: Option<(u32, u32)>,
    /// Patches of its input, at most
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_PATCHES as u16, value_parser = whole::<u16>(1, 16_384))]
    patches: u16,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds, from 0.001 to 86400".into()),
    }
}

pub fn run(command: ModelCommand) -> Outcome {
    match command {
        ModelCommand::List { json } => list(json),
        ModelCommand::Pull(args) => pull(args),
        ModelCommand::Import { file, name, heads } => import(&file, name, heads),
        ModelCommand::Export(args) => export(&args),
        ModelCommand::Info { model, heads, json } => info(&model, heads, json),
        ModelCommand::Remove { name } => {
            let removed = Store::of_user()?.remove(&name)?;
            exit::to_stdout(|out| writeln!(out, "removed {}", removed.display()))?;
            Ok(Exit::Done)
        }
        ModelCommand::Default { name } => {
            let store = Store::of_user()?;
            let name = name.map_or_else(|| store.default_name(), |name| store.choose(&name))?;
            exit::to_stdout(|out| writeln!(out, "{name} is used where no --model is given"))?;
            Ok(Exit::Done)
        }
    }
}

/// A line of `list`.
#[derive(Serialize)]
struct Listed {
    name: String,
    /// `bundled`, `installed`, `broken` or `known`.
    state: &'static str,
    /// Whether it is used where none is named.
    is_default: bool,
    is_recommended: bool,
    family: Option<String>,
    patch: Option<u64>,
    width: Option<u64>,
    parameters: Option<u64>,
    license: Option<String>,
    /// Of the file in the store, or to be fetched; for the latter estimated where unknown.
    bytes: u64,
    /// Of the file it came or comes from.
    sha256: Option<String>,
    /// Whether the hash is `published` in the program's list, `pinned` at the first use, or `not verified`.
    hash: &'static str,
    address: Option<String>,
}

fn list(json: bool) -> Outcome {
    let store = Store::of_user()?;
    let default = store.default_name()?;
    let (is_default, is_recommended) = (|name: &str| name == default, |name: &str| name == zoo::RECOMMENDED);
    let bundled = Checkpoint::bundled().map_err(Failure::from)?;
    let about = bundled.description();
    let mut listed = vec![Listed {
        name: Checkpoint::BUNDLED_NAME.to_owned(),
        state: "bundled",
        is_default: is_default(Checkpoint::BUNDLED_NAME),
        is_recommended: false,
        family: Some(about.family),
        patch: Some(about.patch as u64),
        width: Some(about.width as u64),
        parameters: Some(about.parameters),
        license: metadata(&bundled).remove("license"),
        bytes: bundled.bytes().len() as u64,
        sha256: Some(zoo::sha256(bundled.bytes())),
        hash: "published",
        address: None,
    }];
    let known = store.known()?;
    let installed = store.installed()?;
    for model in &installed {
        let metadata = model.metadata.as_ref();
        let text = |key: &str| metadata.and_then(|metadata| metadata.get(key)).cloned();
        let number = |key: &str| text(key).and_then(|text| text.parse().ok());
        let sha256 = text("source_sha256");
        let published = known.iter().find(|known| known.name == model.name).and_then(|known| known.sha256.as_deref());
        listed.push(Listed {
            name: model.name.clone(),
            state: if metadata.is_some() { "installed" } else { "broken" },
            is_default: is_default(&model.name),
            is_recommended: is_recommended(&model.name),
            family: text("family"),
            patch: number("patch"),
            width: number("width"),
            parameters: number("parameters"),
            license: text("license"),
            bytes: model.bytes,
            hash: match &sha256 {
                None => "not verified",
                Some(hash) if published == Some(hash) => "published",
                Some(_) => "pinned",
            },
            sha256,
            address: text("address"),
        });
    }
    let is_new = |known: &&Known| installed.iter().all(|model| model.name != known.name);
    listed.extend(known.iter().filter(is_new).map(|known| Listed {
        name: known.name.clone(),
        state: "known",
        is_default: is_default(&known.name),
        is_recommended: is_recommended(&known.name),
        family: Some(known.family.clone()),
        patch: Some(known.patch as u64),
        width: Some(known.width as u64),
        parameters: Some(known.parameters),
        license: Some(known.license.clone()),
        bytes: known.about_bytes(),
        sha256: known.sha256.clone(),
        hash: if known.sha256.is_some() { "published" } else { "not verified" },
        address: Some(known.address.clone()),
    }));
    exit::to_stdout(|out| match json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&listed)?),
        false => {
            let [name, patch, width, parameters] = ["name", "patch", "width", "parameters"];
            let (size, license) = ("size", "licence");
            writeln!(out, "{name:24} {patch:>5} {width:>5} {parameters:>10} {size:>8} {license:18} state")?;
            for listed in &listed {
                let Listed { name, state, patch, width, parameters, license, bytes, hash, .. } = listed;
                let [patch, width] =
                    [patch, width].map(|value| value.map_or("?".to_owned(), |value| value.to_string()));
                let parameters = parameters.map_or("?".to_owned(), |count| format!("{:.1} M", count as f64 / 1e6));
                let size = format!("{:.0} MB", *bytes as f64 / 1e6);
                let license = plain(license.as_deref().unwrap_or("?"));
                let notes = [
                    (listed.is_default, ", default"),
                    (listed.is_recommended, ", recommended"),
                    (*state == "known" && *hash == "not verified", ", hash not verified"),
                ];
                let notes: String = notes.into_iter().filter_map(|(holds, note)| holds.then_some(note)).collect();
                writeln!(
                    out,
                    "{name:24} {patch:>5} {width:>5} {parameters:>10} {size:>8} {license:18} {state}{notes}"
                )?;
            }
            Ok(())
        }
    })?;
    Ok(Exit::Done)
}

fn pull(args: PullArgs) -> Outcome {
    let mirror = args.mirror.filter(|mirror| !mirror.is_empty());
    let options = Options { mirror, timeout: Duration::from_secs_f64(args.timeout), retries: args.retries };
    let stop = interrupt::signals(false, "stopping")?.stop;
    let mut shown = Shown::new();
    let pulled = Store::of_user()?
        .pull(&args.name, args.from.as_deref(), args.again, &options, &stop, &mut |event| shown.tell(event));
    shown.finish();
    let (path, is_new) = pulled?;
    let (name, path) = (&args.name, path.display());
    let line = match is_new {
        true => format!(
            "{name} is installed in {path}; use it with --model {name}, or always: mostream model default {name}"
        ),
        false => format!("{name} is installed already in {path} (--again fetches it and compares)"),
    };
    exit::to_stdout(|out| writeln!(out, "{line}"))?;
    Ok(Exit::Done)
}

/// The progress of a download: a bar on a terminal, a line now and then elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
    last: Instant,
}

impl Shown {
    fn new() -> Self {
        let is_bar = !log::is_quiet() && std::io::stderr().is_terminal();
        let bar = is_bar.then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5)));
        bar.iter().for_each(log::spare);
        Self { bar, last: Instant::now() }
    }

    fn tell(&mut self, event: Event) {
        match (event, &self.bar) {
            (Event::Say(line), _) => warn!("{line}"),
            (Event::At(have, total), Some(bar)) => {
                if bar.length() != total || bar.position() == 0 {
                    let template = match total {
                        Some(_) => "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
                        None => "{spinner} {bytes}  {bytes_per_sec}",
                    };
                    total.iter().for_each(|&total| bar.set_length(total));
                    // What was here before says nothing about the speed.
                    bar.reset_eta();
                    bar.set_style(
                        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
                    );
                }
                bar.set_position(have);
            }
            (Event::At(have, total), None) if self.last.elapsed() >= LINE_EVERY => {
                self.last = Instant::now();
                let of = total.map_or(String::new(), |total| format!(" of {:.1}", total as f64 / 1e6));
                info!("{:.1}{of} MB", have as f64 / 1e6);
            }
            (Event::At(..), None) => {}
        }
    }

    fn finish(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

fn import(file: &Path, name: Option<String>, heads: Option<u16>) -> Outcome {
    let stem = || file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let is_named = name.is_some();
    let imported = Store::of_user()?.import(file, &name.clone().unwrap_or_else(stem), heads.map(usize::from));
    let path = imported.map_err(|error| match error {
        ZooError::Name(_) | ZooError::Taken(_) if !is_named => {
            Failure::new(error.kind(), format!("{error}; --name NAME gives another"))
        }
        error => error.into(),
    })?;
    let name = name.unwrap_or_else(stem);
    exit::to_stdout(|out| writeln!(out, "{name} is installed in {}; use it with --model {name}", path.display()))?;
    Ok(Exit::Done)
}

/// One line of what a file says: it is a stranger's, and control characters would reach the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

/// As it is written, not as its bits are: 0.485.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn numbers(values: [f32; 3]) -> String {
    values.map(|value| value.to_string()).join(",")
}

/// What a model's file says about itself; the bundled one's says no licence.
fn metadata(checkpoint: &Checkpoint) -> Metadata {
    let mut metadata = checkpoint.metadata();
    if Checkpoint::bundled().is_ok_and(|bundled| bundled.hash() == checkpoint.hash()) {
        metadata.entry("license".to_owned()).or_insert_with(|| BUNDLED_LICENSE.to_owned());
    }
    metadata
}

fn export(args: &ExportArgs) -> Outcome {
    guard(&[(&args.output, "the file")], &Vec::from_iter(args.checkpoint.file()))?;
    let checkpoint = args.checkpoint.read()?;
    let asked =
        args.size.map_or(ModelSize::MaxPatches(args.patches.into()), |(width, height)| ModelSize::Fixed(width, height));
    checked(asked, &checkpoint)?;
    let (width, height) = asked.for_picture(USUAL_FRAME.0, USUAL_FRAME.1, checkpoint.patch());
    let about = checkpoint.description();
    let mut words = Metadata::from([
        ("name".to_owned(), checkpoint.id().to_owned()),
        ("family".to_owned(), about.family.clone()),
        ("feature".to_owned(), args.feature.name().to_owned()),
        ("patch".to_owned(), about.patch.to_string()),
        ("heads".to_owned(), about.heads.to_string()),
        ("image".to_owned(), format!("{height},{width}")),
        ("mean".to_owned(), numbers(about.mean)),
        ("std".to_owned(), numbers(about.std)),
    ]);
    let grid = |side: u32| u64::from(side.div_ceil(checkpoint.patch()));
    words.insert("grid".to_owned(), format!("{},{}", grid(height), grid(width)));
    let stated = metadata(&checkpoint).into_iter();
    words.extend(stated.filter(|(key, _)| ["license", "address", "source_sha256"].contains(&key.as_str())));
    let onnx = checkpoint.onnx(args.feature.into(), width, height, &words).map_err(Failure::from)?;
    partial::write(&args.output, &onnx.bytes).map_err(|error| Failure::unwritten(&args.output, error))?;
    let said = serde_json::json!({
        "file": args.output.display().to_string(),
        "model": checkpoint.id(),
        "feature": args.feature.name(),
        "input": { "name": onnx.input, "type": "uint8", "shape": ["batch", height, width, 3] },
        "output": { "name": onnx.output, "type": "float32", "shape": ["batch", onnx.output_shape[0], onnx.output_shape[1]] },
        "grid": { "rows": onnx.layout.grid.rows, "cols": onnx.layout.grid.cols },
        "patch": about.patch,
        "opset": onnx.opset,
        "bytes": onnx.bytes.len(),
    });
    exit::to_stdout(|out| writeln!(out, "{said}"))?;
    Ok(Exit::Done)
}

fn info(model: &Path, heads: Option<u16>, json: bool) -> Outcome {
    let checkpoint = zoo::open(model, Hints { heads: heads.map(usize::from), patch: None })?;
    let Description { family, patch, width, depth, heads, parameters, side, dtypes, mean, std } =
        checkpoint.description();
    let metadata = metadata(&checkpoint);
    let said = serde_json::json!({
        "model": checkpoint.id(),
        "family": family,
        "patch": patch,
        "width": width,
        "depth": depth,
        "heads": heads,
        "parameters": parameters,
        "positions": [side, side],
        "dtypes": dtypes,
        "mean": mean.map(decimal),
        "std": std.map(decimal),
        "metadata": metadata,
        "bytes": checkpoint.bytes().len(),
        "blake3": checkpoint.hash().to_hex().as_str(),
        "sha256": zoo::sha256(checkpoint.bytes()),
    });
    if json {
        exit::to_stdout(|out| writeln!(out, "{said}"))?;
        return Ok(Exit::Done);
    }
    let said = said.as_object().ok_or_else(|| Failure::internal("what is known of the model is no object"))?;
    let line = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        value => value.to_string(),
    };
    exit::to_stdout(|out| {
        for (key, value) in said.iter().filter(|(key, _)| *key != "metadata") {
            writeln!(out, "{key:12} {}", plain(&line(value).replace('"', "")))?;
        }
        for (key, value) in &metadata {
            writeln!(out, "  {:16} {}", plain(key), plain(value))?;
        }
        Ok(())
    })?;
    Ok(Exit::Done)
}
