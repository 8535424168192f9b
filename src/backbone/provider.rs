//! Which device computes, and in which precision: ONNX Runtime's execution providers, and what each of them needs.

use super::BackboneError;
use super::graph::Dialect;
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider};
use ort::session::builder::SessionBuilder;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::str::FromStr;

/// Where the backbone runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Device {
    /// What was measured to be the fastest ([`Choice`](super::Choice)); where nothing was, the first of TensorRT, CUDA, OpenVINO (on Intel's
    /// processors) and the CPU that works with the library.
    #[default]
    Auto,
    /// ONNX Runtime's own kernels.
    Cpu,
    OpenVino(OpenVino),
    /// The NVIDIA GPU of this number.
    Cuda(u16),
    /// The same, through engines that TensorRT builds for the very GPU, which takes minutes once.
    TensorRt(u16),
}

/// What OpenVINO is to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenVino {
    Cpu,
    Gpu,
    Npu,
}

/// What the backbone multiplies; images come in as bytes and features go out as f32 all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// What was measured to be the fastest with the same boxes; where nothing was, the first that the device has, which is fp32 but for NPUs.
    #[default]
    Auto,
    Fp32,
    Fp16,
    Bf16,
    /// Weights of 8 bits with a scale for each column, activations of 8 bits with one found at run time.
    Int8,
}

/// An execution provider other than the CPU's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider {
    /// As ONNX Runtime names it.
    pub name: &'static str,
    /// The library of it, beside ONNX Runtime's.
    pub file: &'static str,
    /// What to install.
    pub needs: &'static str,
}

const OPENVINO: Provider = Provider {
    name: "OpenVINOExecutionProvider",
    file: "libonnxruntime_providers_openvino.so",
    needs: "pip install onnxruntime-openvino, into a virtual environment .venv-openvino beside .venv, or set ORT_DYLIB_PATH to \
              its libonnxruntime.so; GPU and NPU need their drivers, too",
};
const CUDA: Provider = Provider {
    name: "CUDAExecutionProvider",
    file: "libonnxruntime_providers_cuda.so",
    needs: "pip install 'onnxruntime-gpu[cuda,cudnn]', into a virtual environment .venv-gpu beside .venv, or set ORT_DYLIB_PATH \
              to its libonnxruntime.so; CUDA's and cuDNN's folders belong on LD_LIBRARY_PATH, and the GPU's driver is needed",
};
const TENSORRT: Provider = Provider {
    name: "TensorrtExecutionProvider",
    file: "libonnxruntime_providers_tensorrt.so",
    needs: "pip install 'onnxruntime-gpu[cuda,cudnn]' and tensorrt, into a virtual environment .venv-gpu beside .venv, or set \
              ORT_DYLIB_PATH to its libonnxruntime.so; TensorRT's (libnvinfer.so), CUDA's and cuDNN's folders belong on \
              LD_LIBRARY_PATH, and the GPU's driver is needed",
};

/// All that a provider is told about a session.
pub(super) struct Setup<'a> {
    /// The input's name, and its shape without the batch.
    pub input: (&'a str, [u32; 3]),
    pub precision: Precision,
    pub threads: usize,
    pub batch: usize,
    /// Where what is compiled for the device is kept.
    pub compiled: Option<&'a Path>,
}

impl Device {
    /// What [`Device::Auto`] tries on this machine where nothing was measured, in this order.
    pub fn automatic() -> Vec<Self> {
        if is_exact() {
            return vec![Self::Cpu];
        }
        let mut devices = vec![Self::TensorRt(0), Self::Cuda(0)];
        // On others' processors it is slower than ONNX Runtime's own kernels: 1.6 times on a Zen 3.
        if processor_info().contains("GenuineIntel") {
            devices.push(Self::OpenVino(OpenVino::Cpu));
        }
        devices.push(Self::Cpu);
        devices
    }

    /// Every device there may be one of.
    pub const ALL: [Self; 6] = [
        Self::Cpu,
        Self::OpenVino(OpenVino::Cpu),
        Self::OpenVino(OpenVino::Gpu),
        Self::OpenVino(OpenVino::Npu),
        Self::Cuda(0),
        Self::TensorRt(0),
    ];

    /// The execution provider it needs.
    pub fn provider(self) -> Option<Provider> {
        match self {
            Self::Auto | Self::Cpu => None,
            Self::OpenVino(_) => Some(OPENVINO),
            Self::Cuda(_) => Some(CUDA),
            Self::TensorRt(_) => Some(TENSORRT),
        }
    }

