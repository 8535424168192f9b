//! Objects in two files, and at a camera that comes while they run: `cargo run --release --example embed -- A.mp4 B.mp4 [CAMERA]`.
//! Without a camera one is drawn.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it says what it found")]

use mostream::engine::sink::Message;
use mostream::run::{Observe, Options, Run, RunSpec, SourceSpec};
use std::error::Error;

const DRAWN: &str = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 \
                     ! appsink name=frames";
/// Frames of the camera, of which the first begins when this many records have come.
const FRAMES: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(first), Some(second)) = (arguments.next(), arguments.next()) else {
        return Err("usage: embed A.mp4 B.mp4 [CAMERA]".into());
    };
    let camera = SourceSpec::new(arguments.next().unwrap_or_else(|| DRAWN.into())).named("camera");

    let sources = vec![SourceSpec::new(first).named("first"), SourceSpec::new(second).named("second")];
    let spec = RunSpec { sources, ..RunSpec::default() };
    let run = Run::start(spec, Options { observe: Observe::Records, ..Options::default() })?;

    let (mut records, mut of_camera, mut added) = (0, 0, Vec::new());
    for message in run.messages() {
        let Message::Frame { record, .. } = message else { continue };
        println!("{} {}: {} objects", record.source, record.frame, record.objects.len());
        records += 1;
        if records == FRAMES {
            added = run.add(camera.clone())?;
        }
        of_camera += usize::from(record.source == "camera");
        if of_camera == FRAMES {
            for id in added.drain(..) {
                let ended = run.remove(id);
                eprintln!("removed: {ended:?}");
            }
        }
    }
    for ended in run.join()?.sources {
        eprintln!("{}: {} frames, {} faults", ended.name, ended.frames, ended.faults.len());
    }
    Ok(())
}
