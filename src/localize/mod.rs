//! Boxes from patch features (MOST, LOST, TokenCut) or from attention (DINO-seg).
//!
//! Those on features look at one thing: the signs of the affinity `A = F·Fᵀ` between patches ([`affinity`]). Ties go to the lowest
//! index everywhere; connected components are 4-connected.

pub mod affinity;
mod box_counting;
pub mod components;
pub mod dino_seg;
pub(crate) mod kernel;
mod localizer;
pub mod lost;
pub mod most;
pub mod score;
pub mod tokencut;
pub mod votes;

pub use localizer::{Found, Localizer, MOST_MIN_SCORE, Merged, PatchOutput, SAME_OBJECT_IOU, merge_duplicates};

use crate::fault::{Kind, OfKind};
use crate::geometry::{Grid, PixelBox};
use kernel::vectorized;
use ndarray::{ArrayView2, CowArray, Ix2};
use serde::{Deserialize, Serialize};
use std::ops::{AddAssign, Mul};

/// How boxes are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Several objects, or none.
    #[default]
    Most,
    /// One object: the patch least like the others, and those like it.
    Lost,
    /// One object: the smaller side of a normalised cut.
    #[serde(rename = "tokencut")]
    TokenCut,
    /// One object: where one head of the CLS token looks.
    DinoSeg,
}

impl Method {
    /// What the method reads, in words.
    fn reads(self) -> &'static str {
        match self {
            Method::DinoSeg => "the CLS attention [heads, N]",
            _ => "patch features [N, D]",
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Method::Most => "most",
            Method::Lost => "lost",
            Method::TokenCut => "tokencut",
            Method::DinoSeg => "dino-seg",
        })
    }
}

/// One object in one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// In image pixels.
    pub bbox: PixelBox,
    /// The patch it was grown from; none for DINO-seg.
    pub seed: Option<usize>,
    /// 0 to 1.
    pub score: f32,
    /// The patches of the object, ascending.
    pub patches: Vec<usize>,
}

/// Why features cannot be localized.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum LocalizeError {
    #[error("{rows} rows of {cols} patches are none (expected at least one patch)")]
    EmptyGrid { rows: usize, cols: usize },
    #[error("features have {got} rows, but {rows} rows of {cols} patches need {}", rows * cols)]
    RowCount { got: usize, rows: usize, cols: usize },
    #[error("features have no columns (expected a width of at least 1)")]
    NoColumns,
    #[error("feature {column} of patch {patch} is {value} (expected a finite number)")]
    NotFinite { patch: usize, column: usize, value: f32 },
    #[error("the attention reaches {got} patches, but {rows} rows of {cols} patches are {}", rows * cols)]
    AttentionWidth { got: usize, rows: usize, cols: usize },
    #[error("the attention holds no head (expected at least 1)")]
    NoHeads,
    #[error("attention of head {head} to patch {patch} is {value} (expected a finite number, at least 0)")]
    BadAttention { head: usize, patch: usize, value: f32 },
    #[error("{method} cannot read this output of the backbone (expected {})", method.reads())]
    WrongOutput { method: Method },
    #[error(
        "an image of {image_width}x{image_height} px does not end in the last of {rows} rows and {cols} columns of patches of {patch} px"
    )]
    Layout { rows: usize, cols: usize, patch: u32, image_width: u32, image_height: u32 },
}

impl OfKind for LocalizeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Layout { .. } => Kind::Usage,
            _ => Kind::Input,
        }
    }
}

/// Patch features of one image: `[N, D]` f32, row-major over the grid, the CLS token removed, every value finite. Its own, or lent
/// by who computed them.
#[derive(Clone, Debug)]
pub struct Features<'a> {
    grid: Grid,
    values: CowArray<'a, f32, Ix2>,
    /// The Euclidean norm of every patch.
    norms: Vec<f64>,
}

