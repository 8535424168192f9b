//! `mostream run` on still pictures and animations: a picture is a video of one frame, an animation one of all its pictures.

use crate::support::clips::{Clip, make, probe};
use crate::support::program::{files_in, mostream, records, stderr};
use mostream::geometry::PixelBox;
use mostream::picture::{self, RgbImage};
use mostream::record::FrameRecord;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output};

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

/// Has Pillow, which reads and writes pictures by libraries that are none of this program's, do this in a folder; `p`, `q` and `r` are RGB
/// pictures there.
fn pillow(folder: &Path, script: &str) {
    make(folder.join("p.png"), SIZE, 1, false, "-frames:v 1 -pix_fmt rgb24");
    let head = "from PIL import Image, ImageOps\np = Image.open('p.png').convert('RGB')\n\
        q = ImageOps.mirror(p)\nr = ImageOps.flip(p)\n";
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let ran = Command::new(python).current_dir(folder).args(["-c", &format!("{head}{script}")]).output().unwrap();
    assert!(ran.status.success(), "{}", stderr(&ran));
}

/// All pictures of a file, or why there are not all.
fn pictures(path: &Path) -> Result<Vec<RgbImage>, String> {
    let mut pictures = Vec::new();
    let outcome = picture::each_frame(path, |picture, _| {
        pictures.push(picture);
        true
    });
    outcome.map(|()| pictures).map_err(|error| error.to_string())
}

/// The mean difference of their samples.
fn apart(one: &RgbImage, other: &RgbImage) -> f64 {
    assert_eq!(one.dimensions(), other.dimensions());
    let pairs = one.as_raw().iter().zip(other.as_raw());
    pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / one.as_raw().len() as f64
}

#[test]
fn a_picture_that_is_cut_off_anywhere_is_never_taken_for_whole() {
    let folder = tempfile::tempdir().unwrap();
    pillow(
        folder.path(),
        "p.save('a.jpg'); p.save('progressive.jpg', progressive=True); p.convert('L').save('grey.jpg')
p.convert('CMYK').save('cmyk.jpg'); p.save('a.webp'); p.save('lossless.webp', lossless=True); p.save('a.bmp')
p.save('a.tif'); p.save('lzw.tif', compression='tiff_lzw'); p.save('jpeg.tif', compression='jpeg')
for kind in ('gif', 'png', 'webp'): p.save('all.' + kind, save_all=True, append_images=[q, r], duration=100)
p.save('all.tif', save_all=True, append_images=[q, r], compression='tiff_deflate')",
    );
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let whole = pictures(&path).unwrap();
        assert_eq!(whole.len(), if name.starts_with("all") { 3 } else { 1 }, "{name}");
        let bytes = std::fs::read(&path).unwrap();
        let cut = folder.path().join("cut");
        let mut refused = 0;
        for length in (1..40).map(|part| bytes.len() * part / 40).chain([bytes.len() - 1]) {
            std::fs::write(&cut, &bytes[..length]).unwrap();
            match pictures(&cut) {
                // All of it is there: what was cut off is padding, or the end marker of a PNG.
                Ok(pictures) => assert!(pictures == whole, "{name}: {length} of {} bytes", bytes.len()),
                Err(_) => refused += 1,
            }
        }
        std::fs::remove_file(&cut).unwrap();
        assert!(refused >= 38, "{name}: {refused}");
    }
}

#[test]
fn a_picture_is_upright_whatever_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    pillow(
        at,
        "for n in range(1, 9):
    exif = Image.Exif(); exif[0x112] = n
    p.save(f'{n}.jpg', exif=exif, quality=95); p.save(f'{n}.webp', exif=exif, lossless=True)
    p.save(f'{n}.tif', exif=exif, compression='tiff_lzw')
    p.convert('YCbCr').save(f'{n}.tiff', compression='jpeg', quality=95, tiffinfo={0x112: n})
    ImageOps.exif_transpose(Image.open(f'{n}.jpg')).save(f'{n}.png')",
    );
    for number in 1..=8 {
        let upright = picture::decode(&at.join(format!("{number}.png"))).unwrap();
        for kind in ["jpg", "webp", "tif", "tiff"] {
            let path = at.join(format!("{number}.{kind}"));
            let found = picture::decode(&path).unwrap();
            assert!(apart(&found, &upright) < 4.0, "{number}.{kind}: {}", apart(&found, &upright));
            for name in ["copy.jfif", "copy.JPE", "copy.HEIC", "copy.mp4", "copy"] {
                let copy = at.join(name);
                std::fs::copy(&path, &copy).unwrap();
                assert_eq!(picture::content(&copy), Some(picture::Content::Still), "{number}.{kind} as {name}");
                assert!(picture::decode(&copy).unwrap() == found, "{number}.{kind} as {name}");
            }
        }
    }
    // By every way in.
    std::fs::copy(at.join("6.jpg"), at.join("six")).unwrap();
    let boxes = |name: &str| {
        let record = succeeded(&run(at, name.as_ref(), &["--records", "-"])).remove(0);
        assert_eq!((record.width, record.height), (SIZE.1, SIZE.0), "{name}");
        record.objects.iter().map(|object| object.bbox).collect::<Vec<_>>()
    };
    assert_eq!(boxes("six"), boxes("6.jpg"));
    let read = |arguments: &[&str]| {
        let ran = mostream(at, arguments).output().unwrap();
        assert!(ran.status.success(), "{arguments:?}: {}", stderr(&ran));
    };
    read(&["features", "six", "-o", "six.npy"]);
    read(&["features", "6.jpg", "-o", "6.npy"]);
    assert!(std::fs::read(at.join("six.npy")).unwrap() == std::fs::read(at.join("6.npy")).unwrap());
    read(&["inspect", "six", "-o", "six.html"]);
    read(&["label", "six", "-o", "set", "--val", "0"]);
    let taken = std::fs::read_dir(at.join("set/images/train")).unwrap().map(|entry| entry.unwrap().path());
    let taken: Vec<_> = taken.map(|path| picture::decode(&path).unwrap().dimensions()).collect();
    assert_eq!(taken, [(SIZE.1, SIZE.0)]);
}