    /// The precisions it can compute in; `bf16` on a CPU is for processors that have it.
    pub fn precisions(self) -> &'static [Precision] {
        use Precision::*;
        match self {
            Self::Auto => &[Fp32, Fp16, Bf16, Int8, Auto],
            Self::Cpu => &[Fp32, Int8],
            Self::OpenVino(OpenVino::Cpu) => &[Fp32, Bf16],
            Self::OpenVino(OpenVino::Gpu) | Self::Cuda(_) => &[Fp32, Fp16],
            Self::OpenVino(OpenVino::Npu) => &[Fp16],
            Self::TensorRt(_) => &[Fp32, Fp16, Bf16],
        }
    }

    /// This precision, or what [`Precision::Auto`] is where nothing was measured.
    pub(super) fn precision(self, asked: Precision) -> Precision {
        match asked {
            Precision::Auto => self.precisions().first().copied().unwrap_or(Precision::Fp32),
            asked => asked,
        }
    }

    /// The precision of the graph it is given: some providers lower it themselves.
    pub(super) fn graph_precision(self, precision: Precision) -> Precision {
        match self {
            Self::Auto | Self::Cpu | Self::Cuda(_) => precision,
            Self::OpenVino(_) | Self::TensorRt(_) => Precision::Fp32,
        }
    }

    /// Images of one run, where nobody says: a GPU is not filled by one.
    pub fn default_batch(self) -> usize {
        match self {
            Self::Auto | Self::Cpu | Self::OpenVino(_) => 1,
            Self::Cuda(_) | Self::TensorRt(_) => 8,
        }
    }

    /// How attention is best written for it.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Auto | Self::Cpu => Dialect::Fused,
            Self::Cuda(_) => Dialect::Gpu,
            Self::OpenVino(_) | Self::TensorRt(_) => Dialect::Plain,
        }
    }

    /// An error where the device cannot compute in this precision.
    pub(super) fn check(self, precision: Precision) -> Result<(), BackboneError> {
        let list = |items: Vec<String>| items.join(", ");
        if !self.precisions().contains(&precision) {
            let own = list(self.precisions().iter().map(Precision::to_string).collect());
            let others = Self::ALL.into_iter().filter(|device| device.precisions().contains(&precision));
            return Err(BackboneError::Precision(format!(
                "{self} does not compute in {precision} but in {own}; {precision} is for --device {}",
                list(others.map(|device| device.to_string()).collect())
            )));
        }
        // OpenVINO would compute in fp32 without a word.
        if (self, precision) == (Self::OpenVino(OpenVino::Cpu), Precision::Bf16) && !processor_has_bf16() {
            return Err(BackboneError::Precision(format!(
                "this processor has no bf16 (avx512_bf16, amx_bf16, or ARM's bf16), and {self} would compute in fp32: leave \
                 --precision {precision} out"
            )));
        }
        Ok(())
    }

    /// Tells the session to use it. What else is in `builder` stays.
    pub(super) fn register(self, builder: SessionBuilder, setup: &Setup) -> ort::Result<SessionBuilder> {
        fn with<P: ArbitrarilyConfigurableExecutionProvider>(provider: P, options: Options) -> P {
            options.into_iter().fold(provider, |provider, (key, value)| provider.with_arbitrary_config(key, value))
        }
        let options = self.options(setup);
        let providers = match self {
            Self::Auto | Self::Cpu => return Ok(builder),
            Self::OpenVino(_) => vec![with(ep::OpenVINO::default(), options).build()],
            Self::Cuda(_) => vec![with(ep::CUDA::default(), options).build()],
            // What TensorRT does not take, CUDA does.
            Self::TensorRt(gpu) => vec![
                with(ep::TensorRT::default(), options).build(),
                with(ep::CUDA::default(), Self::Cuda(gpu).options(setup)).build(),
            ],
        };
        let providers: Vec<_> = providers.into_iter().map(|provider| provider.error_on_failure()).collect();
        Ok(builder.with_execution_providers(providers)?)
    }

    /// The provider's own options.
    fn options(self, setup: &Setup) -> Options {
        let Setup { input: (input, [a, b, c]), precision, threads, batch, compiled } = setup;
        let compiled = compiled.map(|folder| folder.display().to_string());
        match self {
            Self::Auto | Self::Cpu => Vec::new(),
            Self::OpenVino(unit) => {
                let hint = match precision {
                    Precision::Fp16 => "f16",
                    Precision::Bf16 => "bf16",
                    Precision::Auto | Precision::Fp32 | Precision::Int8 => "f32",
                };
                let config = format!(r#"{{"{unit}":{{"INFERENCE_PRECISION_HINT":"{hint}"}}}}"#);
                let mut options = vec![("device_type", unit.to_string()), ("load_config", config)];
                match unit {
                    OpenVino::Cpu => options.push(("num_of_threads", threads.to_string())),
                    OpenVino::Gpu | OpenVino::Npu => options.extend(compiled.map(|folder| ("cache_dir", folder))),
                }
                options
            }
            // TF32 would be a precision of its own: ten bits.
            Self::Cuda(gpu) => vec![("device_id", gpu.to_string()), ("use_tf32", "0".into())],
            Self::TensorRt(gpu) => {
                let shape = |batch| format!("{input}:{batch}x{a}x{b}x{c}");
                let is = |wanted| u8::from(*precision == wanted).to_string();
                let mut options = vec![
                    ("device_id", gpu.to_string()),
                    ("trt_fp16_enable", is(Precision::Fp16)),
                    ("trt_bf16_enable", is(Precision::Bf16)),
                    ("trt_profile_min_shapes", shape(1)),
                    ("trt_profile_opt_shapes", shape(*batch)),
                    ("trt_profile_max_shapes", shape(*batch)),
                ];
                if let Some(folder) = compiled {
                    options.extend([
                        ("trt_engine_cache_enable", "1".into()),
                        ("trt_engine_cache_path", folder.clone()),
                        ("trt_timing_cache_enable", "1".into()),
                        ("trt_timing_cache_path", folder),
                    ]);
                }
                options
            }
        }
    }
}

