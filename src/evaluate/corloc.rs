//! CorLoc: the share of pictures with objects in which a found box has an IoU of at least 0.5 with any of them.
//!
//! The rule is that of the code published with LOST and TokenCut. Their main tables (VOC07, VOC12, COCO20k) count every object,
//! difficult and truncated ones included ([`Objects::All`]), but no crowd; their VOC_all setting leaves difficult and truncated
//! objects out, and the pictures that have no other ([`Objects::WithoutHard`]). Both papers find one box per picture; of several,
//! the one of highest score stands for that ([`Boxes::Best`]), and [`Boxes::Any`] counts a picture where any box is right.

use super::dataset::TruthBox;
use super::sample::{Estimate, RIGHT_IOU, Ratio, Sample};
use crate::geometry;

/// Which objects count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objects {
    All,
    WithoutHard,
}

/// Which of the found boxes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boxes {
    Best,
    Any,
}

/// Whether the picture is localized; none where it has no object that counts.
pub fn is_localized(sample: &Sample, objects: Objects, boxes: Boxes) -> Option<bool> {
    let counts = |truth: &&TruthBox| objects == Objects::All || !(truth.is_difficult || truth.is_truncated);
    sample.objects().find(counts)?;
    let found = match boxes {
        Boxes::Best => sample.best().map(std::slice::from_ref).unwrap_or_default(),
        Boxes::Any => sample.found,
    };
    let is_right = |bbox| sample.objects().filter(counts).any(|truth| geometry::iou(bbox, &truth.bbox) >= RIGHT_IOU);
    Some(found.iter().any(|found| is_right(&found.bbox)))
}

/// CorLoc over `items` items, and the number of pictures it is a share of. None where there are none.
pub fn corloc(samples: &[Sample], items: usize, objects: Objects, boxes: Boxes) -> Option<(Estimate, u64)> {
    let mut share = Ratio::new(items);
    for sample in samples {
        if let Some(is_localized) = is_localized(sample, objects, boxes) {
            share.add(sample.item, f64::from(u8::from(is_localized)), 1.0);
        }
    }
    let pictures = share.of() as u64;
    Some((share.estimate()?, pictures))
}
