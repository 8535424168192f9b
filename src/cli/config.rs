//! `mostream config`: looks after the file of `mostream run --config`.

use super::exit::{Exit, Outcome, to_stdout};
use mostream::run::RunSpec;
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub enum ConfigCommand {
    /// Say whether a file is one that `mostream run --config` takes
    Check { file: PathBuf },
}

pub fn run(command: ConfigCommand) -> Outcome {
    let ConfigCommand::Check { file } = command;
    let spec = RunSpec::read(&file)?;
    to_stdout(|out| writeln!(out, "{}: {} sources, no fault", file.display(), spec.sources.len()))?;
    Ok(Exit::Done)
}
