//! The stages alone, and the whole way, each over the same first frames of the video.

use super::peak::Peak;
use crate::cli::exit::Failure;
use mostream::backbone::{Backbone, Device, Model, Precision};
use mostream::engine::sink::{Message, Sink, SinkError, Wish};
use mostream::engine::status::Board;
use mostream::engine::{self, Input, Task};
use mostream::fault::Kind;
use mostream::geometry::{PatchLayout, PixelBox};
use mostream::localize::affinity::SignMatrix;
use mostream::localize::{Detection, Features, PatchOutput};
use mostream::overlay::Overlay;
use mostream::publish::mp4::Mp4Sink;
use mostream::publish::records::{Lines, Records};
use mostream::record::{FrameRecord, ObjectRecord};
use mostream::stream::canvas::{Canvas, CanvasCount};
use mostream::stream::feed::Files;
use mostream::stream::frame::{Frame, FrameFit};
use mostream::stream::ingest::Span;
use mostream::stream::output::Output;
use mostream::stream::preflight::Source;
use mostream::stream::source::{self, FrameSource};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Frames copied for drawing and encoding alone, at most.
const DRAWN_FRAMES: usize = 16;

/// CPU time of all threads, and wall time, per frame.
#[derive(Clone, Copy, Serialize)]
pub struct Cost {
    pub cpu_ms: f64,
    pub wall_ms: f64,
}

/// The program's own way through the frames.
pub struct Whole {
    /// While it ran steadily: from the first written frame to the last that counts.
    pub cost: Cost,
    pub latencies: Vec<Duration>,
    pub records: Vec<FrameRecord>,
    pub canvas: CanvasCount,
}

/// Everything measured once, one after the other.
pub struct Round {
    /// Operations per second.
    pub peak: Peak,
    pub decode: Cost,
    pub infer: Cost,
    pub localize: Cost,
    pub signs: Cost,
    pub draw: Cost,
    pub records: Whole,
    pub video: Whole,
}

/// A video and all that is needed to find the objects in its first `frames` frames.
pub struct Bench {
    pub source: Source,
    pub backbone: Arc<Backbone>,
    /// The same.
    pub models: Vec<Arc<dyn Model>>,
    pub task: Task,
    pub frames: usize,
    pub threads: usize,
    pub scratch: Scratch,
}

/// A folder of this process that goes with it.
pub struct Scratch(PathBuf);

impl Bench {
    /// Measures everything once. The answers must be those of `expected`.
    pub fn round(&mut self, expected: &[FrameRecord]) -> Result<Round, Failure> {
        let peak = Peak::measure(self.threads);
        let (decode, images) = self.decode()?;
        let mut outputs = Vec::new();
        let grid = self.backbone.layout().grid;
        let infer = measure(images.len(), || {
            for image in &images {
                outputs.push(self.backbone.features(image)?);
            }
            Ok::<_, Failure>(())
        })?;
        let outputs = outputs.into_iter().map(|values| Ok(PatchOutput::Features(Features::new(grid, values)?)));
        let outputs = outputs.collect::<Result<Vec<_>, Failure>>()?;
        let (localize, found) = self.localize(&outputs)?;
        let signs = measure(outputs.len(), || {
            for output in &outputs {
                if let PatchOutput::Features(features) = output {
                    std::hint::black_box(SignMatrix::of(features));
                }
            }
            Ok::<_, Failure>(())
        })?;
        drop((images, outputs));
        for (index, (detections, record)) in found.iter().zip(expected).enumerate() {
            self.same(&self.objects(detections, record), &record.objects, index)?;
        }
        let draw = self.draw(self.frames()?, expected)?;
        let (records, video) = (self.whole(false)?, self.whole(true)?);
        for written in [&records.records, &video.records] {
            for (index, (record, expected)) in written.iter().zip(expected).enumerate() {
                self.same(&record.objects, &expected.objects, index)?;
            }
        }
        Ok(Round { peak, decode, infer, localize, signs, draw, records, video })
    }

