//! A session of ONNX Runtime: made on the device asked for, and run.

use super::cache::{Cache, key};
use super::graph::{self, Dialect, Feature, INPUT};
use super::library::{self, environment, find_library, providers};
use super::memory::{Element, MemoryKind, RunMemory, RunShape};
use super::onnx::{UserModel, lowered};
use super::provider::{Device, OpenVino, Precision, Setup, processor_info};
use super::tensorrt::{EngineKey, GpuMachine};
use super::{BackboneError, Checkpoint, Model, Work};
use crate::geometry::{Grid, PatchLayout};
use ndarray::Array2;
use ort::environment::Environment;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue, SharedSessionInner};
use ort::value::TensorRef;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Attention takes time with the square of the patches; this many are 1024×1024 pixels at patch 8.
const MAX_PATCHES: usize = 16_384;
/// Raised when the same checkpoint gives another graph.
const GRAPH_VERSION: u32 = 2;
/// Runs at once on a GPU: one computes while another's pictures and features are copied.
const GPU_RUNS: usize = 2;

/// How a session is run.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    pub device: Device,
    pub precision: Precision,
    /// Images of one run, at most; by default what pays on the device.
    pub batch: Option<usize>,
    /// Threads of one run; by default as many as the process may use cores.
    pub threads: Option<usize>,
    /// What was measured to be the fastest, of what `device` and `precision` leave open: see [`Self::chosen`].
    pub chosen: Option<(Device, Precision)>,
    /// Why nothing was measured, where it should have been.
    pub not_measured: Option<String>,
    /// Why devices do not work that would be preferred, as it was measured.
    pub passed_over: Vec<String>,
    /// The ONNX Runtime library; by default what [`find_library`] finds. A process loads one.
    pub library: Option<PathBuf>,
    /// The folder for graphs, optimised models and engines; none is kept by default.
    pub cache: Option<PathBuf>,
}

impl SessionOptions {
    /// Threads of one run.
    pub(super) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().ok().map(usize::from);
        self.threads.or_else(cores).unwrap_or(1)
    }
}

/// Where a session runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Never [`Device::Auto`].
    pub device: Device,
    /// Never [`Precision::Auto`].
    pub precision: Precision,
    /// The graph's nodes that the device left to the CPU, and all; of the nodes as the provider put them together, counted in ONNX
    /// Runtime's profile of one run. Nothing is counted on the CPU itself.
    pub nodes_on_cpu: Option<(usize, usize)>,
    /// Why devices that would have been preferred are not used.
    pub passed_over: Vec<String>,
}

/// A checkpoint ready to run on images of one size.
#[derive(Debug)]
pub struct Backbone {
    pub(super) session: Mutex<Session>,
    shared: Arc<SharedSessionInner>,
    layout: PatchLayout,
    shape: RunShape,
    /// `[N, D]` of the middle block's keys, where they are put out beside the values.
    middle: Option<[usize; 2]>,
    /// The values are the middle block's keys.
    is_half: bool,
    /// For an ONNX file of the user's own: how it is run, the mean and the standard deviation of its pixels.
    user: Option<(UserModel, [f32; 3], [f32; 3])>,
    memory: MemoryKind,
    /// See [`Model::bytes`].
    bytes: usize,
    /// Of [`Self::features`].
    own: Mutex<Option<RunMemory>>,
    placement: Placement,
    warnings: Vec<String>,
}

impl Checkpoint {
    /// How the patches lie over an image of `width` × `height` pixels; an error where there are none or too many.
    pub fn layout(&self, width: u32, height: u32) -> Result<PatchLayout, BackboneError> {
        layout(self.patch(), width, height)
    }
}

