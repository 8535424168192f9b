//! The tensors of a `.pth` file: a zip of raw storages and one pickle that names them.
//!
//! A pickle is a program. This reads the opcodes PyTorch writes for a state dict, and knows only the functions of [`Global`],
//! none of which runs anything; another one is an error that names it. Values live in one list and refer to each other by
//! index: a dict may be in itself, and no value is worth more memory than the bytes that made it.

use super::checkpoint::{Dtype, Tensor};
use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};
use std::ops::Range;

const MAX_PICKLE_BYTES: u64 = 16 << 20;
const MAX_VALUES: usize = 1 << 20;
/// Dicts a checkpoint may wrap its weights in.
pub const WRAPPERS: [&str; 6] = ["teacher", "student", "state_dict", "model", "module", "backbone"];

/// The index of a value in [`Machine::values`].
type Id = usize;

#[derive(Clone)]
enum Value {
    /// None, a float, a flag, a list, or an object nobody reads.
    Opaque,
    Int(i64),
    Text(String),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage {
        dtype: Option<Dtype>,
        key: Id,
    },
    Tensor {
        dtype: Option<Dtype>,
        key: Id,
        offset: usize,
        shape: Vec<usize>,
    },
}

#[derive(Clone, Copy)]
enum Global {
    OrderedDict,
    /// The command line of the training, which DINO's full checkpoints hold.
    Namespace,
    RebuildTensor,
    RebuildParameter,
    /// NumPy's scalars, which DINO's schedules leave in the optimizer's state: nobody reads them.
    Scalar,
    /// A kind of number; none where the backbone does not read it.
    Storage(Option<Dtype>),
}

impl Global {
    fn find(module: &str, name: &str) -> Result<Self, String> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("argparse", "Namespace") => Self::Namespace,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Self::Scalar,
            ("numpy", "dtype") | ("_codecs", "encode") => Self::Scalar,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "FloatStorage") => Self::Storage(Some(Dtype::F32)),
            ("torch", "HalfStorage") => Self::Storage(Some(Dtype::F16)),
            ("torch", "BFloat16Storage") => Self::Storage(Some(Dtype::Bf16)),
            ("torch", name) if name.ends_with("Storage") => Self::Storage(None),
            _ => {
                return Err(format!(
                    "its pickle wants {:.200?}, which no state dict needs",
                    format!("{module}.{name}")
                ));
            }
        })
    }
}

/// The tensors in a `.pth` file with this content; the error is a reason.
pub fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let bad = |error: zip::result::ZipError| format!("it is not a whole .pth file ({error})");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(bad)?;
    let mut program = Vec::new();
    let mut storages = HashMap::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).map_err(bad)?;
        let name = file.name().map_err(bad)?.into_owned();
        let Some((_, name)) = name.split_once('/') else { continue };
        if name == "data.pkl" {
            let size = file.size();
            if size > MAX_PICKLE_BYTES {
                return Err(format!("its data.pkl has {size} bytes (expected at most {MAX_PICKLE_BYTES})"));
            }
            program.clear();
            file.by_ref()
                .take(MAX_PICKLE_BYTES)
                .read_to_end(&mut program)
                .map_err(|error| format!("data.pkl: {error}"))?;
        } else if name == "byteorder" {
            let mut order = String::new();
            file.by_ref().take(16).read_to_string(&mut order).map_err(|error| format!("byteorder: {error}"))?;
            if order != "little" {
                return Err(format!("its byte order is {order:?} (expected \"little\")"));
            }
        } else if let Some(key) = name.strip_prefix("data/") {
            if file.compression() != zip::CompressionMethod::Stored {
                return Err(format!("storage {key} is compressed (PyTorch stores it as it is)"));
            }
            let start = file.data_start().unwrap_or(u64::MAX);
            let end = start.saturating_add(file.size());
            if end > bytes.len() as u64 {
                return Err(format!("storage {key} ends past the file"));
            }
            storages.insert(key.to_owned(), start as usize..end as usize);
        }
    }
    if program.is_empty() {
        return Err("it holds no data.pkl".to_owned());
    }
    let mut machine = Machine { values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    let root = machine.run(&program)?;
    let mut found = BTreeMap::new();
    machine.collect(root, "", 0, &storages, &mut found)?;
    let total: usize = found.values().map(|tensor| tensor.range.len()).sum();
    if total > bytes.len() {
        return Err(format!("its tensors share storage: {total} bytes of them in a file of {}", bytes.len()));
    }
    Ok(found)
}

