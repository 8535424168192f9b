//! `mostream config`: looks after the file of `mostream run --config`.

use super::exit::{Exit, Outcome, to_stdout};
use super::interrupt::stop_flag;
use mostream::fault::OfKind;
use mostream::run::{Options, Run, RunSpec};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use tracing::error;

#[derive(clap::Subcommand)]
pub enum ConfigCommand {
    /// Say whether a file is one that `mostream run --config` runs: what it would open is opened, and nothing is written
    Check {
        file: PathBuf,
        /// Connect to each camera, too, and wait for its first frame
        #[arg(long)]
        connect: bool,
    },
}

pub fn run(command: ConfigCommand) -> Outcome {
    let ConfigCommand::Check { file, connect } = command;
    let spec = RunSpec::read(&file)?;
    let count = spec.sources.len();
    let stop = stop_flag()?;
    let options = Options { stop: stop.clone(), config: Some(file.clone()), ..Options::default() };
    let faults = Run::check(spec, &options, connect);
    if stop.load(Ordering::Relaxed) {
        return Ok(Exit::Interrupted);
    }
    let Some(first) = faults.first() else {
        to_stdout(|out| writeln!(out, "{}: {count} sources, no fault", file.display()))?;
        return Ok(Exit::Done);
    };
    faults.iter().for_each(|fault| error!(fault = fault.kind().name(), "{fault}"));
    Ok(first.kind().into())
}
