//! Why a box was drawn: everything the methods see in one picture, gathered ([`Inspection`]), and what a video's past says of it
//! ([`Past`]), as a page that explains itself ([`page`]) and as pictures ([`maps`]).

pub mod maps;
pub mod page;
pub mod past;

use crate::analyzer::Analysis;
use crate::geometry::{PatchLayout, PixelBox};
use crate::localize::affinity::SignMatrix;
use crate::localize::dino_seg::DinoSeg;
use crate::localize::lost::Lost;
use crate::localize::most::{DropReason, Most};
use crate::localize::tokencut::TokenCut;
use crate::localize::votes::{self, Scale};
use crate::localize::{Detection, Features, Found, LocalizeError, Localizer, Method, PatchOutput, merge_duplicates};
use ndarray::Array2;
pub use past::Past;

/// What every method saw in one picture.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Of the model's input.
    pub layout: PatchLayout,
    /// `(width, height)` in pixels, which the boxes of `methods` and `candidates` are given in.
    pub picture: (u32, u32),
    pub features: Features<'static>,
    /// `[heads, N]`: the CLS token's attention in the last block.
    pub attention: Array2<f32>,
    /// The votes of MOST's box counting.
    pub scales: Vec<Scale>,
    pub most: Most,
    pub lost: Lost,
    pub tokencut: TokenCut,
    pub dino_seg: DinoSeg,
    /// The boxes that are drawn, duplicates merged, in the order of [`METHODS`].
    pub methods: Vec<Vec<Detection>>,
    /// Every cluster of MOST: first those that gave a box, by descending score.
    pub candidates: Vec<Candidate>,
}

/// In the order they are shown.
pub const METHODS: [Method; 4] = [Method::Most, Method::Lost, Method::TokenCut, Method::DinoSeg];

/// One cluster of MOST and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub cluster: usize,
    pub core: usize,
    /// See [`crate::localize::most::MostObject`].
    pub pool: Vec<usize>,
    pub patches: Vec<usize>,
    /// In pixels of the picture; `None` where there are no patches.
    pub bbox: Option<PixelBox>,
    /// `(width, height)` in pixels of the model's input, which MOST's limits are given in.
    pub size: (u32, u32),
    pub fate: Fate,
}

/// What became of a candidate. Boxes are counted in the order they are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Drawn {
        object: usize,
        score: f32,
    },
    Merged {
        into: usize,
        iou: f64,
        score: f32,
    },
    /// Below [`MOST_MIN_SCORE`](crate::localize::MOST_MIN_SCORE).
    Unsure {
        score: f32,
    },
    Dropped(DropReason),
}

impl Inspection {
    /// Runs every method on the backbone's features and on its attention, both of the same picture and size.
    pub fn new(features: &Analysis, attention: &Analysis) -> Result<Self, LocalizeError> {
        let paper = |method, analysis: &Analysis| {
            Localizer { paper: true, ..Localizer::new(method) }.explain(&analysis.output, &analysis.layout)
        };
        let ((mut most_boxes, most), (lost_boxes, lost), (cut_boxes, cut), (seg_boxes, seg)) = (
            paper(Method::Most, features)?,
            paper(Method::Lost, features)?,
            paper(Method::TokenCut, features)?,
            paper(Method::DinoSeg, attention)?,
        );
        let wrong = |method| LocalizeError::WrongOutput { method };
        let Found::Most(most) = most else { return Err(wrong(Method::Most)) };
        let Found::Lost(lost) = lost else { return Err(wrong(Method::Lost)) };
        let Found::TokenCut(tokencut) = cut else { return Err(wrong(Method::TokenCut)) };
        let Found::DinoSeg(dino_seg) = seg else { return Err(wrong(Method::DinoSeg)) };
        let PatchOutput::Features(values) = &features.output else { return Err(wrong(Method::Most)) };
        let PatchOutput::Attention(heads) = &attention.output else { return Err(wrong(Method::DinoSeg)) };

        // As the localizer does, but keeping what it leaves out.
        let least = Localizer::new(Method::Most).min_score;
        let unsure: Vec<Detection> = most_boxes.extract_if(.., |detection| detection.score < least).collect();
        let merged = merge_duplicates(&mut most_boxes);
        let fate_of = |core| {
            let seed = Some(core);
            let drawn = most_boxes.iter().position(|d| d.seed == seed);
            let drawn = drawn.map(|object| Fate::Drawn { object, score: most_boxes[object].score });
            let merged = || merged.iter().find(|m| m.detection.seed == seed);
            let unsure = || unsure.iter().find(|d| d.seed == seed);
            drawn
                .or_else(|| merged().map(|m| Fate::Merged { into: m.into, iou: m.iou, score: m.detection.score }))
                .or_else(|| unsure().map(|d| Fate::Unsure { score: d.score }))
        };
        let candidate = |cluster, core, pool: &[usize], patches: &[usize], bbox: Option<PixelBox>, fate| Candidate {
            cluster,
            core,
            pool: pool.to_vec(),
            patches: patches.to_vec(),
            bbox: bbox.map(|bbox| features.picture_box(&bbox)),
            size: bbox.map_or((0, 0), |bbox| (bbox.width(), bbox.height())),
            fate,
        };
        let boxed = most
            .objects
            .iter()
            .filter_map(|o| Some(candidate(o.cluster, o.core, &o.pool, &o.patches, Some(o.bbox), fate_of(o.core)?)));
        let dropped = most
            .dropped
            .iter()
            .map(|d| candidate(d.cluster, d.core, &d.pool, &d.patches, d.bbox, Fate::Dropped(d.why)));
        let mut candidates: Vec<Candidate> = boxed.chain(dropped).collect();
        candidates.sort_by_key(|candidate| match candidate.fate {
            Fate::Drawn { object, .. } => (0, object),
            Fate::Merged { into, .. } => (1, into),
            Fate::Unsure { .. } => (2, candidate.cluster),
            Fate::Dropped(_) => (3, candidate.cluster),
        });

        let mut methods = vec![most_boxes, lost_boxes, cut_boxes, seg_boxes];
        for detection in methods.iter_mut().flatten() {
            detection.bbox = features.picture_box(&detection.bbox);
        }
        let scales = votes::scales(&SignMatrix::of(values), features.layout.grid);
        Ok(Self {
            layout: features.layout,
            picture: features.picture,
            features: values.clone(),
            attention: heads.to_owned(),
            scales,
            most,
            lost,
            tokencut,
            dino_seg,
            methods,
            candidates,
        })
    }

    /// How many scales take the patch's affinity map for an object's.
    pub fn votes(&self, patch: usize) -> usize {
        self.scales.iter().filter(|scale| scale.votes(patch)).count()
    }
}
