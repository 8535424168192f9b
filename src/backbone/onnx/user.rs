//! An ONNX file of the user's own: what it takes, what it gives, and how that becomes an image's features.
//!
//! It takes RGB images as f32 `[batch, 3, height, width]`, normalised, or as uint8 `[batch, height, width, 3]`, and gives features
//! `[batch, tokens, width]`, those of CLS and registers first, or `[batch, width, rows, columns]`.

use super::{FLOAT, ModelMetadata, Shape, UINT8, ValueInfo};
use crate::geometry::PatchLayout;
use ndarray::Array2;
use prost::Message;
use std::collections::BTreeMap;

/// Tokens before the patches, at most: more of them are another patch size.
const MAX_PREFIX: usize = 16;
const MAX_PATCH: usize = 64;
const MAX_SIDE: i64 = 65_536;

/// The part of a model that says what goes in and out; all else is skipped, not copied.
#[derive(Clone, PartialEq, Message)]
struct Interface {
    #[prost(message, optional, tag = "7")]
    graph: Option<Ends>,
}

#[derive(Clone, PartialEq, Message)]
struct Ends {
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Constant>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct Constant {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(string, tag = "8")]
    name: String,
    /// 1 where the numbers are in another file.
    #[prost(int32, tag = "14")]
    location: i32,
}

/// How a model of the user's own is run.
#[derive(Clone, Debug, PartialEq)]
pub struct UserModel {
    pub input: String,
    pub output: String,
    /// Whether the input is f32 `[batch, 3, height, width]`.
    pub is_planar: bool,
    /// The side of a patch in pixels.
    pub patch: usize,
    /// `(width, height)`, where the file knows no other.
    pub size: Option<(u32, u32)>,
    /// Whether the batch is always 1.
    pub is_single: bool,
    /// The width of the features, where the file says so.
    pub dim: Option<usize>,
}

/// What an ONNX file says about the model in it.
type Words = BTreeMap<String, String>;

/// A dimension by its number; a free one has none.
type Dims = Vec<Option<i64>>;

