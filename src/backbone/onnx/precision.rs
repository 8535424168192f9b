//! A finished graph in another precision: a pass over its constants and operators.

use super::{FLOAT, MICROSOFT, Model, Node, TensorData, int};
use crate::backbone::Precision;
use half::f16;
use prost::{DecodeError, Message};
use std::collections::HashMap;

const FLOAT16: i32 = 10;
const INT8: i32 = 3;
/// Weights of 7 bits: without VNNI, pairs of products of 8 bits do not fit the 16 bits they are added up in.
const MOST: f32 = 63.0;

/// The graph in the precision that its provider does not choose by itself; pixels come in as before, features go out in f16 where
/// that is the precision, else in f32.
pub fn lowered(model: Vec<u8>, precision: Precision) -> Result<Vec<u8>, DecodeError> {
    let pass = match precision {
        Precision::Fp16 => halved,
        Precision::Int8 => quantized,
        Precision::Auto | Precision::Fp32 | Precision::Bf16 => return Ok(model),
    };
    let mut model = Model::decode(model.as_slice())?;
    pass(&mut model);
    Ok(model.encode_to_vec())
}

/// Every f32 becomes f16: bytes become f16 without a loss.
fn halved(model: &mut Model) {
    let Some(graph) = &mut model.graph else { return };
    for constant in graph.initializer.iter_mut().filter(|constant| constant.data_type == FLOAT) {
        // What f16 cannot hold becomes its largest number: infinities would spread.
        let half = |value: f32| f16::from_f32(value).clamp(f16::MIN, f16::MAX);
        constant.raw_data = numbers(constant).flat_map(|value| half(value).to_le_bytes()).collect();
        constant.data_type = FLOAT16;
    }
    for tensor in graph.output.iter_mut().filter_map(|output| output.kind.as_mut()?.tensor.as_mut()) {
        tensor.element = FLOAT16;
    }
    for node in graph.node.iter_mut().filter(|node| node.op_type == "Cast") {
        node.attribute = vec![int("to", FLOAT16 as usize)];
    }
}

/// Products with a constant matrix become ONNX Runtime's product of quantized numbers; the first, of pixels, and the last, of
/// what is put out, stay: they cost little, and a third of the error is theirs.
fn quantized(model: &mut Model) {
    let Some(graph) = &mut model.graph else { return };
    let matrices: HashMap<String, usize> = (graph.initializer.iter().enumerate())
        .filter(|(_, constant)| constant.data_type == FLOAT && constant.dims.len() == 2)
        .map(|(index, constant)| (constant.name.clone(), index))
        .collect();
    let of_matrix = |node: &mut Node| matrices.get(node.input.get(1)?).copied().filter(|_| node.op_type == "MatMul");
    let mut products: Vec<(&mut Node, usize)> =
        graph.node.iter_mut().filter_map(|node| of_matrix(node).map(|index| (node, index))).collect();
    products.pop();
    for (node, index) in products.into_iter().skip(1) {
        let matrix = &mut graph.initializer[index];
        let scales = quantize(matrix);
        let (name, zeros) = (format!("{}_scale", matrix.name), format!("{}_zero", matrix.name));
        let dims = vec![scales.len() as i64];
        let bytes = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        node.input.extend([name.clone(), zeros.clone()]);
        let zero_bytes = vec![0; scales.len()];
        graph.initializer.push(TensorData { dims: dims.clone(), data_type: FLOAT, name, raw_data: bytes });
        graph.initializer.push(TensorData { dims, data_type: INT8, name: zeros, raw_data: zero_bytes });
        node.op_type = "DynamicQuantizeMatMul".to_owned();
        node.domain = MICROSOFT.to_owned();
    }
}

/// Makes `[inner, cols]` of f32 one of i8, each column with the scale that is given back.
fn quantize(matrix: &mut TensorData) -> Vec<f32> {
    let cols = matrix.dims[1].max(1) as usize;
    let values: Vec<f32> = numbers(matrix).collect();
    let mut scales = vec![0f32; cols];
    for (index, value) in values.iter().enumerate() {
        scales[index % cols] = scales[index % cols].max(value.abs() / MOST);
    }
    scales.iter_mut().filter(|scale| **scale == 0.0).for_each(|scale| *scale = 1.0);
    let byte = |(index, value): (usize, &f32)| (value / scales[index % cols]).round() as i8 as u8;
    matrix.raw_data = values.iter().enumerate().map(byte).collect();
    matrix.data_type = INT8;
    scales
}

fn numbers(constant: &TensorData) -> impl Iterator<Item = f32> {
    constant.raw_data.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}
