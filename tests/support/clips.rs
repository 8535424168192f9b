//! Makes small clips of every odd kind with ffmpeg, from the project's own drawing, and asks ffprobe what a video holds.

use super::scene::{self, Shape, Texture, Thing};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// libx264, good enough that its losses move no box.
pub const X264: &str = "-c:v libx264 -preset veryfast -crf 12 -pix_fmt yuv420p";

/// A clip and what it shows.
pub struct Clip {
    pub path: PathBuf,
    /// Width and height as drawn, which is as displayed.
    pub size: (u32, u32),
    /// The box of the one object in each drawn frame: `[xmin, ymin, xmax, ymax]`, half-open, in displayed pixels.
    pub boxes: Vec<[u32; 4]>,
}

/// What ffprobe says about the first video track of a file.
#[derive(Debug)]
pub struct Probe {
    /// Width and height, upright and with square pixels: the shorter side of a pixel is stretched.
    pub size: (u32, u32),
    /// Presentation time stamps of the decoded frames, relative to the first, in nanoseconds.
    pub pts_ns: Vec<i64>,
    pub has_audio: bool,
}

/// Draws `frames` pictures at 25 fps in the size they are to be displayed in, and has ffmpeg make `path` of them.
///
/// A disc jumps between left and right with every frame, or stands still. `arguments` are ffmpeg's, for the output; they may
/// bring inputs of their own, the pictures are input 0.
pub fn make(path: PathBuf, size: (u32, u32), frames: u32, jumps: bool, arguments: &str) -> Clip {
    let (width, height) = size;
    let ground = scene::ground(width, height);
    let disc = |left: bool| Thing {
        shape: Shape::Blob,
        texture: Texture::Dots,
        colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
        centre: [width as f32 * if left { 0.33 } else { 0.67 }, height as f32 * if left { 0.4 } else { 0.6 }],
        radius: 0.27 * width.min(height) as f32,
        turn: 0.3,
    };
    let pictures = (0..frames).map(|frame| scene::draw(&ground, width, height, &[disc(!jumps || frame % 2 == 0)]));
    film(path, size, pictures, arguments)
}

/// The same of pictures of the caller's own, of the one object in each; where there is none, its box is empty.
pub fn film(path: PathBuf, size: (u32, u32), pictures: impl Iterator<Item = scene::Picture>, arguments: &str) -> Clip {
    film_at(25.0, path, size, pictures, arguments)
}

/// The same at another rate, in frames a second.
pub fn film_at(
    rate: f32,
    path: PathBuf,
    size: (u32, u32),
    pictures: impl Iterator<Item = scene::Picture>,
    arguments: &str,
) -> Clip {
    let (width, height) = size;
    let mut ffmpeg = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-framerate", &rate.to_string()])
        .args(["-video_size", &format!("{width}x{height}"), "-i", "-"])
        .args(arguments.split_whitespace())
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = ffmpeg.stdin.take().unwrap();
    let mut boxes = Vec::new();
    for picture in pictures {
        pipe.write_all(&picture.rgb).unwrap();
        boxes.push(picture.boxes.first().copied().unwrap_or_default());
    }
    drop(pipe);
    assert!(ffmpeg.wait().unwrap().success(), "ffmpeg {arguments}");
    Clip { path, size, boxes }
}

/// A camera that pans over a lawn, by four pixels a frame, and a disc there that goes its own way.
pub fn pan(path: PathBuf, size: (u32, u32), frames: u32, arguments: &str) -> Clip {
    pan_over(scene::ground, path, size, frames, arguments)
}

/// The same over another ground, packed RGB of a width and height.
pub fn pan_over(
    ground: impl Fn(u32, u32) -> Vec<u8>,
    path: PathBuf,
    size: (u32, u32),
    frames: u32,
    arguments: &str,
) -> Clip {
    let (width, height) = size;
    let wide = width + 4 * frames;
    let ground = ground(wide, height);
    let picture = |frame: u32| {
        let left = 4 * frame;
        let disc = Thing {
            shape: Shape::Blob,
            texture: Texture::Dots,
            colours: [[246.0, 214.0, 70.0], [150.0, 34.0, 30.0]],
            centre: [0.3 * width as f32 + 5.5 * frame as f32, 0.5 * height as f32],
            radius: 0.2 * height as f32,
            turn: 0.3,
        };
        let world = scene::draw(&ground, wide, height, &[disc]);
        let rows = world.rgb.chunks_exact(3 * wide as usize);
        let rgb = rows.flat_map(|row| &row[3 * left as usize..][..3 * width as usize]).copied().collect();
        let inside = |x: u32| x.saturating_sub(left).min(width);
        let boxes = world.boxes.iter().map(|&[xmin, ymin, xmax, ymax]| [inside(xmin), ymin, inside(xmax), ymax]);
        scene::Picture { rgb, boxes: boxes.collect() }
    };
    film(path, size, (0..frames).map(picture), arguments)
}

