//! `mostream run` on still pictures and animations: a picture is a video of one frame, an animation one of all its pictures.

use crate::support::clips::{Clip, make, probe};
use crate::support::program::{mostream, records, stderr};
use mostream::geometry::PixelBox;
use mostream::record::FrameRecord;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Output;

const SIZE: (u32, u32) = (160, 120);
const FRAMES: u32 = 6;
/// How long each picture of the animations is shown.
const SHOWN_NS: u64 = 120_000_000;
const SLOW: &str = "-vf setpts=3*PTS -fps_mode passthrough";

fn run(folder: &Path, input: &OsStr, arguments: &[&str]) -> Output {
    mostream(folder, &["run", "--quiet"]).args(arguments).arg(input).output().unwrap()
}

fn succeeded(ran: &Output) -> Vec<FrameRecord> {
    assert_eq!((ran.status.code(), stderr(ran).as_str()), (Some(0), ""));
    records(&ran.stdout)
}

/// One line that names the input, and the exit code of inputs that cannot be used.
fn failed(ran: &Output, named: &str) {
    let told = stderr(ran);
    assert_eq!((ran.status.code(), told.lines().count()), (Some(3), 1), "{told}");
    assert!(told.contains(named), "{told}");
}

/// The object's box is found in every frame, and the annotated video has the frames of the records, at their times.
fn check(clip: &Clip, times_ns: &[u64]) {
    let folder = clip.path.parent().unwrap();
    let found = succeeded(&run(folder, clip.path.as_os_str(), &["--records", "-", "-o", "boxes.mp4"]));
    assert_eq!(found.iter().map(|record| record.pts_ns).collect::<Vec<_>>(), times_ns, "{}", clip.path.display());
    for (record, truth) in found.iter().zip(&clip.boxes) {
        assert_eq!((record.width, record.height), clip.size);
        let iou = |[xmin, ymin, xmax, ymax]: [u32; 4]| {
            let [x0, y0, x1, y1] = *truth;
            PixelBox { xmin, ymin, xmax, ymax }.iou(&PixelBox { xmin: x0, ymin: y0, xmax: x1, ymax: y1 })
        };
        let best = record.objects.iter().map(|object| iou(object.bbox)).fold(0.0, f64::max);
        assert!(best >= 0.5, "{}: {best} for {truth:?}, got {:?}", clip.path.display(), record.objects);
    }
    let output = probe(&folder.join("boxes.mp4"));
    assert_eq!(output.size, clip.size);
    assert_eq!(output.pts_ns.len(), times_ns.len());
    for (shown, wanted) in output.pts_ns.iter().zip(times_ns) {
        assert!(shown.abs_diff(*wanted as i64) <= 1_000_000, "{:?}, not {times_ns:?}", output.pts_ns);
    }
}

fn animation(folder: &Path, file: &str, arguments: &str) -> Clip {
    make(folder.join(file), SIZE, FRAMES, true, &format!("{SLOW} {arguments}"))
}

#[test]
fn a_still_picture_of_any_format_is_a_video_of_one_frame() {
    let folder = tempfile::tempdir().unwrap();
    for (file, arguments) in [
        ("a.bmp", "-pix_fmt bgr24"),
        ("a.tif", "-pix_fmt rgb24"),
        ("a.webp", "-c:v libwebp -lossless 1"),
        ("a.png", "-pix_fmt rgb48be"),
        ("grey.png", "-pix_fmt gray"),
        ("a.jpg", "-q:v 2"),
    ] {
        let still = make(folder.path().join(file), SIZE, 1, false, &format!("-frames:v 1 {arguments}"));
        check(&still, &[0]);
    }
    // Odd sizes are padded for the encoder, so ffprobe's size is not asked.
    let odd = make(folder.path().join("odd.bmp"), (163, 121), 1, false, "-frames:v 1 -pix_fmt bgr24");
    let found = succeeded(&run(folder.path(), odd.path.as_os_str(), &["--records", "-", "-o", "odd.mp4"]));
    assert_eq!((found.len(), found[0].width, found[0].height), (1, 163, 121));
    assert_eq!(probe(&folder.path().join("odd.mp4")).pts_ns, [0]);
}