#[test]
fn an_output_that_is_a_link_stays_one_and_what_it_leads_to_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let still = make(at.join("a.png"), SIZE, 1, false, "-frames:v 1");
    std::fs::create_dir(at.join("disk")).unwrap();
    std::fs::write(at.join("disk/old.mp4"), "old").unwrap();
    // The second leads to nothing yet, the third to another link.
    for (link, to) in
        [("o.mp4", "disk/old.mp4"), ("o.jsonl", "disk/new.jsonl"), ("o.npy", "via"), ("via", "disk/new.npy")]
    {
        std::os::unix::fs::symlink(to, at.join(link)).unwrap();
    }
    std::os::unix::fs::symlink(at.join("disk/new.html"), at.join("o.html")).unwrap();
    succeeded(&run(at, still.path.as_os_str(), &["-o", "o.mp4", "--records", "o.jsonl"]));
    for arguments in [["features", "a.png", "-o", "o.npy"], ["inspect", "a.png", "-o", "o.html"]] {
        assert!(mostream(at, &arguments).output().unwrap().status.success(), "{arguments:?}");
    }
    assert!(["o.mp4", "o.jsonl", "o.npy", "via", "o.html"].iter().all(|link| at.join(link).is_symlink()));
    assert_eq!(probe(&at.join("disk/old.mp4")).pts_ns, [0]);
    assert_eq!(records(&std::fs::read(at.join("disk/new.jsonl")).unwrap()).len(), 1);
    assert_eq!(files_in(&at.join("disk")), ["new.html", "new.jsonl", "new.npy", "old.mp4"]);
    // Nowhere is no place to write to, nor is where a link leads back.
    std::os::unix::fs::symlink("nowhere/x.mp4", at.join("lost.mp4")).unwrap();
    std::os::unix::fs::symlink("round.mp4", at.join("round.mp4")).unwrap();
    for output in ["lost.mp4", "round.mp4"] {
        let ran = run(at, still.path.as_os_str(), &["-o", output]);
        assert_eq!(ran.status.code(), Some(4), "{}", stderr(&ran));
        assert!(stderr(&ran).contains(output) && at.join(output).is_symlink(), "{}", stderr(&ran));
    }
}

#[test]
fn every_page_of_a_tiff_is_a_frame_but_no_small_version_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    pillow(
        at,
        "p.save('rgb.tif', save_all=True, append_images=[q, r])
p.save('big.tif', save_all=True, append_images=[q, r], big_tiff=True)
p.convert('L').save('grey.tif', save_all=True, append_images=[q.convert('L'), r.convert('L')], compression='packbits')
y = [i.convert('YCbCr') for i in (p, q, r)]
y[0].save('jpeg.tif', save_all=True, append_images=y[1:], compression='jpeg')
s = p.resize((40, 30)); s.encoderinfo = {'tiffinfo': {254: 1}}
p.save('small.tif', save_all=True, append_images=[s])
q.save('q.png'); r.save('r.png')",
    );
    let upright = ["p.png", "q.png", "r.png"].map(|name| picture::decode(&at.join(name)).unwrap());
    for (name, near) in [("rgb.tif", 0.0), ("big.tif", 0.0), ("jpeg.tif", 6.0), ("grey.tif", 60.0)] {
        let found = pictures(&at.join(name)).unwrap();
        assert_eq!(found.len(), 3, "{name}");
        for (at, page) in found.iter().enumerate() {
            assert!(apart(page, &upright[at]) <= near, "{name}, page {at}");
            assert!((0..3).all(|other| apart(page, &upright[at]) <= apart(page, &upright[other])), "{name}, page {at}");
        }
    }
    assert_eq!(pictures(&at.join("small.tif")).unwrap().len(), 1);
    assert_eq!(succeeded(&run(at, "rgb.tif".as_ref(), &["--records", "-"])).len(), 3);
}

#[test]
fn a_jpeg_that_ends_in_its_middle_is_refused_and_no_whole_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    for (width, height) in [(1, 1), (8, 8), (9, 17), (16, 400), (400, 16), (64, 3), (200, 150)] {
        for (quality, step) in [(1, 0), (50, 0), (95, 0), (1, 7), (60, 7), (100, 7)] {
            // One colour, which takes a few bits for a block, or none that is like its neighbours.
            let colour = |x: u32, y: u32| [x * step * 31 + y * step * 17, x * y * step, 90].map(|c| (c % 256) as u8);
            let drawn = RgbImage::from_fn(width, height, |x, y| colour(x, y).into());
            picture::write_jpeg(&path, &drawn, quality).unwrap();
            assert_eq!(picture::decode(&path).unwrap().dimensions(), (width, height), "{quality} {step}");
            let whole = std::fs::read(&path).unwrap();
            let scan = whole.windows(2).rposition(|two| two == b"\xff\xda").unwrap() + 14;
            if height < 100 || step == 0 {
                continue;
            }
            for share in [0.1, 0.5, 0.8] {
                let kept = scan + ((whole.len() - scan) as f64 * share) as usize;
                std::fs::write(&path, [&whole[..kept], b"\xff\xd9"].concat()).unwrap();
                let error = picture::decode(&path).unwrap_err().to_string();
                assert!(error.contains("a.jpg") && error.contains("damaged"), "{width}x{height}: {error}");
            }
        }
    }
}
