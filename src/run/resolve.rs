//! What a spec comes to: a model, a method, how a source is read.

use super::RunError;
use super::spec::{CueName, FeatureName, Shared, Size, SourceOptions};
use crate::analyzer::ModelSize;
use crate::backbone::{
    Checkpoint, DEFAULT_MAX_PATCHES, Device, Devices, Feature, Hints, Precision, SessionOptions, user_cache,
};
use crate::discover::groups::Groups;
use crate::engine::Cue;
use crate::localize::{Localizer, Method};
use crate::scene::{MIN_SCORE, Sense};
use crate::stream::camera::CameraOptions;
use crate::stream::decoder::{self, Decoding};
use crate::stream::ingest::Span;
use crate::zoo;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

impl Shared {
    pub fn method(&self) -> Method {
        self.method.unwrap_or_default()
    }

    pub fn localizer(&self) -> Localizer {
        localizer(self.method(), self.paper, self.min_score)
    }

    pub fn cue(&self) -> Cue {
        cue(self.cue, self.no_crops, self.method(), self.paper, self.min_score)
    }

    /// What the method needs of the model.
    pub fn feature(&self) -> Result<Feature, RunError> {
        let asked = self.feature.unwrap_or_default();
        match (self.method(), asked) {
            (Method::DinoSeg, FeatureName::K | FeatureName::Attention) => Ok(Feature::ClsAttention),
            (method @ Method::DinoSeg, feature) | (method, feature @ FeatureName::Attention) => {
                let name = feature.name();
                Err(RunError::Usage(format!(
                    "--method {method} cannot use --feature {name} (dino-seg reads the attention, the others k, q or v)"
                )))
            }
            (_, feature) => Ok(feature.into()),
        }
    }

    pub fn checkpoint(&self) -> Result<Checkpoint, RunError> {
        Ok(match &self.model {
            Some(model) => {
                let hints = Hints { heads: self.heads.map(usize::from), patch: self.patch.map(usize::from) };
                zoo::open(model, hints)?
            }
            None => zoo::open_default()?,
        })
    }

    /// What runs the model, and in which precision. The paper's boxes are those of the CPU in fp32, unless asked for otherwise.
    fn device_and_precision(&self) -> (Devices, Precision) {
        match (self.device, self.precision) {
            (None, None) if self.exact || self.paper => (Device::Cpu.into(), Precision::Fp32),
            (device, precision) => (device.unwrap_or_default(), precision.unwrap_or_default()),
        }
    }

    pub fn devices(&self) -> Devices {
        self.device_and_precision().0
    }

    pub fn session_options(&self) -> SessionOptions {
        let (devices, precision) = self.device_and_precision();
        SessionOptions {
            device: devices.first(),
            precision,
            batch: self.batch.map(usize::from),
            threads: self.threads.map(usize::from),
            cache: user_cache(),
            ..SessionOptions::default()
        }
    }

    pub fn model_size(&self) -> ModelSize {
        let patches = self.patches.map_or(DEFAULT_MAX_PATCHES, usize::from);
        self.size.map_or(ModelSize::MaxPatches(patches), |Size(width, height)| ModelSize::Fixed(width, height))
    }

    /// The named groups asked for; they must be of this model.
    pub fn load_groups(&self, model: &str) -> Result<Option<Groups>, RunError> {
        let feature = self.feature.unwrap_or_default().name();
        self.groups.as_deref().map(|path| load_groups(path, self.method(), feature, model)).transpose()
    }
}

impl SourceOptions {
    pub fn span(&self) -> Span {
        let ns = |time: Duration| time.as_nanos() as u64;
        Span { start_ns: self.start.map_or(0, ns), duration_ns: self.duration.map(ns) }
    }

    /// How the source is decoded; with a size, what is in a device's memory leaves it in the model's size.
    pub fn decoding(&self, model_size: Option<decoder::ModelSize>) -> Decoding {
        Decoding { decoder: self.decoder.clone().filter(|name| name != "auto"), model_size }
    }

    /// How a live source is reached.
    pub fn camera(&self, model_size: Option<decoder::ModelSize>) -> Result<CameraOptions, RunError> {
        let usual = CameraOptions::default();
        let mut options = CameraOptions {
            transport: self.transport.unwrap_or(usual.transport),
            insecure_tls: self.insecure_tls.unwrap_or(usual.insecure_tls),
            mode: self.mode.clone(),
            latency_ms: self.latency.unwrap_or(usual.latency_ms),
            stall_after: self.stall_after.unwrap_or(usual.stall_after),
            retry_for: self.retry_for,
            decoding: self.decoding(model_size),
            ..usual
        };
        if !self.is_guest {
            options.read_credentials(self.credentials.as_deref())?;
        }
        Ok(options)
    }
}

/// The groups of this file; they must be of this model, and of the feature in use. A warning is logged where none has a name.
pub fn load_groups(path: &Path, method: Method, feature: &str, model: &str) -> Result<Groups, RunError> {
    if method == Method::DinoSeg {
        let why = "--groups compares patch features, and dino-seg reads none: use another --method";
        return Err(RunError::Usage(why.into()));
    }
    let groups = Groups::load(path).and_then(|groups| groups.expect_model(model, feature))?;
    if groups.names().next().is_none() {
        let file = path.display();
        warn!("no group in {file} has a name: mostream discover --name {file} 1=NAME");
    }
    Ok(groups)
}

/// How boxes are found.
pub fn localizer(method: Method, paper: bool, min_score: Option<f32>) -> Localizer {
    let usual = Localizer::new(method);
    let bound = if paper { 0.0 } else { usual.min_score };
    Localizer { paper, min_score: min_score.unwrap_or(bound), ..usual }
}

/// What speaks for an object. Another method, or the paper's boxes, are asked for to see what they find.
pub fn cue(asked: Option<CueName>, no_crops: bool, method: Method, paper: bool, min_score: Option<f32>) -> Cue {
    let is_usual = method == Method::Most && !paper;
    match asked.unwrap_or(if is_usual { CueName::Time } else { CueName::Appearance }) {
        CueName::Time => Cue::Time {
            min_score: min_score.unwrap_or(MIN_SCORE),
            without: no_crops.then_some(Sense::Crops).into_iter().collect(),
        },
        CueName::Appearance => Cue::Appearance,
    }
}

impl FeatureName {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::K => "k",
            Self::Q => "q",
            Self::V => "v",
            Self::Attention => "attention",
        }
    }
}

impl From<FeatureName> for Feature {
    fn from(feature: FeatureName) -> Self {
        match feature {
            FeatureName::K => Self::Keys,
            FeatureName::Q => Self::Queries,
            FeatureName::V => Self::Values,
            FeatureName::Attention => Self::ClsAttention,
        }
    }
}

/// The model's size, for a decoder.
pub(super) fn decoder_size(size: ModelSize, checkpoint: &Checkpoint) -> decoder::ModelSize {
    let size = match (size, checkpoint.fixed_size()) {
        (ModelSize::MaxPatches(_), Some((width, height))) => ModelSize::Fixed(width, height),
        (size, _) => size,
    };
    let patch = checkpoint.patch();
    Arc::new(move |width, height| size.for_picture(width, height, patch))
}