impl UserModel {
    /// Of a file with this content, and what it says about the model in it; none where it is no ONNX file. `patch` is for files that do
    /// not say. The error is a reason.
    pub fn parse(bytes: &[u8], patch: Option<usize>) -> Result<Option<(Self, Words)>, String> {
        let Ok(Interface { graph: Some(ends) }) = Interface::decode(bytes) else { return Ok(None) };
        if ends.output.is_empty() {
            return Ok(None);
        }
        let words = ModelMetadata::decode(bytes).map(|model| model.metadata_props).unwrap_or_default();
        if let Some(constant) = ends.initializer.iter().find(|constant| constant.location == 1) {
            return Err(format!(
                "the numbers of its {:?} are in another file (expected one file: export it with external_data=False)",
                constant.name
            ));
        }
        let is_constant = |value: &&ValueInfo| ends.initializer.iter().any(|constant| constant.name == value.name);
        let inputs: Vec<&ValueInfo> = ends.input.iter().filter(|value| !is_constant(value)).collect();
        let [input] = inputs[..] else {
            let expected = "one input: uint8 [batch, height, width, 3] or float32 [batch, 3, height, width]";
            return Err(format!("its inputs are {} (expected {expected})", shown_all(&inputs)));
        };
        let (is_planar, [height, width], batch) = match (element(input), dims(input).as_deref()) {
            (FLOAT, Some(&[batch, Some(3), height, width])) => (true, [height, width], batch),
            (UINT8, Some(&[batch, height, width, Some(3)])) => (false, [height, width], batch),
            _ => {
                let expected = "uint8 [batch, height, width, 3] or float32 [batch, 3, height, width]";
                return Err(format!("its input is {} (expected {expected})", shown(input)));
            }
        };
        let size = match (width, height) {
            (Some(width @ 1..=MAX_SIDE), Some(height @ 1..=MAX_SIDE)) => Some((width as u32, height as u32)),
            (None, None) => None,
            _ => return Err(format!("its input is {} (expected both sides fixed or both free)", shown(input))),
        };
        if batch.is_some_and(|batch| batch != 1) {
            return Err(format!("its input is {} (expected a batch of 1 or a free one)", shown(input)));
        }
        let is_feature = |value: &&ValueInfo| dims(value).is_none_or(|dims| matches!(dims.len(), 3 | 4));
        let outputs: Vec<&ValueInfo> = ends.output.iter().filter(is_feature).collect();
        let [output] = outputs[..] else {
            let all: Vec<&ValueInfo> = ends.output.iter().collect();
            return Err(format!(
                "its outputs are {} (expected one of features: [batch, tokens, width] or [batch, width, rows, columns])",
                shown_all(&all)
            ));
        };
        let number = |key: &str| words.get(key).and_then(|text| text.parse().ok());
        let patch = patch.or_else(|| number("patch")).or_else(|| number("patch_size"));
        let patch = patch.or_else(|| patch_of(size?, &dims(output)?)).or_else(|| kernel(&ends.initializer));
        let patch = patch.ok_or_else(|| {
            format!(
                "nothing says how large its patches are: its input is {}, its output {}; say so (`--patch`)",
                shown(input),
                shown(output)
            )
        })?;
        if !(1..=MAX_PATCH).contains(&patch) {
            return Err(format!("its patches are said to be of {patch} pixels (expected 1 to {MAX_PATCH})"));
        }
        let dim = dims(output).and_then(|dims| match dims[..] {
            [_, _, dim] | [_, dim, _, _] => usize::try_from(dim?).ok(),
            _ => None,
        });
        let (input, output) = (input.name.clone(), output.name.clone());
        Ok(Some((Self { input, output, is_planar, patch, size, is_single: batch.is_some(), dim }, words)))
    }

    /// Images `[count, height, width, 3]` as the planes of an f32 input: from 0 to 1, less the mean, by the standard deviation.
    pub fn planes(&self, rgb: &[u8], pixels: usize, mean: [f32; 3], std: [f32; 3]) -> Vec<f32> {
        let plane = |image: &[u8], channel: usize| {
            let value = |byte: u8| (f32::from(byte) / 255.0 - mean[channel]) / std[channel];
            Vec::from_iter(image.iter().skip(channel).step_by(3).map(|&byte| value(byte)))
        };
        rgb.chunks_exact(3 * pixels).flat_map(|image| (0..3).flat_map(move |channel| plane(image, channel))).collect()
    }

    /// What came out for `count` images of this layout → the features `[N, D]` of each; the error is a reason.
    pub fn features(
        &self,
        shape: &[i64],
        values: &[f32],
        count: usize,
        layout: &PatchLayout,
    ) -> Result<Vec<Array2<f32>>, String> {
        let (rows, cols, patches) = (layout.grid.rows, layout.grid.cols, layout.grid.patches());
        let wrong = |expected: String| {
            let (name, size) = (&self.output, format!("{}x{}", layout.image_width, layout.image_height));
            format!("the output {name} has shape {shape:?} for an image of {size} pixels (expected {expected})")
        };
        let sides: Vec<usize> = shape.iter().map(|&side| usize::try_from(side).unwrap_or(0)).collect();
        let size = sides.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
        if sides.first() != Some(&count) || size != Some(values.len()) || values.is_empty() {
            return Err(wrong(format!("features of {count} images")));
        }
        let images = values.chunks_exact(values.len() / count);
        match sides[1..] {
            [tokens, dim] if (patches..=patches + MAX_PREFIX).contains(&tokens) => {
                let own = |image: &[f32]| image[(tokens - patches) * dim..].to_vec();
                images.map(|image| Array2::from_shape_vec((patches, dim), own(image))).collect::<Result<_, _>>()
            }
            [_, _] => {
                let most = patches + MAX_PREFIX;
                return Err(wrong(format!(
                    "{patches} to {most} tokens, with patches of {} pixels: `--patch` says otherwise",
                    self.patch
                )));
            }
            [dim, r, c] if (r, c) == (rows, cols) => {
                let turned = |image: &[f32]| Array2::from_shape_vec((dim, patches), image.to_vec());
                images
                    .map(|image| Ok(turned(image)?.t().as_standard_layout().into_owned()))
                    .collect::<Result<_, ndarray::ShapeError>>()
            }
            [dim, _, _] => {
                return Err(wrong(format!("[{count}, {dim}, {rows}, {cols}], with patches of {}", self.patch)));
            }
            _ => return Err(wrong("[batch, tokens, width] or [batch, width, rows, columns]".to_owned())),
        }
        .map_err(|error| error.to_string())
    }
}

