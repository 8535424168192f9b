//! Still pictures and animations: decoded by an image library at their native size, upright, and scaled for the model. What a file holds,
//! its first bytes say.

mod jpeg;
mod tiff;

use crate::fault::{Kind, OfKind};
use crate::fit::{Fit, FitError, PictureView};
use crate::partial;
use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::DecodingError;
use image::metadata::Orientation;
use image::{
    AnimationDecoder, DynamicImage, Frames, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits,
    imageops,
};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

pub use image::{Rgb, RgbImage};

/// A picture whose pixels take more memory than this is refused.
const MAX_BYTES: u64 = 512 << 20;
/// An animation whose pictures take more memory than this, each, is refused: several of them wait between the stages.
const MAX_ANIMATED_BYTES: u64 = 128 << 20;
/// A JPEG file of more bytes is refused.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// In so many bytes the first frame of a video that is nothing but JPEG pictures ends.
const MAX_FRAME_BYTES: u64 = 32 << 20;
/// File name extensions of the formats that are decoded, of JPEG first.
const EXTENSIONS: [&str; 10] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff"];
const JPEG_EXTENSIONS: &[&str] = EXTENSIONS.split_at(4).0;

/// Why a picture cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}")]
pub struct PictureError {
    pub path: String,
    pub why: String,
}

impl OfKind for PictureError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Still,
    /// An animation, or several pages.
    Several,
}

/// What the file holds by its first bytes; none where it is no picture that is decoded here.
pub fn content(path: &Path) -> Option<Content> {
    // Opening a pipe would wait for its other end.
    let format = path.is_file().then(|| reader(path).ok()?.format()).flatten().filter(ImageFormat::reading_enabled)?;
    // A video may be nothing but JPEG pictures, one after the other. Photos are not read for it.
    if format == ImageFormat::Jpeg && !has_extension(path, JPEG_EXTENSIONS) {
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(MAX_FRAME_BYTES).read_to_end(&mut bytes)).ok()?;
        return (!jpeg::is_video(&bytes)).then_some(Content::Still);
    }
    let is_several = match format {
        ImageFormat::Tiff => File::open(path).is_ok_and(|file| tiff::pages(&file).is_ok_and(|pages| pages.len() > 1)),
        // What is broken is told when it is decoded.
        _ => animation(path).is_ok_and(|animation| animation.is_some()),
    };
    Some(if is_several { Content::Several } else { Content::Still })
}

/// Whether the file holds a picture, or is named as if it did.
pub fn is_picture(path: &Path) -> bool {
    is_named_so(path) || content(path).is_some()
}

/// Whether these bytes of a JPEG picture of a video show less, or something else, than they should.
pub fn is_damaged_jpeg(bytes: &[u8]) -> bool {
    jpeg::is_damaged(bytes)
}