    /// Decodes and scales; the model's images.
    fn decode(&self) -> Result<(Cost, Vec<Vec<u8>>), Failure> {
        let (mut decoder, first) = open(&self.source)?;
        let layout = self.backbone.layout();
        let mut fit = FrameFit::default();
        let mut images = Vec::with_capacity(self.frames);
        let cost = measure(self.frames, || {
            let mut next = Some(first);
            while let Some(frame) = next.filter(|_| images.len() < self.frames) {
                images.push(fitted(&mut fit, &frame, &layout)?);
                next = decoder.next(&|| false)?;
            }
            Ok::<_, Failure>(())
        })?;
        Ok((cost, images))
    }

    /// Copies of the first frames, since a decoder may wait for its buffers.
    fn frames(&self) -> Result<Vec<Frame>, Failure> {
        let (mut decoder, first) = open(&self.source)?;
        let mut frames = Vec::new();
        let mut next = Some(first);
        while let Some(frame) = next.filter(|_| frames.len() < self.frames.min(DRAWN_FRAMES)) {
            frames.push(Frame { buffer: frame.buffer.copy_deep().map_err(Failure::internal)?, ..frame });
            next = decoder.next(&|| false)?;
        }
        Ok(frames)
    }

    fn localize(&self, outputs: &[PatchOutput]) -> Result<(Cost, Vec<Vec<Detection>>), Failure> {
        let layout = self.backbone.layout();
        let mut found = Vec::new();
        let cost = measure(outputs.len(), || {
            for output in outputs {
                found.push(self.task.localizer.localize(output, &layout)?);
            }
            Ok::<_, Failure>(())
        })?;
        Ok((cost, found))
    }

    /// Draws these records' boxes and encodes.
    fn draw(&self, frames: Vec<Frame>, records: &[FrameRecord]) -> Result<Cost, Failure> {
        let Some(first) = frames.first() else { return Err(Failure::new(Kind::Input, "no frame to draw on")) };
        let (mut canvas, mut overlay) = (Canvas::new(first)?, Overlay::default());
        let path = self.scratch.file("alone.mp4");
        let mut output = Output::open(&path, canvas.info(), None)?;
        let cost = measure(frames.len(), || {
            let mut end_ns = 0;
            for (frame, record) in frames.into_iter().zip(records) {
                let (pts_ns, duration_ns) = (frame.pts_ns, frame.duration_ns);
                let mut buffer = canvas.make_drawable(frame, false)?;
                overlay.follow(record, Some(|at| at));
                overlay.draw(buffer.make_mut(), canvas.info(), record)?;
                output.push(buffer, pts_ns, duration_ns)?;
                end_ns = pts_ns.saturating_add(duration_ns);
            }
            Ok(output.finish(end_ns)?)
        })?;
        Ok(cost)
    }

    /// Everything at once, as `run` does it, until as many frames are written.
    pub fn whole(&mut self, with_video: bool) -> Result<Whole, Failure> {
        let files = Files::new(vec![self.source.clone()], Span::default());
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        if with_video {
            let path = self.scratch.file("boxes.mp4");
            sinks.push(Box::new(Mp4Sink::new(&path, self.source.clone(), Arc::default())?));
        }
        sinks.push(Records::replace(&self.scratch.file("records.jsonl"), Lines::Frames).sink());
        sinks.push(Box::new(Meter { frames: self.frames, stop: stop.clone(), seen: seen.clone() }));
        let board = Board::default();
        let status = board.enter(self.source.name.clone());
        let input = Input { sinks, ..Input::new(status.clone(), Box::new(files)) };
        let outcome = engine::run(&self.task, vec![input], &self.models, &board, &stop)?;
        if let Some(fault) = outcome.into_fault() {
            return Err(fault.into());
        }
        let Seen { begin, end, records } = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        let (Some((cpu, wall)), Some((cpu_end, wall_end))) = (begin, end) else {
            return Err(Failure::new(Kind::Input, "no frame was written"));
        };
        let cost = Cost::new(cpu_end - cpu, wall_end - wall, records.len() - 1);
        Ok(Whole { cost, latencies: status.latencies(), records, canvas: status.canvas() })
    }

