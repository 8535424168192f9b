//! The part of ONNX's wire format that a vision transformer needs, and a builder that names every value.

mod precision;
mod user;

use prost::Message;
use std::collections::BTreeMap;
use std::iter::once;

pub use precision::lowered;
pub use user::UserModel;

pub const UINT8: i32 = 2;
pub const FLOAT: i32 = 1;
const INT64: i32 = 7;
const IR_VERSION: i64 = 8;
pub const OPSET: i64 = 17;
/// The domain of ONNX Runtime's own operators.
pub const MICROSOFT: &str = "com.microsoft";

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
}

/// The part of a model that [`add_metadata`] writes.
#[derive(Clone, PartialEq, Message)]
struct ModelMetadata {
    #[prost(btree_map = "string, string", tag = "14")]
    metadata_props: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSet {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorData>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    domain: String,
}

/// Of an operator; made by [`int`], [`ints`] and [`float`].
#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, optional, tag = "2")]
    f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorData {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
}

/// Adds words about the model to its file: messages are joined by putting one after the other.
pub fn add_metadata(model: &mut Vec<u8>, words: &BTreeMap<String, String>) {
    model.extend(ModelMetadata { metadata_props: words.clone() }.encode_to_vec());
}

/// An attribute that is one whole number.
pub fn int(name: &str, value: usize) -> Attribute {
    Attribute { name: name.to_owned(), i: Some(value as i64), kind: 2, ..Attribute::default() }
}

/// An attribute that is a list of whole numbers.
pub fn ints(name: &str, values: &[i64]) -> Attribute {
    Attribute { name: name.to_owned(), ints: values.to_vec(), kind: 7, ..Attribute::default() }
}

/// An attribute that is a real number.
pub fn float(name: &str, value: f32) -> Attribute {
    Attribute { name: name.to_owned(), f: Some(value), kind: 1, ..Attribute::default() }
}

/// A graph in the making; values are known by name.
#[derive(Default)]
pub struct Builder {
    graph: Graph,
}

impl Builder {
    /// The graph's input; its first dimension is the batch, of any size.
    pub fn input(&mut self, name: &str, element: i32, shape: &[usize]) -> String {
        self.graph.input.push(value_info(name, element, shape));
        name.to_owned()
    }

    /// Constant f32 numbers, in C-order.
    pub fn weight(&mut self, shape: &[usize], values: &[f32]) -> String {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(shape, FLOAT, raw_data)
    }

    /// A constant list of whole numbers.
    pub fn list(&mut self, values: &[i64]) -> String {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(&[values.len()], INT64, raw_data)
    }

    fn constant(&mut self, shape: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        let name = format!("c{}", self.graph.initializer.len());
        let dims = shape.iter().map(|&side| side as i64).collect();
        self.graph.initializer.push(TensorData { dims, data_type, name: name.clone(), raw_data });
        name
    }

    /// One operator with one result.
    pub fn op(&mut self, op_type: &str, input: &[&str], attribute: &[Attribute]) -> String {
        let [output] = self.ops("", op_type, input, attribute);
        output
    }

    /// One operator of `domain` with `N` results.
    pub fn ops<const N: usize>(
        &mut self,
        domain: &str,
        op_type: &str,
        input: &[&str],
        attribute: &[Attribute],
    ) -> [String; N] {
        let index = self.graph.node.len();
        let output: [String; N] = std::array::from_fn(|k| format!("{op_type}_{index}_{k}"));
        self.graph.node.push(Node {
            input: input.iter().map(|&name| name.to_owned()).collect(),
            output: output.to_vec(),
            name: format!("{op_type}_{index}"),
            op_type: op_type.to_owned(),
            attribute: attribute.to_vec(),
            domain: domain.to_owned(),
        });
        output
    }

    /// One of ONNX Runtime's own operators, with the `N` of its results that are wanted.
    pub fn some<const N: usize>(
        &mut self,
        op_type: &str,
        input: &[&str],
        attribute: &[Attribute],
        wanted: [bool; 4],
    ) -> [String; N] {
        let all: [String; 4] = self.ops(MICROSOFT, op_type, input, attribute);
        let named = |(name, is_wanted): (String, bool)| if is_wanted { name } else { String::new() };
        let output: Vec<String> = all.into_iter().zip(wanted).map(named).collect();
        let mut kept = output.clone().into_iter().filter(|name| !name.is_empty());
        if let Some(node) = self.graph.node.last_mut() {
            node.output = output;
        }
        std::array::from_fn(|_| kept.next().unwrap_or_default())
    }

    /// `value` is an output, f32, under the name `name`.
    pub fn output(&mut self, value: &str, name: &str, shape: &[usize]) {
        self.ops_named("Identity", value, name);
        self.graph.output.push(value_info(name, FLOAT, shape));
    }

    /// The finished model.
    pub fn finish(mut self) -> Vec<u8> {
        self.graph.name = "backbone".to_owned();
        let set = |domain: &str, version| OperatorSet { domain: domain.to_owned(), version };
        let is_fused = self.graph.node.iter().any(|node| node.domain == MICROSOFT);
        let model = Model {
            ir_version: IR_VERSION,
            producer_name: "mostream".to_owned(),
            graph: Some(self.graph),
            opset_import: once(set("", OPSET)).chain(is_fused.then(|| set(MICROSOFT, 1))).collect(),
        };
        model.encode_to_vec()
    }

    fn ops_named(&mut self, op_type: &str, input: &str, output: &str) {
        self.graph.node.push(Node {
            input: vec![input.to_owned()],
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: op_type.to_owned(),
            ..Node::default()
        });
    }
}

fn value_info(name: &str, element: i32, shape: &[usize]) -> ValueInfo {
    let fixed = |&side: &usize| Dimension { value: Some(side as i64), name: None };
    let batch = Dimension { value: None, name: Some("batch".to_owned()) };
    let dim = once(batch).chain(shape.iter().map(fixed)).collect();
    let tensor = TensorType { element, shape: Some(Shape { dim }) };
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor: Some(tensor) }) }
}
