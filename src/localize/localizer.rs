//! The front door: what the backbone gave for one image in, its objects out.

use super::affinity::SignMatrix;
use super::dino_seg::{self, DEFAULT_HEAD, DinoSeg};
use super::lost::{self, Lost};
use super::most::{self, Most};
use super::score::{self, Scorer};
use super::tokencut::{self, TokenCut};
use super::{Detection, Features, LocalizeError, Method};
use crate::geometry::{Grid, PatchLayout};
use ndarray::{ArrayView2, CowArray, Ix2};

/// Boxes that overlap by more than this IoU are the same object.
pub const SAME_OBJECT_IOU: f64 = 0.7;

/// Objects that MOST finds with a lower score are dropped. With the bundled backbone walls, skies, noise and blank frames then stay
/// empty, nearly all of them, and an object is still found on nine in ten of the photos on which one would be (`docs/record.md` has
/// the numbers).
pub const MOST_MIN_SCORE: f32 = 0.4;

/// What a backbone gave for one image.
#[derive(Clone, Debug)]
pub enum PatchOutput<'a> {
    /// `[N, D]`, for MOST, LOST and TokenCut.
    Features(Features<'a>),
    /// `[heads, N]`: the CLS token's attention to the patches in the last block, for DINO-seg.
    Attention(CowArray<'a, f32, Ix2>),
}

impl<'a> PatchOutput<'a> {
    /// The values `[N, D]` or `[heads, N]` as what `method` reads.
    pub fn new(method: Method, grid: Grid, values: impl Into<CowArray<'a, f32, Ix2>>) -> Result<Self, LocalizeError> {
        Ok(match method {
            Method::DinoSeg => Self::Attention(values.into()),
            Method::Most | Method::Lost | Method::TokenCut => Self::Features(Features::new(grid, values)?),
        })
    }
}

/// One method with its settings.
#[derive(Clone, Copy, Debug)]
pub struct Localizer {
    pub method: Method,
    /// Give the paper's boxes, duplicates and low scores included, in the paper's order. Without it boxes are sorted by
    /// descending score, and of two with an IoU above [`SAME_OBJECT_IOU`] only the one of higher score is kept.
    pub paper: bool,
    /// Without `paper`, objects with a lower score ([`score`]) are dropped.
    pub min_score: f32,
}

impl Default for Localizer {
    /// MOST.
    fn default() -> Self {
        Self::new(Method::default())
    }
}

/// What a method found, in the paper's terms.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Most(Most),
    Lost(Lost),
    TokenCut(TokenCut),
    DinoSeg(DinoSeg),
}

impl Localizer {
    /// The method as it is best used: MOST with [`MOST_MIN_SCORE`]; the others give their one object, whatever its score.
    pub fn new(method: Method) -> Self {
        let min_score = if method == Method::Most { MOST_MIN_SCORE } else { 0.0 };
        Self { method, paper: false, min_score }
    }

    /// The objects of one image, in image pixels, each with a score ([`score`]).
    ///
    /// It is an error where `output` is not what the method reads, or where `layout` does not describe it.
    pub fn localize(&self, output: &PatchOutput, layout: &PatchLayout) -> Result<Vec<Detection>, LocalizeError> {
        Ok(self.explain(output, layout)?.0)
    }

    /// The objects of one image as [`Localizer::localize`] gives them, and what the method saw on the way.
    pub fn explain(
        &self,
        output: &PatchOutput,
        layout: &PatchLayout,
    ) -> Result<(Vec<Detection>, Found), LocalizeError> {
        check_layout(layout)?;
        let (mut detections, found) = match (self.method, output) {
            (Method::DinoSeg, PatchOutput::Attention(attention)) => on_attention(attention.view(), layout)?,
            (Method::Most | Method::Lost | Method::TokenCut, PatchOutput::Features(features)) => {
                let Grid { rows, cols } = layout.grid;
                if features.grid() != layout.grid {
                    return Err(LocalizeError::RowCount { got: features.values().nrows(), rows, cols });
                }
                self.on_features(features, layout)
            }
            (method, _) => return Err(LocalizeError::WrongOutput { method }),
        };
        if !self.paper {
            detections.retain(|detection| detection.score >= self.min_score);
            merge_duplicates(&mut detections);
        }
        Ok((detections, found))
    }

    fn on_features(&self, features: &Features, layout: &PatchLayout) -> (Vec<Detection>, Found) {
        let scorer = Scorer::new(features);
        let detection = |bbox, seed, patches: &[usize]| Detection {
            bbox,
            seed: Some(seed),
            score: scorer.score(patches),
            patches: patches.to_vec(),
        };
        match self.method {
            Method::Lost => {
                let found = lost::localize(features, &SignMatrix::of(features), layout);
                let bbox = found.bbox.map(|bbox| detection(bbox, found.seed, &found.patches));
                (bbox.into_iter().collect(), Found::Lost(found))
            }
            Method::TokenCut => {
                let found = tokencut::localize(features, layout);
                let bbox = found.bbox.map(|bbox| detection(bbox, found.seed, &found.patches));
                (bbox.into_iter().collect(), Found::TokenCut(found))
            }
            Method::Most | Method::DinoSeg => {
                let found = most::localize(features, &SignMatrix::of(features), layout);
                let objects = found.objects.iter().map(|o| detection(o.bbox, o.core, &o.patches));
                (objects.collect(), Found::Most(found))
            }
        }
    }
}

