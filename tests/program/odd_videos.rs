//! `mostream run` on every odd kind of video: right boxes in the displayed frame, right time stamps, a playable file with as
//! many frames as the input. ffprobe judges.

use crate::support::clips::{Clip, Probe, X264, luma, make, probe};
use crate::support::pixel_box;
use crate::support::program::{PROGRAM, records_in, stderr};
use mostream::record::FrameRecord;
use std::path::Path;
use std::process::Command;

const FRAMES: u32 = 8;
const SMALL: (u32, u32) = (160, 120);
const SINE: &str = "-f lavfi -i sine=frequency=440:duration=0.32";

/// Runs the program on a clip; its records and what ffprobe says about the input and the output.
fn run(clip: &Clip) -> (Vec<FrameRecord>, Probe, Probe) {
    let (video, records) = (clip.path.with_extension("boxes.mp4"), clip.path.with_extension("jsonl"));
    let ran = Command::new(PROGRAM)
        .args(["run", "--quiet", "--cue", "appearance", "--records"])
        .args([&records, Path::new("-o"), &video, &clip.path])
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    assert!(ran.stdout.is_empty());
    (records_in(&records), probe(&clip.path), probe(&video))
}

/// Makes a clip and checks it.
fn check(file: &str, size: (u32, u32), arguments: &str) {
    let folder = tempfile::tempdir().unwrap();
    // Deinterlacing mixes neighbouring frames, so that there the object stands still.
    let jumps = !arguments.contains("setfield");
    let frames = if arguments.contains("-frames:v 1") { 1 } else { FRAMES };
    let clip = make(folder.path().join(file), size, frames, jumps, arguments);
    check_clip(&clip, 0);
}

/// Everything that must hold for a clip; of its last `unsure` frames it is not known whether and how they are shown.
fn check_clip(clip: &Clip, unsure: usize) {
    let (records, input, output) = run(clip);
    assert_eq!(input.size, clip.size, "the clip is not what the test wants");
    assert!(input.pts_ns.len().abs_diff(records.len()) <= unsure, "{} of {}", records.len(), input.pts_ns.len());
    assert_eq!(output.pts_ns.len(), records.len(), "frames in the output");
    assert_eq!(output.has_audio, input.has_audio, "audio");

    let aspect = |(width, height): (u32, u32)| f64::from(width) / f64::from(height);
    let distortion = aspect(output.size) / aspect(clip.size);
    assert!((0.985..1.015).contains(&distortion), "{:?} became {:?}", clip.size, output.size);

    for (index, record) in records.iter().enumerate() {
        assert_eq!((record.frame, record.inferred), (index as u64, true));
        assert_eq!((record.width, record.height), clip.size);
        let pts_ns = (record.pts_ns - records[0].pts_ns) as i64;
        if let Some(expected) = input.pts_ns.get(index) {
            assert!(pts_ns.abs_diff(*expected) <= 1_000_000, "frame {index} at {pts_ns} ns, expected {expected}");
        }
        assert!(pts_ns.abs_diff(output.pts_ns[index]) <= 1_000_000, "frame {index}: {pts_ns} ns, {:?}", output.pts_ns);

        if index + unsure >= records.len() {
            continue;
        }
        let truth = pixel_box(clip.boxes[index]);
        let best = record.objects.iter().map(|object| pixel_box(object.bbox).iou(&truth)).fold(0.0, f64::max);
        assert!(best >= 0.6, "frame {index}: {best} for {truth:?}, got {:?}", record.objects);
    }
}