/// Whether the file is named like a picture.
pub fn is_named_so(path: &Path) -> bool {
    has_extension(path, &EXTENSIONS)
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|extension| extensions.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// Hands out the pictures of a file as they are decoded, until `take` wants no more: the one of a still picture, those of its pages, or those
/// of an animation, once, each with how long it is shown in nanoseconds.
pub fn each_frame(path: &Path, mut take: impl FnMut(RgbImage, Option<u64>) -> bool) -> Result<(), PictureError> {
    if is_tiff(path) {
        let file = File::open(path).map_err(|error| fault(path, &error))?;
        for page in tiff::pages(&file).map_err(|error| fault(path, &error))? {
            let page = tiff::page(&file, page).map_err(|error| fault(path, &error))?;
            if !take(upright(path, page)?, None) {
                break;
            }
        }
        return Ok(());
    }
    let Some((orientation, frames)) = animation(path)? else {
        take(decode(path)?, None);
        return Ok(());
    };
    for frame in frames {
        let frame = frame.map_err(|error| fault(path, &error))?;
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        let mut picture = DynamicImage::from(frame.into_buffer());
        picture.apply_orientation(orientation);
        if !take(picture.into_rgb8(), Some(u64::from(numerator) * 1_000_000 / u64::from(denominator.max(1)))) {
            break;
        }
    }
    Ok(())
}

/// The picture as it is meant to be seen, 8 bits per channel; what is transparent keeps its colour. Of several it is the first.
pub fn decode(path: &Path) -> Result<RgbImage, PictureError> {
    upright(path, open(path)?)
}

fn upright(path: &Path, mut decoder: Box<dyn ImageDecoder>) -> Result<RgbImage, PictureError> {
    let failed = |error: &dyn std::fmt::Display| fault(path, error);
    let (width, height) = decoder.dimensions();
    if decoder.total_bytes() > MAX_BYTES {
        let bytes = decoder.total_bytes();
        return Err(failed(&format!("{width}x{height} pixels take {bytes} bytes (expected at most {MAX_BYTES})")));
    }
    let orientation = decoder.orientation().map_err(|error| failed(&error))?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| failed(&error))?;
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

/// Width and height of the picture as it is meant to be seen; no pixel is decoded.
pub fn dimensions(path: &Path) -> Result<(u32, u32), PictureError> {
    let mut decoder = open(path)?;
    let (width, height) = decoder.dimensions();
    match decoder.orientation().map_err(|error| fault(path, &error))? {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            Ok((height, width))
        }
        _ => Ok((width, height)),
    }
}

/// The picture, lent.
pub fn view(picture: &RgbImage) -> Result<PictureView<'_>, FitError> {
    PictureView::rgb(picture, picture.width(), picture.height())
}

/// The picture at this size, by [`Fit`]; not copied where it has it.
pub fn scaled(picture: &RgbImage, width: u32, height: u32) -> Cow<'_, RgbImage> {
    if picture.dimensions() == (width, height) {
        return Cow::Borrowed(picture);
    }
    let mut scaled = RgbImage::new(width, height);
    // A picture without pixels stays black.
    view(picture).and_then(|view| Fit::default().rgb(&view, (width, height), &mut scaled)).ok();
    Cow::Owned(scaled)
}

/// What `[xmin, ymin, xmax, ymax]` (half-open, cut at the picture's edges) shows and a little around it, as near to a square as the
/// picture allows, no side longer than `max_side` pixels.
pub fn thumbnail(picture: &RgbImage, bbox: [u32; 4], max_side: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let [xmin, ymin, xmax, ymax] = bbox.map(u64::from);
    let side = (xmax.saturating_sub(xmin).max(ymax.saturating_sub(ymin)) * 5 / 4).max(1);
    let part = |low: u64, high: u64, of: u32| {
        let length = side.min(u64::from(of));
        let start = ((low + high) / 2).saturating_sub(length / 2).min(u64::from(of) - length);
        (start as u32, length as u32)
    };
    let ((x, w), (y, h)) = (part(xmin, xmax, width), part(ymin, ymax, height));
    let crop = imageops::crop_imm(picture, x, y, w, h).to_image();
    let longer = w.max(h).max(1);
    let fit = |side: u32| (u64::from(side) * u64::from(max_side) / u64::from(longer)).max(1) as u32;
    if longer <= max_side { crop } else { scaled(&crop, fit(w), fit(h)).into_owned() }
}

/// Writes a JPEG file; its name appears when all of it is there.
pub fn write_jpeg(path: &Path, picture: &RgbImage, quality: u8) -> io::Result<()> {
    partial::write(path, &to_jpeg(picture, quality)?)
}

/// The picture as a JPEG file's bytes.
pub fn to_jpeg(picture: &RgbImage, quality: u8) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(picture).map_err(io::Error::other)?;
    Ok(bytes)
}

/// The picture as a PNG file's bytes.
pub fn to_png(picture: &RgbImage) -> io::Result<Vec<u8>> {
    let mut bytes = io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).map_err(io::Error::other)?;
    Ok(bytes.into_inner())
}