impl Backbone {
    /// Makes the session for images of `width` × `height` pixels, which need not be a multiple of the patch. Loads the ONNX
    /// Runtime library on the first call of the process.
    pub fn open(
        checkpoint: &Checkpoint,
        feature: Feature,
        width: u32,
        height: u32,
        options: &SessionOptions,
    ) -> Result<Self, BackboneError> {
        Self::open_as(None, checkpoint, (feature, false), (width, height), options)
    }

    /// Like [`Self::open`], of a checkpoint; a run gives the middle block's keys ([`RunMemory::middle`]), too.
    pub fn open_with_middle(
        checkpoint: &Checkpoint,
        feature: Feature,
        width: u32,
        height: u32,
        options: &SessionOptions,
    ) -> Result<Self, BackboneError> {
        Self::open_as(None, checkpoint, (feature, true), (width, height), options)
    }

    /// Like [`Self::open`], with attention written in this dialect.
    pub fn open_in(
        dialect: Dialect,
        checkpoint: &Checkpoint,
        feature: Feature,
        width: u32,
        height: u32,
        options: &SessionOptions,
    ) -> Result<Self, BackboneError> {
        Self::open_as(Some(dialect), checkpoint, (feature, false), (width, height), options)
    }

    fn open_as(
        dialect: Option<Dialect>,
        checkpoint: &Checkpoint,
        (feature, has_middle): (Feature, bool),
        (width, height): (u32, u32),
        options: &SessionOptions,
    ) -> Result<Self, BackboneError> {
        let layout = layout(checkpoint.patch(), width, height)?;
        if let Some(user) = &checkpoint.user {
            check_user(user, checkpoint, (feature, has_middle), &layout)?;
        }
        if options.device != Device::Auto {
            options.device.check(options.device.precision(options.precision))?;
        }
        let mut passed_over = Vec::new();
        if let Some((device, precision)) = options.chosen {
            let chosen = SessionOptions { device, precision, chosen: None, ..options.clone() };
            match Self::open_as(dialect, checkpoint, (feature, has_middle), (width, height), &chosen) {
                Ok(mut backbone) => {
                    backbone.placement.passed_over.clone_from(&options.passed_over);
                    return Ok(backbone);
                }
                // What is wrong with the model or the images is told by those that come next.
                Err(
                    BackboneError::Device { why, .. }
                    | BackboneError::LibraryMissing(why)
                    | BackboneError::Runtime(why),
                ) => {
                    passed_over.push(format!(
                        "{device} in {precision}, which was measured to be the fastest, does not work: {why}"
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        // Every library has the CPU.
        let library = match library::loaded()
            .filter(|_| matches!(options.device, Device::Auto | Device::Cpu) && options.library.is_none())
        {
            Some(library) => library,
            None => find_library(options.library.as_deref(), options.device)?,
        };
        let loaded = environment(&library).or_else(|error| {
            let plain = find_library(options.library.as_deref(), Device::Cpu)?;
            if options.device != Device::Auto || plain == library {
                return Err(error);
            }
            passed_over.push(error.to_string());
            environment(&plain)
        });
        let (environment, version) = loaded?;
        let providers = providers()?;
        let has =
            |device: &Device| device.provider().is_none_or(|provider| providers.iter().any(|p| p == provider.name));
        let devices = match options.device {
            Device::Auto => {
                let works = |device: &Device| has(device) && device.check(device.precision(options.precision)).is_ok();
                Device::automatic().into_iter().filter(works).collect()
            }
            device if has(&device) => vec![device],
            device => {
                let name = device.provider().map_or("its provider", |provider| provider.name);
                let (library, has) = (library.display(), providers.join(", "));
                return Err(missing(
                    device,
                    &format!("the ONNX Runtime library {library} lacks {name} (it has {has})"),
                ));
            }
        };
        for &device in &devices {
            let dialect = dialect.unwrap_or(device.dialect());
            let opening = Opening {
                checkpoint,
                feature,
                has_middle,
                dialect,
                layout,
                environment: &environment,
                version: &version,
            };
            match opening.on(device, options) {
                Ok(mut backbone) => {
                    backbone.placement.passed_over = passed_over;
                    return Ok(backbone);
                }
                Err(BackboneError::Device { device, why, .. }) if options.device == Device::Auto => {
                    passed_over.push(format!("{device} does not work: {why}"));
                }
                Err(error) => return Err(error),
            }
        }
        // None is left for the precision: the CPU's reason says which have it.
        Device::Cpu.check(Device::Cpu.precision(options.precision))?;
        Err(BackboneError::runtime(passed_over.join("; ")))
    }

    /// How the patches lie over the image.
    pub fn layout(&self) -> PatchLayout {
        self.layout
    }

    /// Images that are best given to [`Self::features_batch`] at once, at most.
    pub fn batch(&self) -> usize {
        self.shape.batch
    }

    /// Where it runs.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// What a user should know about it, a line each: where it runs, unless that is just the CPU, a cache of no use, and memory
    /// that is slower than it could be.
    pub fn notes(&self) -> Vec<String> {
        let warnings = self.warnings.iter().map(|warning| format!("warning: {warning}"));
        self.placement.note().into_iter().chain(warnings).collect()
    }

    /// Packed RGB `[height, width, 3]` → features `[N, D]`, or `[heads, N]` for the attention.
    pub fn features(&self, rgb: &[u8]) -> Result<Array2<f32>, BackboneError> {
        let mut all = self.features_batch(&[rgb])?;
        all.pop().ok_or_else(|| BackboneError::runtime("no features"))
    }

    /// The same for several images, [`Self::batch`] of them in one run.
    pub fn features_batch(&self, images: &[&[u8]]) -> Result<Vec<Array2<f32>>, BackboneError> {
        let (width, height) = (self.shape.width, self.shape.height);
        if let Some(image) = images.iter().find(|image| image.len() != 3 * width * height) {
            return Err(BackboneError::Pixels { width, height, got: image.len() });
        }
        let mut all = Vec::with_capacity(images.len());
        for images in images.chunks(self.shape.batch) {
            let own = || self.own.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = own().take().filter(|memory| memory.shape().batch >= images.len());
            let mut memory = match kept {
                Some(memory) => memory,
                None => RunMemory::new(&self.memory, RunShape { batch: images.len(), ..self.shape })?,
            };
            let pixels =
                memory.pixels(images.len()).into_iter().flat_map(|all| all.chunks_exact_mut(3 * width * height));
            pixels.zip(images).for_each(|(pixels, image)| pixels.copy_from_slice(image));
            self.run(&mut memory, images.len())?;
            all.extend((0..images.len()).map(|index| memory.values(index).into_owned()));
            *own() = Some(memory);
        }
        Ok(all)
    }

    /// A run of the user's own file, whose pixels and features are turned on the way: `[count, height, width, 3]` → `[N, D]` each.
    fn features_of_user(
        &self,
        (user, mean, std): &(UserModel, [f32; 3], [f32; 3]),
        rgb: &[u8],
        count: usize,
    ) -> Result<Vec<Array2<f32>>, BackboneError> {
        let RunShape { width, height, .. } = self.shape;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let planes = if user.is_planar { user.planes(rgb, width * height, *mean, *std) } else { Vec::new() };
        let input = match user.is_planar {
            true => SessionInputValue::from(
                TensorRef::from_array_view(([count, 3, height, width], &planes[..])).map_err(BackboneError::runtime)?,
            ),
            false => {
                TensorRef::from_array_view(([count, height, width, 3], rgb)).map_err(BackboneError::runtime)?.into()
            }
        };
        let output = session.run(ort::inputs![user.input.as_str() => input]).map_err(BackboneError::runtime)?;
        let (shape, values) =
            output[user.output.as_str()].try_extract_tensor::<f32>().map_err(BackboneError::runtime)?;
        user.features(shape, values, count, &self.layout).map_err(BackboneError::Size)
    }

    fn run_user(
        &self,
        user: &(UserModel, [f32; 3], [f32; 3]),
        memory: &mut RunMemory,
        count: usize,
    ) -> Result<(), BackboneError> {
        let rgb = memory.pixels(count).ok_or_else(|| BackboneError::runtime("a picture is not there"))?;
        let all = self.features_of_user(user, rgb, count)?;
        let places = memory.output_mut().into_iter().flat_map(|all| all.chunks_exact_mut(self.shape.values().max(1)));
        for (place, features) in places.zip(all) {
            if place.len() != features.len() {
                return Err(BackboneError::runtime(format!("{} features, and {} before", features.len(), place.len())));
            }
            place.iter_mut().zip(&features).for_each(|(place, value)| *place = *value);
        }
        Ok(())
    }

    /// One run on a black image; of a user's own file it shows what comes out.
    fn try_out(&mut self) -> Result<(), BackboneError> {
        let black = vec![0; 3 * self.shape.width * self.shape.height];
        match &self.user {
            Some(user) => {
                let first = self.features_of_user(user, &black, 1)?.pop();
                (self.shape.rows, self.shape.cols) = first.map_or((0, 0), |features| features.dim());
            }
            None => {
                self.features(&black)?;
            }
        }
        Ok(())
    }
}

impl Model for Backbone {
    fn layout(&self) -> PatchLayout {
        self.layout
    }

    fn device(&self) -> String {
        self.placement.device.to_string()
    }

    fn precision(&self) -> Precision {
        self.placement.precision
    }

    fn batch(&self) -> usize {
        self.shape.batch
    }

    fn runs_at_once(&self) -> usize {
        match self.placement.device {
            Device::Cuda(_) | Device::TensorRt(_) if self.user.is_none() => GPU_RUNS,
            _ => 1,
        }
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn memory(&self) -> Result<RunMemory, BackboneError> {
        let memory = RunMemory::with_middle(&self.memory, self.shape, self.middle)?;
        Ok(if self.is_half { memory.of_half() } else { memory })
    }

    fn run(&self, memory: &mut RunMemory, count: usize) -> Result<(), BackboneError> {
        let ran = match &self.user {
            Some(user) => self.run_user(user, memory, count),
            None => memory.run(&self.shared, count),
        };
        ran.map_err(|error| match error {
            BackboneError::Runtime(why) => BackboneError::Failed { device: self.device(), why },
            error => error,
        })
    }
}

impl Placement {
    /// A line for people, where it is not just the CPU in fp32.
    pub fn note(&self) -> Option<String> {
        let Self { device, precision, nodes_on_cpu, passed_over } = self;
        if (*device, *precision) == (Device::Cpu, Precision::Fp32) && passed_over.is_empty() {
            return None;
        }
        let mut note = format!("the model runs on {device} in {precision}");
        if let Some((left @ 1.., all)) = nodes_on_cpu {
            note += &format!(", but {left} of its {all} nodes on the CPU");
        }
        if !passed_over.is_empty() {
            note += &format!(" ({})", passed_over.join("; "));
        }
        Some(note)
    }
}

/// What a session is made of, whatever runs it.
struct Opening<'a> {
    checkpoint: &'a Checkpoint,
    feature: Feature,
    has_middle: bool,
    dialect: Dialect,
    layout: PatchLayout,
    environment: &'a Environment,
    /// Of ONNX Runtime.
    version: &'a str,
}

impl Opening<'_> {
    fn on(&self, device: Device, options: &SessionOptions) -> Result<Backbone, BackboneError> {
        let Self { checkpoint, feature, has_middle, dialect, layout, .. } = self;
        let precision = device.precision(options.precision);
        let is_single = checkpoint.user.as_ref().is_some_and(|user| user.is_single);
        let batch = if is_single { 1 } else { options.batch.unwrap_or(device.default_batch()).max(1) };
        let threads = options.threads();
        let mut store = Store::open(options.cache.as_deref());
        let graph_precision = device.graph_precision(precision);
        if checkpoint.is_onnx() && graph_precision != Precision::Fp32 {
            return Err(BackboneError::Precision(format!(
                "{} is an ONNX file, which {device} computes in what it is written in: leave --precision {precision} out",
                checkpoint.id()
            )));
        }
        let graph_key = key(&[
            checkpoint.hash().as_bytes(),
            format!("{GRAPH_VERSION} {:?} {feature:?} {dialect:?} {layout:?} {graph_precision}", checkpoint.measures)
                .as_bytes(),
            if *has_middle { b"middle" } else { b"" },
        ]);
        let graph = |store: &mut Store| {
            if checkpoint.is_onnx() {
                return Ok(checkpoint.bytes().to_vec());
            }
            store.read(&graph_key).map_or_else(
                || {
                    let graph = graph::build(checkpoint, *feature, *has_middle, *dialect, layout)?;
                    let graph = lowered(graph, graph_precision).map_err(BackboneError::runtime)?;
                    store.write(&graph_key, &graph);
                    Ok(graph)
                },
                Ok,
            )
        };
        let builder = || session_builder(self.environment, threads);
        let (rows, cols) = match feature {
            Feature::ClsAttention => (checkpoint.heads(), layout.grid.patches()),
            _ => (layout.grid.patches(), checkpoint.dim()),
        };
        let shape = RunShape {
            batch,
            width: layout.image_width as usize,
            height: layout.image_height as usize,
            rows,
            cols,
            element: if graph_precision == Precision::Fp16 { Element::F16 } else { Element::F32 },
        };
        let not_measured = || {
            let why = options.not_measured.iter();
            why.map(|why| format!("what the model is fastest on is not measured: {why}"))
        };
        let backbone = |session: Session, cache_warning: Option<String>| Backbone {
            shared: session.inner(),
            session: Mutex::new(session),
            layout: *layout,
            shape,
            middle: has_middle.then(|| [layout.grid.patches(), checkpoint.dim()]),
            is_half: *feature == Feature::MiddleKeys,
            user: checkpoint.user.clone().map(|user| (user, checkpoint.measures.mean, checkpoint.measures.std)),
            memory: MemoryKind::Plain,
            bytes: self.bytes(batch),
            own: Mutex::default(),
            placement: Placement { device, precision, nodes_on_cpu: None, passed_over: Vec::new() },
            warnings: not_measured().chain(cache_warning).collect(),
        };
        if device == Device::Cpu {
            let session_key = key(&[graph_key.as_bytes(), self.version.as_bytes(), processor().as_bytes()]);
            let session = on_cpu(&builder, &mut store, &session_key, graph)?;
            let mut backbone = backbone(session, store.warning);
            if checkpoint.is_onnx() {
                backbone.try_out()?;
            }
            return Ok(backbone);
        }

        let graph = graph(&mut store)?;
        let compiled = match device {
            Device::TensorRt(gpu) => {
                let (machine, onnx_runtime) = (GpuMachine::here(gpu), self.version.to_owned());
                let engine = EngineKey { graph: graph_key, precision, batch, machine, onnx_runtime };
                store.folder(|cache| engine.folder(cache))
            }
            Device::OpenVino(OpenVino::Gpu | OpenVino::Npu) => {
                store.folder(|cache| cache.folder_of("compiled", &device.to_string(), self.version))
            }
            _ => None,
        };
        let setup = Setup { input: self.input(), precision, threads, batch, compiled: compiled.as_deref() };
        let failed = |error: &dyn std::fmt::Display| missing(device, &error.to_string());
        let scratch = Scratch::new().map_err(|error| failed(&error))?;
        let session = builder()
            .and_then(|builder| device.register(builder, &setup))
            .and_then(|builder| builder.with_profiling(scratch.0.join("profile"))?.commit_from_memory(&graph));
        let mut backbone = backbone(session.map_err(|error| failed(&error))?, store.warning);
        if matches!(device, Device::Cuda(_) | Device::TensorRt(_)) && !checkpoint.is_onnx() {
            let session = backbone.session.get_mut().unwrap_or_else(PoisonError::into_inner);
            let kind = MemoryKind::page_locked(session).map_err(BackboneError::runtime);
            match kind.and_then(|kind| RunMemory::new(&kind, RunShape { batch: 1, ..shape }).map(|_| kind)) {
                Ok(kind) => backbone.memory = kind,
                Err(why) => backbone.warnings.push(format!("{device} reads pageable memory, which is slower: {why}")),
            }
        }
        backbone.try_out().map_err(|error| failed(&error))?;
        let session = backbone.session.get_mut().unwrap_or_else(PoisonError::into_inner);
        let profile = session.end_profiling().map_err(|error| failed(&error))?;
        let nodes = nodes_on_cpu(&std::fs::read(profile).map_err(|error| failed(&error))?);
        backbone.placement.nodes_on_cpu = nodes;
        match nodes {
            Some((left, all)) if left == all => Err(failed(&"it took none of the model's nodes")),
            _ => Ok(backbone),
        }
    }
}

impl Opening<'_> {
    /// About what the session takes: the weights as they are and as the kernels want them, and what one block makes.
    fn bytes(&self, batch: usize) -> usize {
        let Some(work) = Work::of(self.checkpoint, self.feature, &self.layout) else {
            return 2 * self.checkpoint.bytes().len();
        };
        let tokens = self.layout.grid.patches() + 1;
        let scores = self.checkpoint.heads() * tokens * tokens;
        let activations = 8 * tokens * self.checkpoint.dim();
        2 * work.weight_bytes as usize + batch * size_of::<f32>() * (scores + activations)
    }

    /// The input's name, and its shape without the batch.
    fn input(&self) -> (&str, [u32; 3]) {
        let PatchLayout { image_width: width, image_height: height, .. } = self.layout;
        match &self.checkpoint.user {
            Some(user) if user.is_planar => (&user.input, [3, height, width]),
            Some(user) => (&user.input, [height, width, 3]),
            None => (INPUT, [height, width, 3]),
        }
    }
}

/// Whether an ONNX file of the user's own gives this feature of images of this layout.
fn check_user(
    user: &UserModel,
    checkpoint: &Checkpoint,
    (feature, has_middle): (Feature, bool),
    layout: &PatchLayout,
) -> Result<(), BackboneError> {
    let id = checkpoint.id();
    if feature != Feature::Keys || has_middle {
        let reason = "it is an ONNX file, which gives its own features and no others (--feature, dino-seg and inspect need a checkpoint)";
        return Err(BackboneError::Checkpoint { name: id.to_owned(), reason: reason.to_owned() });
    }
    let (width, height, patch) = (layout.image_width, layout.image_height, layout.patch);
    match user.size {
        Some((w, h)) if (w, h) != (width, height) => {
            Err(BackboneError::Size(format!("{id} takes images of {w}x{h} pixels (asked for {width}x{height})")))
        }
        None if !width.is_multiple_of(patch) || !height.is_multiple_of(patch) => {
            Err(BackboneError::Size(format!("{id} takes whole patches of {patch} pixels (asked for {width}x{height})")))
        }
        _ => Ok(()),
    }
}

/// What was said about the device → an error that says what to do.
fn missing(device: Device, why: &str) -> BackboneError {
    // ONNX Runtime puts the place in its source first.
    let why = why.rsplit("[ONNXRuntimeError] : ").next().unwrap_or(why);
    let why = why.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    BackboneError::Device { device, why, needs: device.provider().map_or("nothing", |provider| provider.needs) }
}

/// The session on the CPU, whose optimised model is kept.
fn on_cpu(
    builder: &dyn Fn() -> ort::Result<SessionBuilder>,
    store: &mut Store,
    session_key: &blake3::Hash,
    graph: impl FnOnce(&mut Store) -> Result<Vec<u8>, BackboneError>,
) -> Result<Session, BackboneError> {
    let kept = store.read(session_key).and_then(|model| {
        let builder = builder().and_then(|b| Ok(b.with_optimization_level(GraphOptimizationLevel::Disable)?));
        builder.and_then(|mut builder| builder.commit_from_memory(&model)).ok()
    });
    if let Some(session) = kept {
        return Ok(session);
    }
    let graph = graph(store)?;
    let unkept = || builder().and_then(|mut builder| builder.commit_from_memory(&graph));
    let Some(scratch) = store.cache.as_ref().map(|(_, cache)| cache.scratch()) else {
        return unkept().map_err(BackboneError::runtime);
    };
    let optimised =
        builder().and_then(|builder| builder.with_optimized_model_path(&scratch)?.commit_from_memory(&graph));
    match std::fs::read(&scratch) {
        Ok(model) => store.write(session_key, &model),
        Err(error) => store.failed(&error),
    }
    let _ = std::fs::remove_file(&scratch);
    // The reason may be the file it could not write.
    optimised.or_else(|_| unkept()).map_err(BackboneError::runtime)
}

/// Nodes that ran on the CPU, and all, in ONNX Runtime's profile of a run.
fn nodes_on_cpu(profile: &[u8]) -> Option<(usize, usize)> {
    let events: Vec<serde_json::Value> = serde_json::from_slice(profile).ok()?;
    let is_run = |event: &&serde_json::Value| {
        event["cat"] == "Node" && event["name"].as_str().is_some_and(|name| name.ends_with("_kernel_time"))
    };
    let providers: Vec<_> =
        events.iter().filter(is_run).filter_map(|event| event["args"]["provider"].as_str()).collect();
    let left = providers.iter().filter(|provider| **provider == "CPUExecutionProvider").count();
    (!providers.is_empty()).then_some((left, providers.len()))
}

/// The cache, where there is one, and why it is of no use.
struct Store {
    cache: Option<(PathBuf, Cache)>,
    warning: Option<String>,
}

impl Store {
    fn open(folder: Option<&Path>) -> Self {
        let mut store = Self { cache: None, warning: None };
        match folder.map(|folder| (folder, Cache::open(folder))) {
            None => {}
            Some((folder, Ok(cache))) => store.cache = Some((folder.to_owned(), cache)),
            Some((folder, Err(error))) => store.warning = Some(unusable(folder, &error)),
        }
        store
    }

    fn read(&self, key: &blake3::Hash) -> Option<Vec<u8>> {
        self.cache.as_ref()?.1.read(key)
    }

    fn write(&mut self, key: &blake3::Hash, content: &[u8]) {
        if let Some(Err(error)) = self.cache.as_ref().map(|(_, cache)| cache.write(key, content)) {
            self.failed(&error);
        }
    }

    fn folder(&mut self, of: impl FnOnce(&Cache) -> std::io::Result<PathBuf>) -> Option<PathBuf> {
        let made = of(&self.cache.as_ref()?.1);
        made.map_err(|error| self.failed(&error)).ok()
    }

    fn failed(&mut self, error: &std::io::Error) {
        self.warning = self.cache.as_ref().map(|(folder, _)| unusable(folder, error));
    }
}

fn unusable(folder: &Path, error: &std::io::Error) -> String {
    format!("the cache {} is not used: {error}", folder.display())
}

/// A folder that nobody else can write to, and that goes with this.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let folder = std::env::temp_dir().join(format!("mostream-{}-{nanos}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How the patches lie over an image of this size; an error where there are none or too many.
pub(super) fn layout(patch: u32, width: u32, height: u32) -> Result<PatchLayout, BackboneError> {
    let grid = Grid { rows: height.div_ceil(patch) as usize, cols: width.div_ceil(patch) as usize };
    match grid.rows.checked_mul(grid.cols) {
        Some(1..=MAX_PATCHES) => Ok(PatchLayout { grid, patch, image_width: width, image_height: height }),
        _ => Err(BackboneError::Size(format!(
            "a model input of {width}x{height} has {}x{} patches of {patch} pixels (expected 1 to {MAX_PATCHES} patches)",
            grid.cols, grid.rows
        ))),
    }
}

fn session_builder(environment: &Environment, threads: usize) -> ort::Result<SessionBuilder> {
    Ok(Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        // A thread that waits in a loop takes the core from the other stages.
        .with_intra_op_spinning(false)?)
}

/// What an optimised model depends on besides the library: its kernels are chosen for the processor.
pub(super) fn processor() -> String {
    let text = processor_info();
    let kept =
        |line: &&str| ["model name", "flags", "Features", "CPU part"].iter().any(|field| line.starts_with(field));
    let first = text.split("\n\n").next().unwrap_or_default();
    std::iter::once(std::env::consts::ARCH).chain(first.lines().filter(kept)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::graph::OUTPUT;

    #[test]
    fn the_graph_in_f16_computes_what_it_does_in_f32() {
        let checkpoint = Checkpoint::bundled().unwrap();
        let layout = layout(checkpoint.patch(), 60, 48).unwrap();
        let rgb: Vec<u8> =
            (0..3 * 60 * 48).map(|at| (at % 3 * 60 + at / 3 % 60 * 2 + at / 180 * 37 % 90) as u8).collect();
        let (environment, _) = environment(&find_library(None, Device::Cpu).unwrap()).unwrap();
        let features = |precision| -> Vec<f32> {
            let graph = graph::build(&checkpoint, Feature::Keys, false, Dialect::Plain, &layout).unwrap();
            let graph = lowered(graph, precision).unwrap();
            let mut session = session_builder(&environment, 1).unwrap().commit_from_memory(&graph).unwrap();
            let input = TensorRef::from_array_view(([1, 48, 60, 3], rgb.as_slice())).unwrap();
            let output = session.run(ort::inputs![INPUT => input]).unwrap();
            match precision {
                Precision::Fp16 => {
                    let (_, values) = output[OUTPUT].try_extract_tensor::<half::f16>().unwrap();
                    values.iter().map(|value| value.to_f32()).collect()
                }
                _ => output[OUTPUT].try_extract_tensor::<f32>().unwrap().1.to_vec(),
            }
        };
        let (whole, half) = (features(Precision::Fp32), features(Precision::Fp16));
        let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
        let error = norm(&mut whole.iter().zip(&half).map(|(a, b)| a - b)) / norm(&mut whole.iter().copied());
        assert!(error > 0.0 && error < 0.01, "{error}");
    }

    #[test]
    fn nodes_left_to_the_cpu_are_counted_in_the_profile() {
        let node = |name: &str, provider: &str| {
            format!(r#"{{"cat":"Node","name":"{name}","args":{{"op_name":"MatMul","provider":"{provider}"}}}}"#)
        };
        let profile = [
            r#"{"cat":"Session","name":"model_run","args":{}}"#.to_owned(),
            node("MatMul_1_kernel_time", "CUDAExecutionProvider"),
            node("MatMul_1_fence_before", "CPUExecutionProvider"),
            node("Slice_2_kernel_time", "CPUExecutionProvider"),
            node("MatMul_3_kernel_time", "CUDAExecutionProvider"),
        ];
        assert_eq!(nodes_on_cpu(format!("[{}]", profile.join(",")).as_bytes()), Some((1, 3)));
        assert_eq!(nodes_on_cpu(b"[]"), None);
        assert_eq!(nodes_on_cpu(b"[{"), None);
    }
}
