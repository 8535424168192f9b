//! `mostream sources`: the capture devices of this machine.

use super::exit::{Exit, Outcome, to_stdout};
use mostream::stream::devices;

#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let devices = devices::list()?;
    to_stdout(|out| {
        if args.json {
            serde_json::to_writer_pretty(&mut *out, &devices)?;
            return writeln!(out);
        }
        if devices.is_empty() {
            return writeln!(out, "no capture device is plugged in, or this user may not open it (group video)");
        }
        for device in &devices {
            writeln!(out, "{}  {}", device.path, device.name)?;
            for mode in &device.modes {
                writeln!(out, "  {}x{}@{}:{}", mode.width, mode.height, mode.fps, mode.format)?;
            }
        }
        Ok(())
    })?;
    Ok(Exit::Done)
}