    fn objects(&self, detections: &[Detection], record: &FrameRecord) -> Vec<ObjectRecord> {
        let layout = self.backbone.layout();
        let size = (record.width, record.height);
        detections.iter().map(|found| ObjectRecord::new(found, None, &layout, size, false)).collect()
    }

    /// The CPU gives the same to the bit. What another device gives depends on how many pictures share its run: in fp32 by some
    /// last digits of a score, in less by as much as is left out.
    fn same(&self, got: &[ObjectRecord], expected: &[ObjectRecord], frame: usize) -> Result<(), Failure> {
        let placement = self.backbone.placement();
        let is_near = |least_iou: f64, most_apart: f32| {
            let near = |(a, b): (&ObjectRecord, &ObjectRecord)| {
                let bbox = |object: &ObjectRecord| {
                    let [xmin, ymin, xmax, ymax] = object.bbox;
                    PixelBox { xmin, ymin, xmax, ymax }
                };
                bbox(a).iou(&bbox(b)) >= least_iou && (a.score - b.score).abs() <= most_apart
            };
            got.len() == expected.len() && got.iter().zip(expected).all(near)
        };
        let is_same = match (placement.device, placement.precision) {
            (Device::Cpu, _) => got == expected,
            (_, Precision::Fp32) => is_near(1.0, 1e-4),
            _ => is_near(0.8, 0.05),
        };
        if is_same {
            return Ok(());
        }
        let why = format!("{}: frame {frame} gave {got:?}, and before that {expected:?}", self.source.name);
        Err(Failure::new(Kind::Internal, why))
    }
}

/// What the last sink of a run has seen: CPU and wall time at the first frame and the last that counts, and their records.
#[derive(Default)]
struct Seen {
    begin: Option<(Duration, Instant)>,
    end: Option<(Duration, Instant)>,
    records: Vec<FrameRecord>,
}

/// Measures the run it is a sink of, and ends it.
struct Meter {
    frames: usize,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
}

impl Sink for Meter {
    fn name(&self) -> String {
        "bench".into()
    }

    fn wish(&self) -> Wish {
        Box::new(|_| false)
    }

    fn take(&mut self, message: &Message) -> Result<(), SinkError> {
        let Message::Frame { record, .. } = message else { return Ok(()) };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.records.len() < self.frames {
            seen.records.push(record.as_ref().clone());
            seen.end = Some((cpu_time(), Instant::now()));
            seen.begin = seen.begin.or(seen.end);
        }
        self.stop.store(seen.records.len() >= self.frames, Ordering::Relaxed);
        Ok(())
    }
}

/// The frame as the model sees it.
pub fn fitted(fit: &mut FrameFit, frame: &Frame, layout: &PatchLayout) -> Result<Vec<u8>, Failure> {
    let (width, height) = (layout.image_width, layout.image_height);
    let mut pixels = vec![0; 3 * width as usize * height as usize];
    fit.rgb(frame, (width, height), &mut pixels)?;
    Ok(pixels)
}

/// A decoder, and the first frame it gave.
pub fn open(input: &Source) -> Result<(Box<dyn FrameSource>, Frame), Failure> {
    let (_, mut decoder) = source::open(input, Span::default())?;
    let first = decoder.next(&|| false)?;
    let first = first.ok_or_else(|| Failure::new(Kind::Input, format!("{}: no frame", input.name)))?;
    Ok((decoder, first))
}

impl Cost {
    fn new(cpu: Duration, wall: Duration, frames: usize) -> Self {
        let per_frame = |time: Duration| time.as_secs_f64() * 1e3 / frames.max(1) as f64;
        Self { cpu_ms: per_frame(cpu), wall_ms: per_frame(wall) }
    }
}

fn measure(frames: usize, work: impl FnOnce() -> Result<(), Failure>) -> Result<Cost, Failure> {
    let (cpu, wall) = (cpu_time(), Instant::now());
    work()?;
    Ok(Cost::new(cpu_time() - cpu, wall.elapsed(), frames))
}

/// CPU time of the process so far, all threads.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Scratch {
    pub fn new() -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("mostream-bench-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        Ok(Self(folder))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// The most memory this process has held, in MiB.
pub fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).ok()?;
    let kib: f64 =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}
