//! The models of a run: those of a checkpoint, one on every device, for every shape of picture.

use super::sessions::Models;
use crate::analyzer::ModelSize;
use crate::backbone::{Backbone, BackboneError, Checkpoint, Device, Devices, Feature, Model, SessionOptions};
use crate::geometry::PatchLayout;
use crate::motion::Need;
use std::borrow::Borrow;
use std::sync::Arc;
use tracing::warn;

/// What sessions are opened of, and how.
pub struct Backbones<C> {
    pub checkpoint: C,
    pub feature: Feature,
    pub size: ModelSize,
    /// They share the work; the device of the options counts for nothing.
    pub devices: Devices,
    pub options: SessionOptions,
}

impl<C: Borrow<Checkpoint> + Send + Sync> Models for Backbones<C> {
    fn layout(&self, width: u32, height: u32) -> Result<PatchLayout, BackboneError> {
        let checkpoint = self.checkpoint.borrow();
        self.size.note(checkpoint, width, height).inspect(|note| warn!("{note}"));
        let (width, height) = self.size.for_model(checkpoint, width, height);
        checkpoint.layout(width, height)
    }

    fn open(&self, layout: &PatchLayout, need: Option<Need>) -> Result<Vec<Arc<dyn Model>>, BackboneError> {
        let checkpoint = self.checkpoint.borrow();
        let (feature, with_middle) = match need {
            Some(Need::Half) if !checkpoint.is_onnx() => (Feature::MiddleKeys, false),
            Some(Need::Half | Need::Whole) => (self.feature, !checkpoint.is_onnx()),
            None => (self.feature, false),
        };
        let open = |device| -> Result<Arc<dyn Model>, BackboneError> {
            // What was measured on one GPU holds for the others.
            let here = |(chosen, precision)| (if device == Device::Auto { chosen } else { device }, precision);
            let options = SessionOptions { device, chosen: self.options.chosen.map(here), ..self.options.clone() };
            let (width, height) = (layout.image_width, layout.image_height);
            let backbone = match with_middle {
                true => Backbone::open_with_middle(checkpoint, feature, width, height, &options),
                false => Backbone::open(checkpoint, feature, width, height, &options),
            }?;
            backbone.notes().iter().for_each(|note| warn!("{note}"));
            Ok(Arc::new(backbone))
        };
        self.devices.all().into_iter().map(open).collect()
    }
}