/// The patch that fits an image of this size and an output of this shape.
fn patch_of((width, height): (u32, u32), output: &Dims) -> Option<usize> {
    let (width, height) = (width as usize, height as usize);
    let fits = |&patch: &usize| {
        let (rows, cols) = (height / patch, width / patch);
        let is_whole = rows * patch == height && cols * patch == width;
        is_whole
            && match output[..] {
                [_, Some(tokens), _] => (rows * cols..=rows * cols + MAX_PREFIX).contains(&(tokens.max(0) as usize)),
                [_, _, Some(r), Some(c)] => (r, c) == (rows as i64, cols as i64),
                _ => false,
            }
    };
    // With the fewest tokens before the patches.
    (1..=MAX_PATCH).find(fits)
}

/// The side of the one kernel that takes RGB in, `[width, 3, side, side]`: the patch embedding.
fn kernel(constants: &[Constant]) -> Option<usize> {
    let side = |constant: &Constant| match constant.dims[..] {
        [_, 3, side, across] if side == across => usize::try_from(side).ok(),
        _ => None,
    };
    let mut sides = constants.iter().filter_map(side);
    sides.next().filter(|_| sides.next().is_none())
}

fn element(value: &ValueInfo) -> i32 {
    value.kind.as_ref().and_then(|kind| kind.tensor.as_ref()).map_or(0, |tensor| tensor.element)
}

/// None where the file does not even say how many there are.
fn dims(value: &ValueInfo) -> Option<Dims> {
    let Shape { dim } = value.kind.as_ref()?.tensor.as_ref()?.shape.as_ref()?;
    Some(dim.iter().map(|dim| dim.value.filter(|&side| side > 0)).collect())
}

/// `"pixels" float32 [?, 3, 224, 224]`.
fn shown(value: &ValueInfo) -> String {
    let kind = match element(value) {
        FLOAT => "float32".to_owned(),
        UINT8 => "uint8".to_owned(),
        7 => "int64".to_owned(),
        10 => "float16".to_owned(),
        other => format!("of type {other}"),
    };
    let side = |side: &Option<i64>| side.map_or("?".to_owned(), |side| side.to_string());
    let shape = dims(value).map_or("of unknown shape".to_owned(), |dims| {
        format!("[{}]", dims.iter().map(side).collect::<Vec<_>>().join(", "))
    });
    format!("{:.100?} {kind} {shape}", value.name)
}

