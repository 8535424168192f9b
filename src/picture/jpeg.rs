//! JPEG pictures up to their end: what is cut off decodes to grey areas elsewhere, and is an error here, as is the damage that the decoder
//! tells of.

use super::broken;
use image::{ColorType, ImageDecoder, ImageFormat, ImageResult};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// The first picture of a file.
pub struct Jpeg {
    bytes: Vec<u8>,
    size: (u32, u32),
    exif: Option<Vec<u8>>,
}

impl Jpeg {
    /// Reads the head of the file.
    pub fn new(bytes: Vec<u8>) -> ImageResult<Self> {
        let mut decoder = decoder(&bytes);
        decoder.decode_headers().map_err(|error| fault(&format!("{error:?}")))?;
        let (width, height) = decoder.dimensions().ok_or_else(|| fault("says no size"))?;
        let exif = decoder.exif().cloned();
        // Both have 16 bits in the file.
        Ok(Self { size: (width as u32, height as u32), exif, bytes })
    }
}

impl ImageDecoder for Jpeg {
    fn dimensions(&self) -> (u32, u32) {
        self.size
    }

    fn color_type(&self) -> ColorType {
        ColorType::Rgb8
    }

    fn exif_metadata(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.exif.clone())
    }

    fn read_image(mut self, pixels: &mut [u8]) -> ImageResult<()> {
        let end = end(&self.bytes).ok_or_else(|| fault("is cut off or damaged: it has no end"))?;
        open_end(&mut self.bytes, end);
        decoder(&self.bytes).decode_into(pixels).map_err(|error| fault(&format!("is damaged: {error:?}")))
    }

    fn read_image_boxed(self: Box<Self>, pixels: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(pixels)
    }
}

fn decoder(bytes: &[u8]) -> JpegDecoder<ZCursor<&[u8]>> {
    let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(ColorSpace::RGB);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options.set_max_width(usize::MAX).set_max_height(usize::MAX))
}

fn fault(why: &str) -> image::ImageError {
    broken(ImageFormat::Jpeg, why)
}

/// The end of the picture that a file begins with.
#[derive(Clone, Copy)]
struct End {
    /// Its bytes, up to its end marker.
    length: usize,
    is_progressive: bool,
}

/// None where the end marker is missing.
fn end(bytes: &[u8]) -> Option<End> {
    let (mut at, mut is_progressive) = (2, false);
    loop {
        // Past compressed data, and whatever else stands before the next marker.
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)? + 1;
        match bytes.get(at)? {
            // A 255 of compressed data, and markers without a segment.
            0x00 | 0x01 | 0xd0..=0xd7 => at += 1,
            // Fill: the marker is yet to come.
            0xff => {}
            0xd8 => return None,
            0xd9 => return Some(End { length: at + 1, is_progressive }),
            marker => {
                is_progressive |= *marker == 0xc2;
                at += 1 + usize::from(u16::from_be_bytes([*bytes.get(at + 1)?, *bytes.get(at + 2)?])).max(2);
            }
        }
    }
}

/// Bytes that a decoder may have read ahead when it has all that it needs.
const AHEAD: usize = 16;

/// Puts a few bytes in place of the end marker: at a marker decoders take what is missing for grey, at the end of all bytes for an error.
/// A progressive picture may end after any of its scans, and has its marker.
fn open_end(bytes: &mut Vec<u8>, End { length, is_progressive }: End) {
    if !is_progressive {
        bytes.truncate(length.saturating_sub(2));
        bytes.extend([0xfe; AHEAD]);
    }
}

/// Whether what is decoded of a picture of a video is damaged; a picture that is not understood is not. Cameras leave the end marker out.
pub fn is_damaged(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    match end(&bytes) {
        Some(end) => open_end(&mut bytes, end),
        None => bytes.extend([0xfe; AHEAD]),
    }
    let mut decoder = decoder(&bytes);
    decoder.decode_headers().is_ok() && decoder.decode().is_err()
}

/// Whether another picture follows the first that belongs to no album of a camera (CIPA DC-007, "MPF"): the frames of a video.
pub fn is_video(bytes: &[u8]) -> bool {
    let is_album = |first: &[u8]| first.windows(4).any(|four| four == b"MPF\0");
    end(bytes)
        .is_some_and(|End { length, .. }| bytes[length..].starts_with(b"\xff\xd8\xff") && !is_album(&bytes[..length]))
}
