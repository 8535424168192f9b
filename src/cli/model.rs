//! The flags that choose the backbone, for every subcommand that runs it.

use super::exit::Failure;
use super::measure;
use super::values::whole;
use clap::ValueEnum;
use mostream::analyzer::{Analyzer, ModelSize};
use mostream::backbone::{
    Backbone, BackboneError, Checkpoint, DEFAULT_MAX_PATCHES, Device, Devices, Feature, Hints, Precision, Question,
    SessionOptions, user_cache,
};
use mostream::engine::Backbones;
use mostream::fault::Kind;
use mostream::run::spec::{FeatureName, Size};
use mostream::zoo;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::warn;

#[derive(clap::Args)]
pub struct ModelArgs {
    #[command(flatten)]
    pub checkpoint: CheckpointArgs,
    /// What the model gives: keys, queries or values of its last block, or the CLS token's attention
    #[arg(long, value_enum, default_value_t)]
    pub feature: FeatureArg,
    /// Size of the model's input in pixels [default: the frame's aspect, as large as --patches allows]
    #[arg(long, value_name = "WxH", value_parser = size, conflicts_with = "patches")]
    pub size: Option<(u32, u32)>,
    /// Patches of the model's input, at most: more see smaller objects, and take time with their square
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_PATCHES as u16, value_parser = whole::<u16>(1, 16_384))]
    pub patches: u16,
    /// Threads of the model [default: one per core]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1, 65_535))]
    pub threads: Option<u16>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// What computes, and how.
#[derive(Clone, Copy, clap::Args)]
pub struct DeviceArgs {
    /// What runs the model: auto (the fastest, which is measured once), cpu, openvino[:CPU|GPU|NPU], cuda[:N] or tensorrt[:N]; cuda:0,1 shares
    /// the work of run between GPUs [default: auto]
    #[arg(long, value_name = "DEVICE", value_parser = str::parse::<Devices>)]
    device: Option<Devices>,
    /// What the model computes in: auto (the fastest that finds the same boxes), fp32, fp16, bf16 or int8, as far as the device has it
    /// [default: auto]
    #[arg(long, value_name = "PRECISION", value_parser = str::parse::<Precision>)]
    precision: Option<Precision>,
    /// The CPU in fp32: the same boxes on every machine
    #[arg(long, conflicts_with_all = ["device", "precision"])]
    exact: bool,
    /// Pictures that go through the model at once, at most [default: 1, on a GPU 8]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1, 64))]
    pub batch: Option<u16>,
}

impl DeviceArgs {
    pub fn devices(&self) -> Devices {
        if self.exact { Device::Cpu.into() } else { self.device.unwrap_or_default() }
    }

    pub fn precision(&self) -> Precision {
        if self.exact { Precision::Fp32 } else { self.precision.unwrap_or_default() }
    }

    /// The CPU in fp32 where nothing else is asked for: what is compared must not depend on the machine.
    pub fn exact_by_default(self) -> Self {
        let exact = self.exact || (self.device.is_none() && self.precision.is_none());
        // Of a device that is asked for it is fp32, too.
        Self { exact, precision: self.precision.or(self.device.map(|_| Precision::Fp32)), ..self }
    }

    /// Only `run` has work for several devices.
    pub fn check_single(&self) -> Result<(), Failure> {
        match self.devices().all().len() {
            1 => Ok(()),
            _ => Err(Failure::new(
                Kind::Usage,
                format!("--device {}: only run shares its work between GPUs: name one", self.devices()),
            )),
        }
    }

    /// How sessions are opened, where nothing was measured.
    pub fn options(&self) -> SessionOptions {
        SessionOptions {
            device: self.devices().first(),
            precision: self.precision(),
            batch: self.batch.map(usize::from),
            cache: user_cache(),
            ..SessionOptions::default()
        }
    }
}

#[derive(Clone, clap::Args)]
pub struct CheckpointArgs {
    /// A checkpoint, .safetensors or .pth, an ONNX file that gives features, or the name of an installed model [default: that of `mostream model default`, at first the bundled one]
    #[arg(long, value_name = "FILE|NAME")]
    model: Option<PathBuf>,
    /// Attention heads of the checkpoint, where it does not say [default: one per 64 of its width]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1, 65_535), requires = "model")]
    heads: Option<u16>,
    /// Side of the patches of an ONNX file in pixels, where it does not say
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1, 64), requires = "model")]
    patch: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FeatureArg {
    #[default]
    K,
    Q,
    V,
    Attention,
}

impl FeatureArg {
    /// As written on the command line.
    pub fn name(self) -> &'static str {
        FeatureName::from(self).name()
    }
}

impl From<FeatureArg> for FeatureName {
    fn from(feature: FeatureArg) -> Self {
        match feature {
            FeatureArg::K => Self::K,
            FeatureArg::Q => Self::Q,
            FeatureArg::V => Self::V,
            FeatureArg::Attention => Self::Attention,
        }
    }
}

impl From<FeatureArg> for Feature {
    fn from(feature: FeatureArg) -> Self {
        FeatureName::from(feature).into()
    }
}

impl CheckpointArgs {
    /// The file asked for, where it is one.
    pub fn file(&self) -> Option<&Path> {
        self.model.as_deref().filter(|path| path.is_file())
    }