struct Machine {
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine {
    /// Runs the program and gives its result.
    fn run(&mut self, program: &[u8]) -> Result<Id, String> {
        let mut code = program;
        loop {
            let at = program.len() - code.len();
            let opcode = take::<1>(&mut code)?[0];
            match opcode {
                0x80 => {
                    let protocol = take::<1>(&mut code)?[0];
                    if protocol > 4 {
                        return Err(format!("its pickle has protocol {protocol} (expected at most 4)"));
                    }
                }
                0x95 => drop(take::<8>(&mut code)?),
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'N' | 0x88 | 0x89 | b']' => self.push(Value::Opaque)?,
                b'G' => {
                    take::<8>(&mut code)?;
                    self.push(Value::Opaque)?;
                }
                b'K' => {
                    let [value] = take(&mut code)?;
                    self.push(Value::Int(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(take(&mut code)?);
                    self.push(Value::Int(value.into()))?;
                }
                b'J' => {
                    let value = i32::from_le_bytes(take(&mut code)?);
                    self.push(Value::Int(value.into()))?;
                }
                0x8a => {
                    let [length] = take(&mut code)?;
                    let digits = split(&mut code, length.into())?;
                    let mut whole = [if digits.last().is_some_and(|d| d & 0x80 != 0) { 0xff } else { 0 }; 8];
                    // A number past 64 bits is no size: nobody reads it.
                    let value = whole.get_mut(..digits.len()).map(|low| low.copy_from_slice(digits));
                    self.push(value.map_or(Value::Opaque, |()| Value::Int(i64::from_le_bytes(whole))))?;
                }
                b'X' | 0x8c => {
                    let length = match opcode {
                        b'X' => u32::from_le_bytes(take(&mut code)?) as usize,
                        _ => take::<1>(&mut code)?[0].into(),
                    };
                    let text = std::str::from_utf8(split(&mut code, length)?)
                        .map_err(|_| "its pickle holds a text that is not UTF-8")?;
                    self.push(Value::Text(text.to_owned()))?;
                }
                b'c' => {
                    let (module, name) = (line(&mut code)?, line(&mut code)?);
                    self.push(Value::Global(Global::find(module, name)?))?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let global = Global::find(self.text(module)?, self.text(name)?)?;
                    self.push(Value::Global(global))?;
                }
                b')' => self.push(Value::Tuple(Vec::new()))?,
                b't' => {
                    let items = self.pop_mark()?;
                    self.push(Value::Tuple(items))?;
                }
                0x85..=0x87 => {
                    let first =
                        self.stack.len().checked_sub(usize::from(opcode) - 0x84).ok_or("its pickle is broken")?;
                    let items = self.stack.split_off(first);
                    self.push(Value::Tuple(items))?;
                }
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set_items(&items)?;
                }
                // What a list or an object holds, nobody reads.
                b'a' | b'b' => drop(self.pop()?),
                b'e' => drop(self.pop_mark()?),
                b'q' => {
                    let [slot] = take(&mut code)?;
                    self.memo.insert(slot.into(), self.top()?);
                }
                b'r' => {
                    let slot = u32::from_le_bytes(take(&mut code)?);
                    self.memo.insert(slot, self.top()?);
                }
                0x94 => {
                    self.memo.insert(self.memo.len() as u32, self.top()?);
                }
                b'h' | b'j' => {
                    let slot = match opcode {
                        b'h' => take::<1>(&mut code)?[0].into(),
                        _ => u32::from_le_bytes(take(&mut code)?),
                    };
                    let id = *self.memo.get(&slot).ok_or("its pickle reads a value it never kept")?;
                    self.push_id(id)?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.push(storage)?;
                }
                b'R' | 0x81 => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    let result = self.call(function, arguments)?;
                    self.push(result)?;
                }
                other => {
                    return Err(format!("its pickle has opcode {other:#04x} at byte {at}, which no state dict needs"));
                }
            }
        }
    }

    fn call(&self, function: Id, arguments: Id) -> Result<Value, String> {
        let (Value::Global(function), Value::Tuple(arguments)) = (&self.values[function], &self.values[arguments])
        else {
            return Err("its pickle calls something that is no function".to_owned());
        };
        match (function, arguments.first().map(|&first| &self.values[first])) {
            (Global::OrderedDict, _) => Ok(Value::Dict(Vec::new())),
            (Global::Namespace | Global::Scalar, _) => Ok(Value::Opaque),
            (Global::RebuildTensor, _) => self.tensor(arguments),
            (Global::RebuildParameter, Some(tensor @ Value::Tensor { .. })) => Ok(tensor.clone()),
            _ => Err("its pickle makes a parameter of something else than a tensor".to_owned()),
        }
    }

    /// `(storage, offset, size, stride, ...)`.
    fn tensor(&self, arguments: &[Id]) -> Result<Value, String> {
        let [storage, offset, shape, strides, ..] = arguments else {
            return Err("its pickle makes a tensor of too few arguments".to_owned());
        };
        let Value::Storage { dtype, key } = &self.values[*storage] else {
            return Err("its pickle makes a tensor without storage".to_owned());
        };
        let (offset, shape, strides) = (self.size(*offset)?, self.sizes(*shape)?, self.sizes(*strides)?);
        let mut expected = 1usize;
        for (&side, &stride) in shape.iter().zip(&strides).rev() {
            if side != 1 && stride != expected {
                return Err(format!("a tensor of shape {shape:?} has strides {strides:?} (expected C-order)"));
            }
            expected = expected.checked_mul(side).ok_or("its pickle names a tensor larger than memory")?;
        }
        if shape.len() != strides.len() {
            return Err(format!("a tensor of shape {shape:?} has strides {strides:?}"));
        }
        Ok(Value::Tensor { dtype: *dtype, key: *key, offset, shape })
    }

    /// `("storage", type, key, place, count)`.
    fn storage(&self, id: Id) -> Result<Value, String> {
        if let Value::Tuple(items) = &self.values[id]
            && let [_, kind, key, ..] = items.as_slice()
            && let Value::Global(Global::Storage(dtype)) = &self.values[*kind]
        {
            return Ok(Value::Storage { dtype: *dtype, key: *key });
        }
        Err("its pickle names a storage in a way PyTorch does not".to_owned())
    }

    /// The tensors below `root`, their names joined by dots.
    fn collect(
        &self,
        root: Id,
        prefix: &str,
        depth: usize,
        storages: &HashMap<String, Range<usize>>,
        found: &mut BTreeMap<String, Tensor>,
    ) -> Result<(), String> {
        let Value::Dict(items) = &self.values[root] else {
            return Err("its pickle holds no state dict".to_owned());
        };
        for &(key, value) in items {
            let Value::Text(key) = &self.values[key] else { continue };
            let name = format!("{prefix}{key}");
            match &self.values[value] {
                Value::Dict(_) if depth < WRAPPERS.len() && WRAPPERS.contains(&key.as_str()) => {
                    self.collect(value, &format!("{name}."), depth + 1, storages, found)?;
                }
                Value::Tensor { dtype, key, offset, shape } => {
                    let key = self.text(*key)?;
                    let storage =
                        storages.get(key).ok_or_else(|| format!("storage {key} of tensor {name} is missing"))?;
                    let bytes = dtype.map_or(1, Dtype::size);
                    // `tensor` has checked the product. Other kinds of numbers are never read: any size will do.
                    let length = if dtype.is_some() { shape.iter().product::<usize>() } else { 0 };
                    let range = (|| {
                        let start = storage.start.checked_add(offset.checked_mul(bytes)?)?;
                        Some(start..start.checked_add(length.checked_mul(bytes)?)?)
                            .filter(|range| range.end <= storage.end)
                    })();
                    let range =
                        range.ok_or_else(|| format!("tensor {name} of shape {shape:?} ends past its storage"))?;
                    found.insert(name, Tensor { dtype: *dtype, shape: shape.clone(), range });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), String> {
        let target = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        match &mut self.values[target] {
            Value::Dict(dict) if rest.is_empty() => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            Value::Opaque => {}
            _ => return Err("its pickle sets items of something that is no dict".to_owned()),
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        self.values.push(value);
        self.push_id(self.values.len() - 1)
    }

    fn push_id(&mut self, id: Id) -> Result<(), String> {
        self.stack.push(id);
        match self.values.len().max(self.stack.len()) > MAX_VALUES {
            true => Err(format!("its pickle holds more than {MAX_VALUES} values")),
            false => Ok(()),
        }
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| "its pickle is broken".to_owned())
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().ok_or_else(|| "its pickle is broken".to_owned())
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or("its pickle is broken")?;
        Ok(self.stack.split_off(mark))
    }

    fn text(&self, id: Id) -> Result<&str, String> {
        match &self.values[id] {
            Value::Text(text) => Ok(text),
            _ => Err("its pickle has something else where a text belongs".to_owned()),
        }
    }

    fn size(&self, id: Id) -> Result<usize, String> {
        match self.values[id] {
            Value::Int(value) => usize::try_from(value).map_err(|_| format!("its pickle has the size {value}")),
            _ => Err("its pickle has something else where a size belongs".to_owned()),
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, String> {
        match &self.values[id] {
            Value::Tuple(items) if items.len() <= 8 => items.iter().map(|&item| self.size(item)).collect(),
            _ => Err("its pickle has something else where a shape belongs".to_owned()),
        }
    }
}

fn split<'a>(code: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (head, rest) = code.split_at_checked(length).ok_or("its pickle ends early")?;
    *code = rest;
    Ok(head)
}

fn take<const N: usize>(code: &mut &[u8]) -> Result<[u8; N], String> {
    let (head, rest) = code.split_first_chunk::<N>().ok_or("its pickle ends early")?;
    *code = rest;
    Ok(*head)
}

fn line<'a>(code: &mut &'a [u8]) -> Result<&'a str, String> {
    let length = code.iter().position(|&byte| byte == b'\n').ok_or("its pickle ends early")?;
    let text = std::str::from_utf8(&code[..length]).map_err(|_| "its pickle names a global that is not UTF-8")?;
    *code = &code[length + 1..];
    Ok(text)
}
