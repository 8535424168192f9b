//! On what a model is fastest on this machine, of all that finds the same boxes: measured once, by who can start processes (a process has
//! room for one ONNX Runtime library), and kept for everybody.

use super::Checkpoint;
use super::cache::{Cache, key};
use super::library::find_library;
use super::provider::{Device, Precision, is_exact};
use super::session::{SessionOptions, processor};
use super::tensorrt::GpuMachine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Raised when the same measurement would come to another choice.
const VERSION: u32 = 1;
/// The [`Tried::agreement`] from which on boxes are the same.
const MIN_AGREEMENT: f64 = 0.99;
/// What is not faster than so much of the time of what would be used otherwise is not worth another precision.
const MOST_TIME: f64 = 0.95;

/// What is to be known: on what this model, for images of `size` (`(width, height)` in pixels), is fastest, within what `options` leave open.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub checkpoint: &'a Checkpoint,
    pub size: (u32, u32),
    pub options: &'a SessionOptions,
}

/// One device and precision, as it was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    pub device: Device,
    pub precision: Precision,
    /// Of one image; none where it does not work.
    pub ms: Option<f64>,
    /// The share of its boxes and of those in fp32 that the other finds, too; none where there were too few to say.
    pub agreement: Option<f64>,
    /// Why it does not work.
    pub why: Option<String>,
}

/// The answer, and all that was tried for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// None where nothing could be shown to find the same boxes: what is used without a measurement is used.
    pub best: Option<(Device, Precision)>,
    pub tried: Vec<Tried>,
}

/// Tries these on drawn pictures, each in a process of its own; none where that was broken off.
pub type Measure = fn(&Question<'_>, &[(Device, Precision)]) -> Vec<Tried>;

impl Tried {
    /// How it went, for people.
    pub fn outcome(&self) -> String {
        match (self.ms, self.agreement) {
            (Some(ms), Some(share)) => format!("{ms:.1} ms, {:.1} % of the boxes in fp32", 100.0 * share),
            (Some(ms), None) => format!("{ms:.1} ms, not compared"),
            (None, _) => self.why.clone().unwrap_or_else(|| "does not work".into()),
        }
    }

    fn is_usable(&self) -> bool {
        self.ms.is_some() && self.agreement.map_or(self.precision == Precision::Fp32, |share| share >= MIN_AGREEMENT)
    }
}

impl Choice {
    /// The fastest of what finds the same boxes; what would be used without a measurement where that is nearly as fast.
    pub fn best_of(tried: &[Tried]) -> Option<(Device, Precision)> {
        let usable = || tried.iter().filter(|tried| tried.is_usable());
        let fastest = usable().min_by(|a, b| a.ms.unwrap_or(f64::MAX).total_cmp(&b.ms.unwrap_or(f64::MAX)))?;
        let usual = Device::automatic().into_iter().find_map(|device| {
            usable().find(|tried| tried.device == device && tried.precision == device.precision(Precision::Auto))
        });
        let chosen = usual.filter(|usual| fastest.ms > usual.ms.map(|ms| MOST_TIME * ms)).unwrap_or(fastest);
        Some((chosen.device, chosen.precision))
    }

    /// Why devices do not work that would be used before the best one if nothing was measured.
    fn passed_over(&self) -> Vec<String> {
        let before =
            Device::automatic().into_iter().take_while(|device| self.best.is_some_and(|(best, _)| best != *device));
        let why = |device: Device| {
            let of_it = || self.tried.iter().filter(move |tried| tried.device == device);
            let why = of_it().find_map(|tried| tried.why.as_deref())?;
            of_it().all(|tried| tried.ms.is_none()).then(|| why.to_owned())
        };
        before.filter_map(why).collect()
    }
}

impl Question<'_> {
    /// All that is installed, and that the options and the model allow. Engines, which take minutes to build, only where asked for.
    pub fn candidates(&self, with_engines: bool) -> Vec<(Device, Precision)> {
        let SessionOptions { device: asked, precision: wanted, .. } = *self.options;
        let devices = match asked {
            Device::Auto => Device::ALL.to_vec(),
            device => vec![device],
        };
        let devices = devices
            .into_iter()
            .filter(|&device| (with_engines || !matches!(device, Device::TensorRt(_))) && self.is_installed(device));
        let pairs = devices.flat_map(|device| device.precisions().iter().map(move |&precision| (device, precision)));
        let is_possible = |&(device, precision): &(Device, Precision)| {
            (wanted == Precision::Auto || wanted == precision)
                && device.check(precision).is_ok()
                && (!self.checkpoint.is_onnx() || device.graph_precision(precision) == Precision::Fp32)
        };
        pairs.filter(is_possible).collect()
    }

    /// Whether a library has the device's provider. Of one that is named it is not known before it is loaded.
    fn is_installed(&self, device: Device) -> bool {
        let Ok(library) = find_library(self.options.library.as_deref(), device) else { return false };
        let Some(provider) = device.provider() else { return true };
        let is_named =
            self.options.library.is_some() || std::env::var_os("ORT_DYLIB_PATH").is_some_and(|path| !path.is_empty());
        is_named || library.with_file_name(provider.file).is_file()
    }

    /// What is known already, engines included where they were tried.
    pub fn known(&self) -> Option<Choice> {
        let cache = Cache::open(self.options.cache.as_deref()?).ok()?;
        let read = |with_engines| serde_json::from_slice(&cache.read(&self.key(&self.candidates(with_engines)))?).ok();
        [true, false].into_iter().find_map(read)
    }

    /// What is known, else what `measure` finds, which is kept; none where nothing is left open. `anew` it is measured in any case, engines that
    /// have to be built included. An error where it cannot be kept, or another process measures now.
    pub fn answer(&self, measure: Option<Measure>, anew: bool) -> std::io::Result<Option<Choice>> {
        let Some(folder) = self.options.cache.as_deref().filter(|_| !is_exact()) else { return Ok(None) };
        let candidates = self.candidates(anew);
        if candidates.len() < 2 {
            return Ok(None);
        }
        let known = || if anew { None } else { self.known() };
        let choice = known();
        let Some(measure) = measure.filter(|_| choice.is_none()) else { return Ok(choice) };
        let cache = Cache::open(folder)?;
        // One at a time: two would slow each other down.
        let _alone = alone(folder, false)?;
        // Another may have measured meanwhile.
        if let Some(choice) = known() {
            return Ok(Some(choice));
        }
        let tried = measure(self, &candidates);
        if tried.is_empty() {
            return Ok(None);
        }
        let choice = Choice { best: Choice::best_of(&tried), tried };
        cache.write(&self.key(&candidates), &serde_json::to_vec(&choice).map_err(std::io::Error::other)?)?;
        Ok(Some(choice))
    }

    /// All that the answer depends on.
    fn key(&self, candidates: &[(Device, Precision)]) -> blake3::Hash {
        let SessionOptions { library, device, precision, .. } = self.options;
        let threads = self.options.threads();
        let mut depends =
            format!("{VERSION} {} {:?} {:?}", env!("CARGO_PKG_VERSION"), self.checkpoint.measures, self.size);
        // Writing to a string does not fail.
        let _ = write!(depends, " {device} {precision} {threads} {candidates:?}");
        let mut files = BTreeSet::new();
        for (device, _) in candidates {
            let Ok(library) = find_library(library.as_deref(), *device) else { continue };
            files.extend(device.provider().map(|provider| library.with_file_name(provider.file)));
            files.insert(library);
        }
        // Where libraries of devices are found, and which devices are shown.
        for name in ["LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"] {
            let _ = write!(depends, " {:?}", std::env::var_os(name));
        }
        for file in files {
            let _ = write!(depends, " {} {:?}", file.display(), stamp(&file));
        }
        if candidates.iter().any(|(device, _)| matches!(device, Device::Cuda(_) | Device::TensorRt(_))) {
            let _ = write!(depends, " {:?}", GpuMachine::here(0));
        }
        key(&[b"choice", self.checkpoint.hash().as_bytes(), depends.as_bytes(), processor().as_bytes()])
    }
}