fn shown_all(values: &[&ValueInfo]) -> String {
    let all: Vec<String> = values.iter().take(8).map(|value| shown(value)).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::super::value_info;
    use super::*;
    use crate::geometry::Grid;

    fn file(inputs: &[ValueInfo], outputs: &[ValueInfo]) -> Vec<u8> {
        let graph = Ends { initializer: Vec::new(), input: inputs.to_vec(), output: outputs.to_vec() };
        Interface { graph: Some(graph) }.encode_to_vec()
    }

    fn parse(input: ValueInfo, output: ValueInfo, patch: Option<usize>) -> Result<UserModel, String> {
        UserModel::parse(&file(&[input], &[output]), patch).map(|found| found.unwrap().0)
    }

    /// With free sides where 0.
    fn value(name: &str, element: i32, shape: &[usize]) -> ValueInfo {
        value_info(name, element, shape)
    }

    #[test]
    fn what_goes_in_and_out_says_how_to_run_it() {
        let planar = value("pixel_values", FLOAT, &[3, 224, 224]);
        let model = parse(planar.clone(), value("last_hidden_state", FLOAT, &[201, 384]), None).unwrap();
        assert_eq!((model.patch, model.size, model.is_planar, model.dim), (16, Some((224, 224)), true, Some(384)));
        let model = parse(planar.clone(), value("map", FLOAT, &[384, 16, 16]), None).unwrap();
        assert_eq!((model.patch, model.dim), (14, Some(384)));
        let free = value("image", UINT8, &[0, 0, 3]);
        let model = parse(free.clone(), value("features", FLOAT, &[0, 96]), Some(8)).unwrap();
        assert_eq!((model.patch, model.size, model.is_planar, model.is_single), (8, None, false, false));

        let wrong = |input: &ValueInfo, output: ValueInfo, told: &str| {
            let error = parse(input.clone(), output, None).unwrap_err();
            assert!(error.contains(told), "{error}");
        };
        wrong(&free, value("features", FLOAT, &[0, 96]), "`--patch`");
        wrong(&planar, value("pooled", FLOAT, &[384]), "\"pooled\" float32 [?, 384]");
        wrong(&value("tokens", 7, &[77]), value("text", FLOAT, &[77, 512]), "\"tokens\" int64 [?, 77]");
        wrong(&value("x", FLOAT, &[3, 224, 0]), value("y", FLOAT, &[197, 384]), "both sides fixed");
        let error = UserModel::parse(&file(&[planar.clone(), free], &[value("y", FLOAT, &[197, 384])]), None);
        assert!(error.unwrap_err().contains("expected one input"));
        let two = [value("a", FLOAT, &[197, 384]), value("b", FLOAT, &[197, 384])];
        assert!(UserModel::parse(&file(&[planar], &two), None).unwrap_err().contains("\"a\""));
        assert_eq!(UserModel::parse(b"no such thing", None), Ok(None));
    }

    #[test]
    fn tokens_before_the_patches_are_dropped_and_maps_are_turned() {
        let grid = Grid { rows: 2, cols: 3 };
        let layout = PatchLayout { grid, patch: 8, image_width: 24, image_height: 16 };
        let model = parse(value("x", FLOAT, &[3, 16, 24]), value("y", FLOAT, &[7, 2]), None).unwrap();
        assert_eq!(model.patch, 8);
        let values: Vec<f32> = (0..28).map(|value| value as f32).collect();
        let tokens = model.features(&[2, 7, 2], &values, 2, &layout).unwrap();
        assert_eq!(tokens[1].row(0).to_vec(), [16.0, 17.0]);
        assert_eq!(tokens[1].dim(), (6, 2));
        let map = model.features(&[1, 2, 2, 3], &values[..12], 1, &layout).unwrap();
        assert_eq!(map[0].row(4).to_vec(), [4.0, 10.0]);
        for (shape, count) in [(vec![1, 5, 2], 10), (vec![1, 2, 3, 2], 12), (vec![1, 12], 12), (vec![2, 6, 2], 12)] {
            let error = model.features(&shape, &values[..count], 1, &layout).unwrap_err();
            assert!(error.contains("the output y has shape"), "{error}");
        }
        let planes = model.planes(&[0, 51, 255, 255, 51, 0], 2, [0.0, 0.1, 0.0], [1.0, 0.1, 0.5]);
        assert_eq!(planes.iter().map(|value| value.round()).collect::<Vec<_>>(), [0.0, 1.0, 1.0, 1.0, 2.0, 0.0]);
    }
}