type Options = Vec<(&'static str, String)>;

/// Whether `MOSTREAM_EXACT` is set in the environment: what nobody has asked for is the CPU in fp32, which finds the same boxes on every machine.
pub(super) fn is_exact() -> bool {
    std::env::var_os("MOSTREAM_EXACT").is_some_and(|value| !value.is_empty())
}

/// As Linux describes it; empty elsewhere.
pub(super) fn processor_info() -> String {
    std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()
}

fn processor_has_bf16() -> bool {
    let text = processor_info();
    let flags = text.lines().find(|line| line.starts_with("flags") || line.starts_with("Features")).unwrap_or_default();
    flags.split_whitespace().any(|flag| ["avx512_bf16", "amx_bf16", "bf16"].contains(&flag))
}

impl Display for OpenVino {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        out.write_str(match self {
            Self::Cpu => "CPU",
            Self::Gpu => "GPU",
            Self::Npu => "NPU",
        })
    }
}

/// As on the command line.
impl Display for Device {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        match self {
            Self::Auto => out.write_str("auto"),
            Self::Cpu => out.write_str("cpu"),
            Self::OpenVino(unit) => write!(out, "openvino:{unit}"),
            Self::Cuda(gpu) => write!(out, "cuda:{gpu}"),
            Self::TensorRt(gpu) => write!(out, "tensorrt:{gpu}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, which) = text.split_once(':').map_or((text, None), |(name, which)| (name, Some(which)));
        let gpu = || which.map_or(Some(0), |which| which.parse().ok());
        let device = match name {
            "auto" if which.is_none() => Some(Self::Auto),
            "cpu" if which.is_none() => Some(Self::Cpu),
            "cuda" => gpu().map(Self::Cuda),
            "tensorrt" => gpu().map(Self::TensorRt),
            "openvino" => [OpenVino::Cpu, OpenVino::Gpu, OpenVino::Npu]
                .into_iter()
                .find(|unit| unit.to_string().eq_ignore_ascii_case(which.unwrap_or("CPU")))
                .map(Self::OpenVino),
            _ => None,
        };
        let expected = "expected auto, cpu, openvino[:CPU|GPU|NPU], cuda[:N] or tensorrt[:N]";
        device.ok_or_else(|| format!("{text:?} is no device ({expected})"))
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Devices that work side by side: one, or GPUs of one kind (`cuda:0,1`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    first: Device,
    /// The numbers of the other GPUs.
    others: [Option<u16>; 7],
}

impl From<Device> for Devices {
    fn from(first: Device) -> Self {
        Self { first, others: [None; 7] }
    }
}

impl Devices {
    pub fn all(self) -> Vec<Device> {
        let other = |gpu: u16| match self.first {
            Device::TensorRt(_) => Device::TensorRt(gpu),
            _ => Device::Cuda(gpu),
        };
        std::iter::once(self.first).chain(self.others.into_iter().flatten().map(other)).collect()
    }

    pub fn first(self) -> Device {
        self.first
    }
}

/// As on the command line.
impl Display for Devices {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        write!(out, "{}", self.first)?;
        self.others.iter().flatten().try_for_each(|gpu| write!(out, ",{gpu}"))
    }
}

impl FromStr for Devices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let first: Device = parts.next().unwrap_or_default().parse()?;
        let mut devices = Self::from(first);
        let mut places = devices.others.iter_mut();
        let (Device::Cuda(number) | Device::TensorRt(number)) = first else {
            return match parts.next() {
                None => Ok(devices),
                Some(_) => Err(format!("{text:?}: only GPUs work side by side, by their numbers, such as cuda:0,1")),
            };
        };
        let mut numbers = vec![number];
        for part in parts {
            let gpu: u16 = part.parse().map_err(|_| format!("{text:?}: {part:?} is no number of a GPU"))?;
            if numbers.contains(&gpu) {
                return Err(format!("{text:?} names GPU {gpu} twice"));
            }
            numbers.push(gpu);
            *places.next().ok_or_else(|| format!("{text:?} names more than 8 GPUs"))? = Some(gpu);
        }
        Ok(devices)
    }
}