impl SessionOptions {
    /// These options with what was measured for what they leave open, or is measured now.
    pub fn chosen(mut self, checkpoint: &Checkpoint, size: (u32, u32), measure: Option<Measure>) -> Self {
        match (Question { checkpoint, size, options: &self }).answer(measure, false) {
            Ok(choice) => {
                self.chosen = choice.as_ref().and_then(|choice| choice.best);
                self.passed_over = choice.map_or_else(Vec::new, |choice| choice.passed_over());
            }
            Err(error) => self.not_measured = Some(error.to_string()),
        }
        self
    }

    /// The device that is tried first.
    pub fn first_device(&self) -> Device {
        self.chosen.map_or(self.device, |(device, _)| device)
    }

    /// The precision that is tried first.
    pub fn first_precision(&self) -> Precision {
        self.chosen.map_or(self.device.precision(self.precision), |(_, precision)| precision)
    }
}

/// Held while something is measured that others would disturb. Where another process measures it is waited for, or it is an error; so it is
/// where the folder cannot be written.
pub fn alone(cache: &Path, waits: bool) -> std::io::Result<File> {
    let path = cache.join("measuring.lock");
    let file = File::options().create(true).append(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) if waits => file.lock()?,
        Err(TryLockError::WouldBlock) => return Err(std::io::Error::other("another process measures now")),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(file)
}

/// What tells a file from another of its name.
fn stamp(file: &Path) -> Option<(u64, i64, i64)> {
    std::fs::metadata(file).ok().map(|metadata| (metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(device: Device, precision: Precision, ms: f64, agreement: f64) -> Tried {
        Tried { device, precision, ms: Some(ms), agreement: Some(agreement), why: None }
    }

    #[test]
    fn the_fastest_with_the_same_boxes_is_chosen() {
        let openvino = Device::OpenVino(super::super::OpenVino::Cpu);
        let of = Choice::best_of;
        let cpu = tried(Device::Cpu, Precision::Fp32, 50.0, 1.0);
        let bf16 = tried(openvino, Precision::Bf16, 25.0, 0.993);
        let int8 = tried(Device::Cpu, Precision::Int8, 20.0, 0.93);
        assert_eq!(of(&[cpu.clone(), int8.clone(), bf16.clone()]), Some((openvino, Precision::Bf16)));
        assert_eq!(of(&[cpu.clone(), int8.clone()]), Some((Device::Cpu, Precision::Fp32)), "other boxes");
        let hardly = Tried { ms: Some(48.0), ..bf16.clone() };
        assert_eq!(of(&[hardly, cpu.clone()]), Some((Device::Cpu, Precision::Fp32)), "hardly faster");
        let broken = Tried { ms: None, agreement: None, why: Some("no".into()), ..bf16 };
        assert_eq!(of(&[cpu, broken.clone()]), Some((Device::Cpu, Precision::Fp32)));
        assert_eq!(of(&[broken, int8]), None, "nothing that is right works");
        let uncompared = Tried { agreement: None, ..tried(Device::Cpu, Precision::Fp32, 50.0, 0.0) };
        let unproven = Tried { agreement: None, ..tried(openvino, Precision::Bf16, 5.0, 0.0) };
        assert_eq!(of(&[uncompared, unproven]), Some((Device::Cpu, Precision::Fp32)));
    }
}