#[test]
fn an_animation_gives_all_its_pictures_at_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let times: Vec<u64> = (0..u64::from(FRAMES)).map(|index| index * SHOWN_NS).collect();
    check(&animation(folder.path(), "a.gif", ""), &times);
    check(&animation(folder.path(), "a.png", "-f apng -pix_fmt rgba"), &times);
    check(&animation(folder.path(), "a.webp", "-c:v libwebp_anim -lossless 1"), &times);
}

#[test]
fn a_part_of_an_animation_keeps_its_times() {
    let folder = tempfile::tempdir().unwrap();
    let clip = animation(folder.path(), "a.gif", "");
    let part = ["--records", "-", "-o", "part.mp4", "--start", "0.3", "--duration", "0.3"];
    let found = succeeded(&run(folder.path(), clip.path.as_os_str(), &part));
    // The third picture, which began before, is shown from the start asked for.
    assert_eq!(
        found.iter().map(|record| record.pts_ns / 1_000_000).collect::<Vec<_>>(),
        [300, 360, 480],
        "in milliseconds"
    );
    assert_eq!(probe(&folder.path().join("part.mp4")).pts_ns.len(), 3);
    let late = ["--records", "-", "--start", "99"];
    failed(&run(folder.path(), clip.path.as_os_str(), &late), "a.gif: ends at");
}

#[test]
fn a_photo_taken_sideways_is_upright() {
    let folder = tempfile::tempdir().unwrap();
    let still = make(folder.path().join("a.jpg"), (120, 160), 1, false, "-frames:v 1 -q:v 2 -vf transpose=2");
    let mut jpeg = std::fs::read(&still.path).unwrap();
    // Exif 2.3: one entry in the first directory, tag 0x0112 (orientation), 16 bits, 6: turn clockwise by 90 degrees.
    let exif: &[u8] = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    jpeg.splice(2..2, exif.iter().copied());
    std::fs::write(&still.path, jpeg).unwrap();
    check(&still, &[0]);
}

#[test]
fn broken_and_huge_animations_end_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let cut = animation(at, "cut.gif", "").truncated(0.6);
    let ran = run(at, cut.path.as_os_str(), &["--records", "-", "-o", "cut.mp4"]);
    let told = stderr(&ran);
    assert_eq!(ran.status.code(), Some(0), "{told}");
    assert!(told.lines().count() == 1 && told.contains("cut.gif: ends early"), "{told}");
    let found = records(&ran.stdout);
    assert!((1..FRAMES as usize).contains(&found.len()), "{} records", found.len());
    assert_eq!(probe(&at.join("cut.mp4")).pts_ns.len(), found.len());

    // 65535 x 65535 pixels, of which one is there.
    std::fs::write(
        at.join("huge.gif"),
        b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02\x4c\x01\0;",
    )
    .unwrap();
    failed(&run(at, "huge.gif".as_ref(), &["--records", "-"]), "huge.gif: frames of 65535x65535");
    std::fs::write(at.join("bad.png"), b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR broken").unwrap();
    failed(&run(at, "bad.png".as_ref(), &["--records", "-"]), "bad.png");
    let short = make(at.join("short.webp"), SIZE, 1, false, "-frames:v 1 -c:v libwebp").truncated(0.5);
    failed(&run(at, short.path.as_os_str(), &["--records", "-"]), "short.webp");
}

#[test]
fn a_file_name_need_not_be_text() {
    let folder = tempfile::tempdir().unwrap();
    let still = make(folder.path().join("a.bmp"), SIZE, 1, false, "-frames:v 1 -pix_fmt bgr24");
    let video = make(folder.path().join("a.mp4"), SIZE, 2, true, "-c:v libx264 -pix_fmt yuv420p");
    for (path, name) in [(still.path, "photo \u{e9}"), (video.path, "clip")] {
        let named = |ending: &str| {
            folder.path().join(OsStr::from_bytes(&[name.as_bytes(), b"\xff", ending.as_bytes()].concat()))
        };
        let extension = path.extension().unwrap().to_str().unwrap();
        let input = named(&format!(".{extension}"));
        std::fs::rename(&path, &input).unwrap();
        succeeded(&run(folder.path(), input.as_os_str(), &[]));
        let written = records(&std::fs::read(named(".boxes.jsonl")).unwrap());
        assert!(written[0].source.ends_with(&format!("{name}\u{fffd}.{extension}")), "{}", written[0].source);
        assert_eq!(probe(&named(".boxes.mp4")).pts_ns.len(), written.len());
    }
}