impl Clip {
    /// The MP4 clip with word that it is to be turned clockwise by this many degrees when it is shown.
    pub fn turned(self, degrees: u32) -> Self {
        let mut bytes = std::fs::read(&self.path).unwrap();
        let header = bytes.windows(4).position(|four| four == b"tkhd").unwrap();
        // ISO 14496-12: the matrix a b u c d v x y w stands 40 bytes after the name; a to d are 16.16 fixed point.
        let one = 1 << 16;
        let matrix: [i32; 5] = match degrees {
            90 => [0, one, 0, -one, 0],
            180 => [-one, 0, 0, 0, -one],
            _ => [0, -one, 0, one, 0],
        };
        for (number, at) in matrix.iter().zip((header + 44..).step_by(4)) {
            bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
        }
        std::fs::write(&self.path, bytes).unwrap();
        self
    }

    /// The clip with only the first part of its bytes left.
    pub fn truncated(self, part: f64) -> Self {
        let bytes = std::fs::read(&self.path).unwrap();
        std::fs::write(&self.path, &bytes[..(bytes.len() as f64 * part) as usize]).unwrap();
        self
    }
}

/// Asks ffprobe; decodes the whole file.
pub fn probe(path: &Path) -> Probe {
    let entries = "stream=codec_type,width,height,sample_aspect_ratio:stream_side_data=rotation:frame=stream_index,best_effort_timestamp_time";
    let asked = Command::new("ffprobe")
        .args(["-v", "fatal", "-of", "json", "-show_frames", "-show_streams", "-show_entries", entries])
        .arg(path)
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&asked.stdout).unwrap();
    let streams = answer["streams"].as_array().unwrap();
    let is = |kind: &'static str| move |stream: &&Value| stream["codec_type"] == kind;
    let index = streams.iter().position(|stream| is("video")(&stream)).unwrap();
    let video = &streams[index];

    let number = |key: &str| video[key].as_f64().unwrap();
    let aspect = video["sample_aspect_ratio"].as_str().and_then(|ratio| ratio.split_once(':')).map_or(1.0, |(x, y)| {
        match (x.parse::<f64>().unwrap(), y.parse::<f64>().unwrap()) {
            (0.0, _) => 1.0, // not said
            (x, y) => x / y,
        }
    });
    let rotation =
        video["side_data_list"].as_array().and_then(|all| all.iter().find_map(|data| data["rotation"].as_i64()));
    let (width, height) = (number("width"), number("height"));
    let (width, height) = ((width * aspect.max(1.0)).round() as u32, (height / aspect.min(1.0)).round() as u32);
    let size = if rotation.unwrap_or(0) % 180 == 0 { (width, height) } else { (height, width) };

    let frames = answer["frames"].as_array().unwrap().iter().filter(|frame| frame["stream_index"] == index);
    let seconds = |frame: &Value| frame["best_effort_timestamp_time"].as_str().unwrap().parse::<f64>().unwrap();
    let pts_ns: Vec<i64> = frames.map(|frame| (seconds(frame) * 1e9).round() as i64).collect();
    let start = pts_ns.iter().min().copied().unwrap_or(0);
    Probe {
        size,
        pts_ns: pts_ns.iter().map(|pts| pts - start).collect(),
        has_audio: streams.iter().any(|stream| is("audio")(&stream)),
    }
}

/// One frame as ffmpeg displays it, in grey: `[height, width]`, scaled to that size.
pub fn luma(path: &Path, frame: usize, (width, height): (u32, u32)) -> Vec<u8> {
    let filter = format!("select=eq(n\\,{frame}),scale={width}:{height},format=gray");
    let decoded = Command::new("ffmpeg")
        .args(["-v", "fatal", "-i"])
        .arg(path)
        .args(["-map", "0:v:0", "-vf", &filter, "-fps_mode", "passthrough", "-frames:v", "1", "-f", "rawvideo", "-"])
        .output()
        .unwrap();
    assert_eq!(decoded.stdout.len(), (width * height) as usize, "frame {frame} of {}", path.display());
    decoded.stdout
}