/// A box that repeats a better one.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    pub detection: Detection,
    /// The place of the better one among those that are kept, and the IoU with it.
    pub into: usize,
    pub iou: f64,
}

/// Sorts by descending score and takes out what overlaps a better box by more than [`SAME_OBJECT_IOU`].
pub fn merge_duplicates(found: &mut Vec<Detection>) -> Vec<Merged> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let (mut kept, mut merged) = (Vec::<Detection>::with_capacity(found.len()), Vec::new());
    for detection in found.drain(..) {
        let overlaps = kept.iter().map(|other| other.bbox.iou(&detection.bbox));
        match overlaps.enumerate().find(|(_, iou)| *iou > SAME_OBJECT_IOU) {
            None => kept.push(detection),
            Some((into, iou)) => merged.push(Merged { detection, into, iou }),
        }
    }
    *found = kept;
    merged
}

fn on_attention(attention: ArrayView2<f32>, layout: &PatchLayout) -> Result<(Vec<Detection>, Found), LocalizeError> {
    let found = dino_seg::localize(attention, DEFAULT_HEAD, layout)?;
    let detection = found.bbox.map(|bbox| Detection {
        bbox,
        seed: None,
        score: score::of_attention(attention, DEFAULT_HEAD, &found.patches),
        patches: found.patches.clone(),
    });
    Ok((detection.into_iter().collect(), Found::DinoSeg(found)))
}

/// The image must end in the last row and in the last column of patches.
fn check_layout(layout: &PatchLayout) -> Result<(), LocalizeError> {
    let ends_in_last = |image: u32, patches: usize| {
        patches as u64 == u64::from(image).div_ceil(u64::from(layout.patch.max(1))) && image > 0 && layout.patch > 0
    };
    let PatchLayout { grid, patch, image_width, image_height } = *layout;
    if ends_in_last(image_width, grid.cols) && ends_in_last(image_height, grid.rows) {
        return Ok(());
    }
    Err(LocalizeError::Layout { rows: grid.rows, cols: grid.cols, patch, image_width, image_height })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::PixelBox;
    use ndarray::Array2;

    fn detection(xmin: u32, xmax: u32, score: f32) -> Detection {
        Detection { bbox: PixelBox { xmin, ymin: 0, xmax, ymax: 10 }, seed: None, score, patches: vec![] }
    }

    #[test]
    fn of_two_overlapping_boxes_the_better_is_kept_and_the_best_comes_first() {
        // The first two have an IoU of 0.8, the third stands alone.
        let mut found = vec![detection(0, 8, 0.2), detection(0, 10, 0.5), detection(20, 30, 0.9)];
        let merged = merge_duplicates(&mut found);
        assert_eq!(found, [detection(20, 30, 0.9), detection(0, 10, 0.5)]);
        assert_eq!(merged, [Merged { detection: detection(0, 8, 0.2), into: 1, iou: 0.8 }]);
    }

    #[test]
    fn boxes_that_overlap_by_exactly_the_limit_are_both_kept() {
        let mut found = vec![detection(0, 7, 0.2), detection(0, 10, 0.5)];
        assert!(merge_duplicates(&mut found).is_empty());
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn the_wrong_output_and_the_wrong_layout_are_errors() {
        let layout = PatchLayout { grid: Grid { rows: 2, cols: 3 }, patch: 8, image_width: 24, image_height: 9 };
        let features = PatchOutput::Features(Features::new(layout.grid, Array2::ones((6, 4))).unwrap());
        let attention = PatchOutput::Attention(Array2::ones((1, 6)).into());
        let localize = |method, output, layout| Localizer::new(method).localize(output, &layout);
        for method in [Method::Most, Method::Lost, Method::TokenCut] {
            assert!(localize(method, &features, layout).is_ok());
            assert_eq!(localize(method, &attention, layout), Err(LocalizeError::WrongOutput { method }));
        }
        assert!(localize(Method::DinoSeg, &attention, layout).is_ok());
        assert!(localize(Method::DinoSeg, &features, layout).is_err());
        for wrong in [
            PatchLayout { image_width: 25, ..layout },
            PatchLayout { image_height: 8, ..layout },
            PatchLayout { image_height: 0, ..layout },
            PatchLayout { patch: 0, ..layout },
            PatchLayout { grid: Grid { rows: usize::MAX, cols: 3 }, ..layout },
        ] {
            assert!(matches!(localize(Method::Most, &features, wrong), Err(LocalizeError::Layout { .. })), "{wrong:?}");
        }
        let wider = PatchLayout { grid: Grid { rows: 2, cols: 4 }, image_width: 32, ..layout };
        assert!(matches!(localize(Method::Most, &features, wider), Err(LocalizeError::RowCount { .. })));
    }
}