/// As on the command line.
impl Display for Precision {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        out.write_str(match self {
            Self::Auto => "auto",
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Device::Auto.precisions();
        let found = all.iter().copied().find(|precision| precision.to_string() == text);
        found.ok_or_else(|| format!("{text:?} is no precision (expected auto, fp32, fp16, bf16 or int8)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: (&str, [u32; 3]) = ("image", [237, 320, 3]);

    fn option(device: Device, setup: &Setup, key: &str) -> Option<String> {
        let found: Vec<_> = device.options(setup).into_iter().filter(|(name, _)| *name == key).collect();
        assert!(found.len() < 2, "{found:?}");
        found.into_iter().next().map(|(_, value)| value)
    }

    #[test]
    fn tensorrt_is_told_the_batch_the_precision_and_where_engines_are_kept() {
        let folder = Path::new("/kept/engines");
        let mut setup =
            Setup { precision: Precision::Fp16, threads: 2, batch: 8, input: INPUT, compiled: Some(folder) };
        let device = Device::TensorRt(1);
        for (key, value) in [
            ("device_id", "1"),
            ("trt_profile_min_shapes", "image:1x237x320x3"),
            ("trt_profile_opt_shapes", "image:8x237x320x3"),
            ("trt_profile_max_shapes", "image:8x237x320x3"),
            ("trt_fp16_enable", "1"),
            ("trt_bf16_enable", "0"),
            ("trt_engine_cache_enable", "1"),
            ("trt_engine_cache_path", "/kept/engines"),
        ] {
            assert_eq!(option(device, &setup, key).as_deref(), Some(value), "{key}");
        }
        setup = Setup { precision: Precision::Fp32, compiled: None, ..setup };
        assert_eq!(option(device, &setup, "trt_fp16_enable").as_deref(), Some("0"));
        assert_eq!(option(device, &setup, "trt_engine_cache_enable"), None);
    }

    #[test]
    fn openvino_is_told_its_unit_and_precision() {
        let setup = |precision| Setup { precision, threads: 3, batch: 1, input: INPUT, compiled: None };
        let hint = |unit, precision| {
            let text = option(Device::OpenVino(unit), &setup(precision), "load_config").unwrap();
            let config: serde_json::Value = serde_json::from_str(&text).unwrap();
            config[unit.to_string()]["INFERENCE_PRECISION_HINT"].as_str().unwrap().to_owned()
        };
        assert_eq!(hint(OpenVino::Cpu, Precision::Fp32), "f32");
        assert_eq!(hint(OpenVino::Cpu, Precision::Bf16), "bf16");
        assert_eq!(hint(OpenVino::Gpu, Precision::Fp16), "f16");
        let device = Device::OpenVino(OpenVino::Cpu);
        assert_eq!(option(device, &setup(Precision::Fp32), "num_of_threads").as_deref(), Some("3"));
        assert_eq!(option(device, &setup(Precision::Fp32), "device_type").as_deref(), Some("CPU"));
    }

    #[test]
    fn devices_are_written_as_they_are_read() {
        for device in Device::ALL.into_iter().chain([Device::Auto, Device::Cuda(3)]) {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!("openvino".parse(), Ok(Device::OpenVino(OpenVino::Cpu)));
        assert_eq!("openvino:gpu".parse(), Ok(Device::OpenVino(OpenVino::Gpu)));
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        let two: Devices = "cuda:0,2".parse().unwrap();
        assert_eq!((two.all(), two.to_string().as_str()), (vec![Device::Cuda(0), Device::Cuda(2)], "cuda:0,2"));
        assert_eq!("cpu".parse::<Devices>().unwrap().all(), [Device::Cpu]);
        for wrong in ["cuda:0,0", "cuda:0,x", "cpu,1", "auto,cpu", "cuda:0,", "cuda:0,cuda:1"] {
            assert!(wrong.parse::<Devices>().is_err(), "{wrong}");
        }
        for wrong in ["", "gpu", "cpu:0", "auto:", "cuda:", "cuda:-1", "cuda:x", "openvino:TPU", "CPU"] {
            let why = wrong.parse::<Device>().unwrap_err();
            assert!(why.contains("openvino[:CPU|GPU|NPU]"), "{why}");
        }
    }
}
