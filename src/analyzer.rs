//! One picture at a time: pixels → backbone → localizer, for what works picture by picture. (`engine` wires the same stages to
//! threads for video.)
//!
//! A picture is lent, in whatever planes and strides it has; only the model's small image is made of it.
//!
//! ```no_run
//! use mostream::analyzer::{AnalyzeError, Analyzer, ModelSize};
//! use mostream::backbone::{Checkpoint, Feature, SessionOptions};
//! use mostream::fit::{Colour, PictureView, PixelFormat, Plane};
//! use mostream::localize::Localizer;
//! use std::sync::Arc;
//!
//! // A frame of 640x480 as a decoder has it: NV12, 768 bytes from row to row.
//! let (luma, chroma) = (vec![90; 768 * 480], vec![128; 768 * 240]);
//! let planes = [Plane { bytes: &luma, stride: 768 }, Plane { bytes: &chroma, stride: 768 }];
//! let picture = PictureView::new(PixelFormat::Nv12, (640, 480), &planes, Colour::BT601)?;
//! let checkpoint = Arc::new(Checkpoint::bundled()?);
//! let mut analyzer = Analyzer::new(checkpoint, SessionOptions::default(), ModelSize::default());
//! for object in analyzer.analyze(&picture, Feature::Keys)?.detections(&Localizer::default())? {
//!     println!("{:?} {}", object.bbox, object.score);
//! }
//! # Ok::<(), AnalyzeError>(())
//! ```

use crate::backbone::{
    Backbone, BackboneError, ByShape, Checkpoint, DEFAULT_MAX_PATCHES, Feature, Model, SessionOptions, give_up,
    model_size,
};
use crate::fault::{Kind, OfKind};
use crate::fit::{Fit, FitError, PictureView};
use crate::geometry::{PatchLayout, PixelBox};
use crate::localize::{Detection, Features, Found, LocalizeError, Localizer, Method, PatchOutput};
use std::collections::HashSet;
use std::sync::Arc;
use tracing::warn;

/// Why a picture cannot be analysed.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    #[error(transparent)]
    Localize(#[from] LocalizeError),
    #[error(transparent)]
    Picture(#[from] FitError),
}

impl OfKind for AnalyzeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Backbone(error) => error.kind(),
            Self::Localize(error) => error.kind(),
            Self::Picture(error) => error.kind(),
        }
    }
}

/// How large the model sees a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelSize {
    /// The picture's aspect, at most this many patches; see [`model_size`].
    MaxPatches(usize),
    /// `(width, height)` in pixels.
    Fixed(u32, u32),
}

impl Default for ModelSize {
    fn default() -> Self {
        Self::MaxPatches(DEFAULT_MAX_PATCHES)
    }
}

impl ModelSize {
    /// `(width, height)` of this model's input in pixels, for a picture of this size.
    pub fn for_model(self, checkpoint: &Checkpoint, width: u32, height: u32) -> (u32, u32) {
        match (self, checkpoint.fixed_size()) {
            (Self::MaxPatches(_), Some(fixed)) => fixed,
            _ => self.for_picture(width, height, checkpoint.patch()),
        }
    }

    /// `(width, height)` of this model's input in pixels, for pictures of the usual aspect, 4:3.
    pub fn usual(self, checkpoint: &Checkpoint) -> (u32, u32) {
        self.for_model(checkpoint, 65_536, 49_152)
    }

    /// `(width, height)` of the model's input in pixels, for a picture of this size and patches of this side.
    pub fn for_picture(self, width: u32, height: u32, patch: u32) -> (u32, u32) {
        match self {
            Self::MaxPatches(patches) => model_size(width, height, patch, patches),
            Self::Fixed(width, height) => (width, height),
        }
    }

    /// What is wrong with it for patches of this side, in words.
    pub fn check(self, patch: u32) -> Result<(), String> {
        match self {
            Self::Fixed(width, height) if width.min(height) < patch => {
                Err(format!("{width}x{height} is smaller than one patch of {patch}x{patch} pixels"))
            }
            _ => Ok(()),
        }
    }

    /// What a user should know who asked for more patches than a picture of this size has.
    pub(crate) fn note(self, checkpoint: &Checkpoint, width: u32, height: u32) -> Option<String> {
        let Self::MaxPatches(asked) = self else { return None };
        let patch = checkpoint.patch();
        let has = u64::from(width.div_ceil(patch)) * u64::from(height.div_ceil(patch));
        let is_told = asked != DEFAULT_MAX_PATCHES && (asked as u64) > has && checkpoint.fixed_size().is_none();
        is_told.then(|| {
            format!("a picture of {width}x{height} has {has} patches of {patch}x{patch} pixels: {asked} were asked for, {has} are used")
        })
    }
}