impl<'a> Features<'a> {
    /// Checks the shape and that every value is finite; takes an array or a view of one.
    pub fn new(grid: Grid, values: impl Into<CowArray<'a, f32, Ix2>>) -> Result<Self, LocalizeError> {
        let values = values.into();
        let Grid { rows, cols } = grid;
        match rows.checked_mul(cols) {
            None | Some(0) => return Err(LocalizeError::EmptyGrid { rows, cols }),
            Some(patches) if patches != values.nrows() => {
                return Err(LocalizeError::RowCount { got: values.nrows(), rows, cols });
            }
            Some(_) => {}
        }
        if values.ncols() == 0 {
            return Err(LocalizeError::NoColumns);
        }
        let values = match values.is_standard_layout() {
            true => values,
            false => CowArray::from(values.as_standard_layout().into_owned()),
        };
        let norms = norms(values.as_slice().unwrap_or_default(), values.ncols());
        // No sum of squares of finite numbers in f32 is too large for f64.
        if norms.iter().any(|norm| !norm.is_finite())
            && let Some(((patch, column), &value)) = values.indexed_iter().find(|(_, v)| !v.is_finite())
        {
            return Err(LocalizeError::NotFinite { patch, column, value });
        }
        Ok(Self { grid, values, norms })
    }

    /// The patch grid.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// The features, `[N, D]`.
    pub fn values(&self) -> ArrayView2<'_, f32> {
        self.values.view()
    }

    /// The same, as their own: copied where they are lent.
    pub fn into_owned(self) -> Features<'static> {
        Features { grid: self.grid, values: CowArray::from(self.values.into_owned()), norms: self.norms }
    }

    /// The features of one patch, `[D]`.
    fn row(&self, patch: usize) -> &[f32] {
        let dim = self.values.ncols();
        &self.data()[patch * dim..][..dim]
    }

    /// The Euclidean norm of every patch.
    fn norms(&self) -> &[f64] {
        &self.norms
    }

    fn data(&self) -> &[f32] {
        self.values.as_slice().unwrap_or_default()
    }

    /// Whether `Σ F[l] · F[j] > 0` for a patch j, the sum over `patches` (LOST, section 3.2: seed expansion).
    fn positive_sum(&self, patches: &[usize]) -> impl Fn(usize) -> bool {
        let mut sum = vec![0f64; self.values.ncols()];
        for &patch in patches {
            sum.iter_mut().zip(self.row(patch)).for_each(|(s, &v)| *s += f64::from(v));
        }
        move |patch| is_positive(self.row(patch), &sum)
    }
}

vectorized! {
    /// The Euclidean norms of rows of this width.
    norms(rows: &[f32], dim: usize) -> Vec<f64> {
        let mut norms = Vec::with_capacity(rows.len() / dim);
        for row in rows.chunks_exact(dim) {
            norms.push(dot(row, row).sqrt());
        }
        norms
    }
}

vectorized! {
    /// Whether the dot product is positive.
    is_positive(row: &[f32], sum: &[f64]) -> bool {
        dot(row, sum) > 0.0
    }
}

/// The dot product in f64.
#[inline(always)]
fn dot<A: Copy + Into<f64>, B: Copy + Into<f64>>(a: &[A], b: &[B]) -> f64 {
    dot_in(a, b)
}

/// The dot product in f64 or f32. The order of summation is fixed: 16 lanes, their sum, then what is left.
#[inline(always)]
fn dot_in<T, A, B>(a: &[A], b: &[B]) -> T
where
    T: Copy + Default + AddAssign + Mul<Output = T>,
    A: Copy + Into<T>,
    B: Copy + Into<T>,
{
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut lanes = [T::default(); 16];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..16 {
            lanes[lane] += a[lane].into() * b[lane].into();
        }
    }
    let mut sum = T::default();
    for lane in lanes {
        sum += lane;
    }
    for (&a, &b) in a_rest.iter().zip(b_rest) {
        sum += a.into() * b.into();
    }
    sum
}