macro_rules! clips {
    ($($name:ident: $file:literal, $size:expr, $arguments:expr;)*) => {
        $(#[test] fn $name() { check($file, $size, &$arguments); })*
    };
}

clips! {
    plain_without_audio: "a.mp4", SMALL, X264;
    odd_size_444: "a.mp4", (853, 479), "-c:v libx264 -preset veryfast -crf 12 -pix_fmt yuv444p";
    odd_size_420: "a.mkv", (163, 121), "-c:v ffv1 -pix_fmt yuv420p";
    wide_pixels: "a.mp4", (213, 120), format!("-vf scale=160:120,setsar=4/3 {X264}");
    narrow_pixels: "a.mp4", (160, 160), format!("-vf scale=160:120,setsar=3/4 {X264}");
    interlaced_h264: "a.mp4", SMALL, format!("-vf setfield=tff {X264} -flags +ildct+ilme -x264opts tff=1");
    interlaced_mpeg2: "a.ts", SMALL, "-vf setfield=bff -c:v mpeg2video -q:v 2 -flags +ildct+ilme -top 0";
    variable_rate_mkv: "a.mkv", SMALL,
        format!("-vf settb=1/1000,setpts=40*N+15*N*N -fps_mode passthrough -enc_time_base 1/1000 {X264}");
    variable_rate_mp4: "a.mp4", SMALL,
        format!("-vf settb=1/1000,setpts=40*N+15*N*N -fps_mode passthrough -enc_time_base 1/1000 -bf 0 {X264}");
    repeated_times: "a.mkv", SMALL, "-vf settb=1/1000,setpts=40*floor(N/2) -fps_mode passthrough -enc_time_base 1/1000 -c:v ffv1";
    ten_bit_h264: "a.mp4", SMALL, "-c:v libx264 -preset veryfast -crf 12 -pix_fmt yuv420p10le";
    ten_bit_h265: "a.mkv", SMALL, "-c:v libx265 -preset ultrafast -x265-params log-level=none -crf 12 -pix_fmt yuv420p10le";
    sampled_422: "a.mov", SMALL, "-c:v libx264 -preset veryfast -crf 12 -pix_fmt yuv422p";
    ten_bit_422_prores: "a.mov", SMALL, "-c:v prores_ks -pix_fmt yuv422p10le";
    grey: "a.mkv", SMALL, "-c:v ffv1 -pix_fmt gray";
    grey_h264: "a.mp4", SMALL, "-c:v libx264 -preset veryfast -crf 12 -pix_fmt gray";
    alpha_qtrle: "a.mov", SMALL, "-vf format=argb,colorchannelmixer=aa=0.5 -c:v qtrle";
    alpha_png: "a.mov", SMALL, "-vf format=rgba,colorchannelmixer=aa=0.5 -c:v png";
    alpha_vp9: "a.webm", SMALL, "-vf format=yuva420p,colorchannelmixer=aa=0.5 -c:v libvpx-vp9 -deadline realtime -b:v 2M";
    audio_aac: "a.mp4", SMALL, format!("{SINE} {X264} -c:a aac");
    audio_opus: "a.webm", SMALL, format!("{SINE} -c:v libvpx-vp9 -deadline realtime -b:v 2M -c:a libopus");
    audio_pcm: "a.mov", SMALL, format!("{SINE} {X264} -c:a pcm_s16le");
    audio_mp3: "a.avi", SMALL, format!("{SINE} -c:v mpeg4 -q:v 2 -c:a libmp3lame");
    audio_first_mkv: "a.mkv", SMALL, format!("{SINE} -vf setpts=PTS+0.044/TB {X264} -c:a aac");
    audio_first_mp4: "a.mp4", SMALL, format!("{SINE} -vf setpts=PTS+0.044/TB {X264} -c:a aac");
    transport_stream: "a.ts", SMALL, format!("{SINE} {X264} -c:a aac");
    two_video_tracks: "a.mkv", SMALL,
        format!("-f lavfi -i color=blue:size=64x48:rate=25:duration=0.4 -map 0 -map 1 {X264}");
    still_png: "a.png", SMALL, "-frames:v 1";
    still_jpeg: "a.jpg", SMALL, "-frames:v 1 -q:v 2";
}

/// Phones film lying on their side, and say how to turn the picture.
fn turned(folder: &Path, size: (u32, u32), filter: &str, degrees: u32) -> Clip {
    make(folder.join("a.mp4"), size, FRAMES, true, &format!("-vf {filter} {X264}")).turned(degrees)
}

#[test]
fn turned_by_90_180_and_270_degrees() {
    let folder = tempfile::tempdir().unwrap();
    check_clip(&turned(folder.path(), (120, 160), "transpose=2", 90), 0);
    check_clip(&turned(folder.path(), SMALL, "hflip,vflip", 180), 0);
    check_clip(&turned(folder.path(), (120, 160), "transpose=1", 270), 0);
}

/// What is left of a broken file is used. Decoders differ on whether they show the frame that was cut.
fn check_broken(file: &str, part: f64, arguments: &str) {
    let folder = tempfile::tempdir().unwrap();
    let clip = make(folder.path().join(file), SMALL, 2 * FRAMES, true, arguments).truncated(part);
    let left = probe(&clip.path).pts_ns.len();
    assert!((2..2 * FRAMES as usize).contains(&left), "{left} frames are left, the clip is not what the test wants");
    check_clip(&clip, 1);
}

#[test]
fn broken_tail_mkv() {
    check_broken("a.mkv", 0.7, &format!("{X264} -bf 0"));
}

#[test]
fn broken_tail_ts() {
    check_broken("a.ts", 0.7, &format!("{X264} -bf 0"));
}

#[test]
fn broken_tail_mp4() {
    check_broken("a.mp4", 0.7, &format!("{X264} -bf 0 -movflags faststart"));
}

/// The strokes are where the record says, in the displayed frame: there the output differs from the input, elsewhere little.
#[test]
fn turned_and_with_wide_pixels_the_strokes_lie_on_the_boxes() {
    let folder = tempfile::tempdir().unwrap();
    let clip = turned(folder.path(), (120, 200), "transpose=2,scale=160:120,setsar=5/4", 90);
    check_clip(&clip, 0);
    let (records, ..) = run(&clip);
    for (index, record) in records.iter().enumerate() {
        let before = luma(&clip.path, index, clip.size);
        let after = luma(&clip.path.with_extension("boxes.mp4"), index, clip.size);
        let (mut on_edge, mut far) = (Vec::new(), Vec::new());
        for (at, (a, b)) in before.iter().zip(&after).enumerate() {
            let (x, y) = ((at as u32 % clip.size.0) as f64 + 0.5, (at as u32 / clip.size.0) as f64 + 0.5);
            let nearest = record.objects.iter().map(|object| edge_distance(object.bbox, x, y)).fold(f64::MAX, f64::min);
            if nearest <= 1.0 {
                on_edge.push(f64::from(a.abs_diff(*b)));
            } else if record.objects.iter().all(|object| outside(object.bbox, x, y)) && nearest > 30.0 {
                far.push(f64::from(a.abs_diff(*b)));
            }
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        assert!(mean(&on_edge) > 4.0 * mean(&far) + 10.0, "frame {index}: {} on, {} off", mean(&on_edge), mean(&far));
    }
}

/// How far a point is from the outline of a box, in pixels.
fn edge_distance([xmin, ymin, xmax, ymax]: [u32; 4], x: f64, y: f64) -> f64 {
    let (dx, dy) = ((f64::from(xmin) - x).max(x - f64::from(xmax)), (f64::from(ymin) - y).max(y - f64::from(ymax)));
    if dx <= 0.0 && dy <= 0.0 { -dx.max(dy) } else { dx.max(0.0).hypot(dy.max(0.0)) }
}

fn outside([xmin, ymin, xmax, ymax]: [u32; 4], x: f64, y: f64) -> bool {
    x < f64::from(xmin) || x > f64::from(xmax) || y < f64::from(ymin) || y > f64::from(ymax)
}