/// A checkpoint with a session for every size of picture it meets, the least recently used given up.
pub struct Analyzer {
    checkpoint: Arc<Checkpoint>,
    options: SessionOptions,
    size: ModelSize,
    sessions: ByShape<(Feature, (u32, u32)), Backbone>,
    fit: Fit,
    /// The model's image, packed RGB.
    scaled: Vec<u8>,
    /// Notes about sessions that were logged.
    told: HashSet<String>,
}

/// What the backbone gave for one picture.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// Of the model's input.
    pub layout: PatchLayout,
    pub output: PatchOutput<'static>,
    /// `(width, height)` of the picture in pixels, which boxes are given in.
    pub picture: (u32, u32),
}

impl Analyzer {
    /// No session is made yet. What a user should know about one is logged when it is ([`Backbone::notes`]), the same only once.
    pub fn new(checkpoint: Arc<Checkpoint>, options: SessionOptions, size: ModelSize) -> Self {
        let (sessions, fit, scaled, told) = Default::default();
        Self { checkpoint, options, size, sessions, fit, scaled, told }
    }

    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// `(width, height)` of the model's input for a picture of this size.
    pub fn model_size(&self, width: u32, height: u32) -> (u32, u32) {
        self.size.for_model(&self.checkpoint, width, height)
    }

    /// Runs the backbone on a picture of any size and format.
    pub fn analyze(&mut self, picture: &PictureView<'_>, feature: Feature) -> Result<Analysis, AnalyzeError> {
        let (width, height) = self.model_size(picture.size().0, picture.size().1);
        let mut scaled = std::mem::take(&mut self.scaled);
        scaled.resize(3 * width as usize * height as usize, 0);
        self.fit.rgb(picture, (width, height), &mut scaled)?;
        let analysis = self.analyze_scaled(&scaled, picture.size(), feature);
        self.scaled = scaled;
        analysis
    }

    /// Runs the backbone on packed RGB that is already as large as [`Analyzer::model_size`] says for a picture of size `picture`.
    pub fn analyze_scaled(
        &mut self,
        scaled: &[u8],
        picture: (u32, u32),
        feature: Feature,
    ) -> Result<Analysis, AnalyzeError> {
        let note = self.size.note(&self.checkpoint, picture.0, picture.1);
        note.filter(|note| self.told.insert(note.clone())).inspect(|note| warn!("{note}"));
        let backbone = self.session(feature, self.model_size(picture.0, picture.1))?;
        let layout = backbone.layout();
        let values = backbone.features(scaled)?;
        let output = match feature {
            Feature::ClsAttention => PatchOutput::Attention(values.into()),
            _ => PatchOutput::Features(Features::new(layout.grid, values)?),
        };
        Ok(Analysis { layout, output, picture })
    }

    /// Makes the session that [`Analyzer::analyze_scaled`] needs for this size, where it is not there yet; for those who take times.
    pub fn prepare(&mut self, feature: Feature, size: (u32, u32)) -> Result<(), BackboneError> {
        self.session(feature, size).map(drop)
    }

    fn session(&mut self, feature: Feature, size: (u32, u32)) -> Result<&Backbone, BackboneError> {
        let key = (feature, size);
        if self.sessions.get(&key).is_none() {
            give_up(self.sessions.make_room());
            let backbone = Backbone::open(&self.checkpoint, feature, size.0, size.1, &self.options)?;
            let notes = backbone.notes().into_iter();
            notes.filter(|note| self.told.insert(note.clone())).for_each(|note| warn!("{note}"));
            let bytes = Model::bytes(&backbone);
            self.sessions.put(key, backbone, bytes);
        }
        self.sessions.get(&key).ok_or_else(|| BackboneError::Size("a session is gone".into()))
    }
}

impl Analysis {
    /// The objects, in the picture's pixels. It is an error where the method does not read this output
    /// ([`feature_for`]).
    pub fn detections(&self, localizer: &Localizer) -> Result<Vec<Detection>, LocalizeError> {
        Ok(self.explain(localizer)?.0)
    }

    /// The objects, in the picture's pixels, and what the method saw on the way, in the pixels of the model's input.
    pub fn explain(&self, localizer: &Localizer) -> Result<(Vec<Detection>, Found), LocalizeError> {
        let (mut detections, found) = localizer.explain(&self.output, &self.layout)?;
        detections.iter_mut().for_each(|detection| detection.bbox = self.picture_box(&detection.bbox));
        Ok((detections, found))
    }

    /// A box of the model's input in the picture's pixels.
    pub fn picture_box(&self, bbox: &PixelBox) -> PixelBox {
        self.layout.frame_from_image(bbox, self.picture.0, self.picture.1)
    }
}

/// What a method reads, where `wanted` is asked for the methods on features.
pub fn feature_for(method: Method, wanted: Feature) -> Feature {
    match method {
        Method::DinoSeg => Feature::ClsAttention,
        Method::Most | Method::Lost | Method::TokenCut => wanted,
    }
}