    /// The checkpoint asked for.
    pub fn read(&self) -> Result<Checkpoint, Failure> {
        match &self.model {
            Some(model) => {
                Ok(zoo::open(model, Hints { heads: self.heads.map(usize::from), patch: self.patch.map(usize::from) })?)
            }
            None => Ok(zoo::open_default()?),
        }
    }
}

impl ModelArgs {
    /// The checkpoint asked for.
    pub fn checkpoint(&self) -> Result<Checkpoint, Failure> {
        self.checked(self.checkpoint.read()?)
    }

    /// This checkpoint, where its input can have the size asked for.
    pub fn checked(&self, checkpoint: Checkpoint) -> Result<Checkpoint, Failure> {
        checked(self.model_size(), &checkpoint)?;
        Ok(checkpoint)
    }

    /// The model's input `(width, height)` for a frame of this size.
    pub fn size_for(&self, checkpoint: &Checkpoint, width: u32, height: u32) -> (u32, u32) {
        self.model_size().for_model(checkpoint, width, height)
    }

    fn model_size(&self) -> ModelSize {
        self.size.map_or(ModelSize::MaxPatches(self.patches.into()), |(width, height)| ModelSize::Fixed(width, height))
    }

    /// An analyzer for pictures of any size.
    pub fn analyzer(&self) -> Result<Analyzer, Failure> {
        self.device.check_single()?;
        let checkpoint = self.checkpoint()?;
        let options = self.session_options(&checkpoint);
        Ok(Analyzer::new(Arc::new(checkpoint), options, self.model_size()))
    }

    /// Like [`Self::analyzer`], for a checkpoint that is shared, with this many threads.
    pub fn analyzer_of(&self, checkpoint: Arc<Checkpoint>, threads: usize) -> Analyzer {
        let options = SessionOptions { threads: Some(threads), ..self.session_options(&checkpoint) };
        Analyzer::new(checkpoint, options, self.model_size())
    }

    /// How sessions of this model are opened; measures first what is left open and not known yet.
    pub fn session_options(&self, checkpoint: &Checkpoint) -> SessionOptions {
        self.open_options().chosen(checkpoint, self.model_size().usual(checkpoint), Some(measure::try_all))
    }

    /// The same, where nothing was measured.
    fn open_options(&self) -> SessionOptions {
        SessionOptions { threads: self.threads.map(usize::from), ..self.device.options() }
    }

    /// Measures what is left open, engines that have to be built included.
    pub fn measure(&self, checkpoint: &Checkpoint) {
        let (options, size) = (self.open_options(), self.model_size().usual(checkpoint));
        // Where it cannot be kept, that is told when the sessions are opened.
        Question { checkpoint, size, options: &options }.answer(Some(measure::try_all), true).ok();
    }

    /// The session for images of this size; says on stderr what is to be said about it.
    pub fn open(&self, checkpoint: &Checkpoint, feature: Feature, size: (u32, u32)) -> Result<Backbone, Failure> {
        self.open_and_tell(checkpoint, (feature, false), size)
    }

    /// The same, of what `run` opens by itself: half of it for still cameras, and all of it.
    pub fn open_as_run(
        &self,
        checkpoint: &Checkpoint,
        feature: Feature,
        size: (u32, u32),
    ) -> Result<Backbone, Failure> {
        if !checkpoint.is_onnx() {
            self.open_and_tell(checkpoint, (Feature::MiddleKeys, false), size)?;
        }
        self.open_and_tell(checkpoint, (feature, true), size)
    }

    fn open_and_tell(
        &self,
        checkpoint: &Checkpoint,
        outputs: (Feature, bool),
        size: (u32, u32),
    ) -> Result<Backbone, Failure> {
        self.device.check_single()?;
        let backbone = open(checkpoint, outputs, size, &self.session_options(checkpoint))?;
        backbone.notes().iter().for_each(|note| warn!("{note}"));
        Ok(backbone)
    }

    /// The same without a word, and its error as it is.
    pub fn open_quietly(
        &self,
        checkpoint: &Checkpoint,
        feature: Feature,
        size: (u32, u32),
    ) -> Result<Backbone, BackboneError> {
        open(checkpoint, (feature, false), size, &self.session_options(checkpoint))
    }

    /// The models of a run of this checkpoint, on all devices asked for.
    pub fn backbones<'a>(&self, checkpoint: &'a Checkpoint, feature: Feature) -> Backbones<&'a Checkpoint> {
        Backbones {
            checkpoint,
            feature,
            size: self.model_size(),
            devices: self.device.devices(),
            options: self.session_options(checkpoint),
        }
    }
}

/// Refuses a `--size` that is none for this model.
pub fn checked(size: ModelSize, checkpoint: &Checkpoint) -> Result<(), Failure> {
    size.check(checkpoint.patch()).map_err(|why| Failure::new(Kind::Usage, format!("--size {why}")))
}

/// A session; with the middle block's keys where they are wanted and the model has them.
fn open(
    checkpoint: &Checkpoint,
    (feature, with_middle): (Feature, bool),
    (width, height): (u32, u32),
    options: &SessionOptions,
) -> Result<Backbone, BackboneError> {
    match with_middle && !checkpoint.is_onnx() {
        true => Backbone::open_with_middle(checkpoint, feature, width, height, options),
        false => Backbone::open(checkpoint, feature, width, height, options),
    }
}

/// `640x480` → `(640, 480)`.
pub fn size(text: &str) -> Result<(u32, u32), String> {
    text.parse().map(|Size(width, height)| (width, height))
}
