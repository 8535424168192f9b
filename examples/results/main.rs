//! Writes `docs/RESULTS.md` from the stored reports of `mostream eval --json` and `mostream bench --json`.
//!
//! `cargo run --release --example results -- docs/results docs/RESULTS.md`; `make results` does the same.

mod page;

use page::{Failure, markdown};
use std::path::PathBuf;

fn main() -> Result<(), Failure> {
    let [folder, target] = std::env::args_os().skip(1).map(PathBuf::from).collect::<Vec<_>>().try_into().map_err(
        |_| "expected two arguments: the folder of reports and the file to write, such as docs/results docs/RESULTS.md",
    )?;
    std::fs::write(target, markdown(&folder)?)?;
    Ok(())
}
