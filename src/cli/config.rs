//! `mostream config`: looks after the file of `mostream run --config`.

use super::exit::{Exit, to_stdout};
use super::interrupt::stop_flag;
use super::tell::tell;
use mostream::run::{Options, Run, RunSpec, Word};
use mostream::stream::redact;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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

pub fn run(command: ConfigCommand) -> anyhow::Result<Exit> {
    let ConfigCommand::Check { file, connect } = command;
    let spec = RunSpec::read(&file)?;
    let count = spec.sources.len();
    let say = |word: Word, line: &str| match word {
        Word::Notice => tell!("mostream: {}", redact(line)),
        Word::Info | Word::Private => {}
    };
    let stop = stop_flag()?;
    let options = Options { stop: stop.clone(), tell: Arc::new(say), config: Some(file.clone()), ..Options::default() };
    let faults = Run::check(spec, &options, connect);
    if stop.load(Ordering::Relaxed) {
        return Ok(Exit::Interrupted);
    }
    let Some(first) = faults.first() else {
        to_stdout(|out| writeln!(out, "{}: {count} sources, no fault", file.display()))?;
        return Ok(Exit::Done);
    };
    faults.iter().for_each(|fault| tell!("mostream: {}", redact(&fault.to_string())));
    Ok(first.into())
}