fn open(path: &Path) -> Result<Box<dyn ImageDecoder>, PictureError> {
    let failed = |error: &dyn std::fmt::Display| fault(path, error);
    if !std::fs::metadata(path).map_err(|error| failed(&error))?.is_file() {
        return Err(failed(&"is no file; give a picture, or a video to `mostream run`"));
    }
    let opened = || -> ImageResult<Box<dyn ImageDecoder>> {
        let reader = reader(path)?;
        match reader.format() {
            Some(ImageFormat::Jpeg) => {
                let mut bytes = Vec::new();
                reader.into_inner().take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
                Ok(Box::new(jpeg::Jpeg::new(bytes)?))
            }
            Some(ImageFormat::Tiff) => {
                let file = reader.into_inner().into_inner();
                let first = tiff::pages(&file)?.first().copied();
                tiff::page(&file, first.ok_or_else(|| broken(ImageFormat::Tiff, "holds no page"))?)
            }
            _ => Ok(Box::new(reader.into_decoder()?)),
        }
    };
    opened().map_err(|error| failed(&error))
}

fn is_tiff(path: &Path) -> bool {
    reader(path).is_ok_and(|reader| reader.format() == Some(ImageFormat::Tiff))
}

/// The file, its format known by its first bytes.
fn reader(path: &Path) -> ImageResult<ImageReader<BufReader<File>>> {
    let mut file = BufReader::new(File::open(path)?);
    let is_big_tiff =
        [b"II+\0", b"MM\0+"].iter().any(|magic| file.fill_buf().is_ok_and(|head| head.starts_with(*magic)));
    let mut reader = ImageReader::new(file).with_guessed_format()?;
    if is_big_tiff {
        reader.set_format(ImageFormat::Tiff);
    }
    Ok(reader)
}

/// The pictures of an animation, and how they are to be turned; none where the file holds a still picture.
fn animation(path: &Path) -> Result<Option<(Orientation, Frames<'static>)>, PictureError> {
    let opened = || -> ImageResult<_> {
        let reader = reader(path)?;
        Ok(match reader.format() {
            Some(ImageFormat::Gif) => {
                let mut decoder = GifDecoder::new(reader.into_inner())?;
                decoder.set_limits(Limits::default())?;
                Some((decoder.dimensions(), decoder.orientation()?, decoder.into_frames()))
            }
            Some(ImageFormat::WebP) => {
                let mut decoder = WebPDecoder::new(reader.into_inner())?;
                let size = decoder.dimensions();
                match decoder.has_animation() {
                    true => Some((size, decoder.orientation()?, decoder.into_frames())),
                    false => None,
                }
            }
            Some(ImageFormat::Png) => {
                let mut decoder = PngDecoder::with_limits(reader.into_inner(), Limits::default())?;
                let size = decoder.dimensions();
                match decoder.is_apng()? {
                    true => Some((size, decoder.orientation()?, decoder.apng()?.into_frames())),
                    false => None,
                }
            }
            _ => None,
        })
    };
    let Some(((width, height), orientation, frames)) = opened().map_err(|error| fault(path, &error))? else {
        return Ok(None);
    };
    let bytes = 4 * u64::from(width) * u64::from(height);
    if !(1..=MAX_ANIMATED_BYTES).contains(&bytes) {
        let why = format!("frames of {width}x{height} pixels take {bytes} bytes (expected 1 to {MAX_ANIMATED_BYTES})");
        return Err(fault(path, &why));
    }
    Ok(Some((orientation, frames)))
}

fn broken(format: ImageFormat, why: &str) -> ImageError {
    ImageError::Decoding(DecodingError::new(format.into(), why))
}

fn fault(path: &Path, why: &dyn std::fmt::Display) -> PictureError {
    // Some decoders' errors have several lines.
    let why = why.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    PictureError { path: path.display().to_string(), why }
}
