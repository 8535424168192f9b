//! The command line: flags → options → run → exit code. One file per subcommand.

mod bench;
mod config;
mod cue;
mod discover;
mod doctor;
mod eval;
mod exit;
mod failures;
mod features;
mod groups;
mod inspect;
mod interrupt;
mod label;
mod localize;
mod log;
mod measure;
mod model;
mod models;
mod past;
mod progress;
mod run;
mod sources;
mod trace;
mod values;
mod warmup;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::Outcome;

/// Finds the objects in any video, with no labels and no training.
#[derive(Parser)]
#[command(version, about, after_help = exit::HELP, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    volume: log::Volume,
}

#[derive(Subcommand)]
enum Command {
    /// Find the objects in videos, pictures and cameras
    Run(Box<run::Args>),
    /// Look after the file of `run --config`
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// List the capture devices of this machine
    Sources(sources::Args),
    /// Group the objects of many pictures and videos by how they look, and name the groups
    Discover(discover::Args),
    /// Write the patch features of an image as a NumPy file
    Features(features::Args),
    /// Find the objects in patch features from a NumPy file
    Localize(localize::Args),
    /// Make a page that shows why each box was drawn in a picture or a frame
    Inspect(inspect::Args),
    /// Say what is installed and whether `run` will work
    Doctor(doctor::Args),
    /// Make a training set from footage: pictures, boxes and masks in the layout of COCO, YOLO, VOC, CVAT or MOT
    Label(label::Args),
    /// Make ahead of time what the model needs on a device: graphs, and TensorRT's engines
    Warmup(warmup::Args),
    /// Fetch, import, export and list models
    #[command(subcommand)]
    Model(models::ModelCommand),
    /// Measure how fast each stage is on this machine
    Bench(bench::Args),
    /// Try one device and precision on drawn pictures
    #[command(hide = true)]
    Measure(measure::Args),
    /// Measure how near the boxes come to those that people drew, over a data set
    Eval(eval::Args),
}

/// Reads the command line and does what it asks.
pub fn main() -> std::process::ExitCode {
    let matches = Cli::command().get_matches();
    let Cli { command, volume } = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let of_command = matches.subcommand().map_or(&matches, |(_, matches)| matches);
    log::begin();
    volume.set();
    let exit = exit::report(interrupt::spare_large_files().and_then(|()| outcome(command, of_command)));
    log::finish();
    exit
}

fn outcome(command: Command, matches: &ArgMatches) -> Outcome {
    match command {
        Command::Run(args) => run::run(*args, matches),
        Command::Config(command) => config::run(command),
        Command::Sources(args) => sources::run(args),
        Command::Discover(args) => discover::run(args),
        Command::Features(args) => features::run(args),
        Command::Localize(args) => localize::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Label(args) => label::run(args),
        Command::Warmup(args) => warmup::run(args),
        Command::Model(command) => models::run(command),
        Command::Bench(args) => bench::run(args),
        Command::Measure(args) => measure::run(args),
        Command::Eval(args) => eval::run(args),
    }
}
