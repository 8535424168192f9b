//! The pages of TIFF files, each as a picture of its own.

use super::broken;
use image::codecs::tiff::TiffDecoder;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageResult, Limits};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;

/// Bits of the tag NewSubfileType: the same in small, and a mask.
const NO_PAGE: u32 = 0b101;
/// Directories that are followed.
const MAX_PAGES: usize = 1 << 16;

/// Where the directory of each page is, in bytes from the start of the file; small versions and masks of pages are none.
pub fn pages(file: &File) -> ImageResult<Vec<u64>> {
    let mut file = Decoder::new(BufReader::new(Led::to(file, None)?)).map_err(fault)?;
    let (mut pages, mut seen) = (Vec::new(), HashSet::new());
    let first = file.ifd_pointer();
    let mut next = first;
    // What leads back to a page before is the end.
    while let Some(at) = next.filter(|at| seen.len() < MAX_PAGES && seen.insert(at.0)) {
        let directory = file.read_directory(at).map_err(fault)?;
        let kind = file.read_directory_tags(&directory).find_tag_unsigned::<u32>(Tag::NewSubfileType).map_err(fault)?;
        if kind.unwrap_or(0) & NO_PAGE == 0 {
            pages.push(at.0);
        }
        next = directory.next();
    }
    Ok(if pages.is_empty() { first.iter().map(|at| at.0).collect() } else { pages })
}

/// The page whose directory is there.
pub fn page(file: &File, directory: u64) -> ImageResult<Box<dyn ImageDecoder>> {
    let reader = || Ok::<_, ImageError>(BufReader::new(Led::to(file, Some(directory))?));
    let mut page = Decoder::new(reader()?).map_err(fault)?;
    let length = file.metadata()?.len();
    for (offsets, counts) in [(Tag::StripOffsets, Tag::StripByteCounts), (Tag::TileOffsets, Tag::TileByteCounts)] {
        let mut numbers =
            |tag| Ok::<_, ImageError>(page.find_tag_unsigned_vec::<u64>(tag).map_err(fault)?.unwrap_or_default());
        if numbers(offsets)?.iter().zip(numbers(counts)?).any(|(at, count)| at.saturating_add(count) > length) {
            return Err(fault("is cut off: its file is shorter than it says"));
        }
    }
    if let tiff::ColorType::YCbCr(8) = page.colortype().map_err(fault)? {
        let size = page.dimensions().map_err(fault)?;
        return Ok(Box::new(YCbCr { page, size }));
    }
    let mut page = TiffDecoder::new(reader()?)?;
    page.set_limits(Limits::default())?;
    Ok(Box::new(page))
}

/// A page of brightness and two differences of colour, as JPEG has them.
struct YCbCr {
    page: Decoder<BufReader<Led>>,
    size: (u32, u32),
}

impl ImageDecoder for YCbCr {
    fn dimensions(&self) -> (u32, u32) {
        self.size
    }

    fn color_type(&self) -> ColorType {
        ColorType::Rgb8
    }

    fn orientation(&mut self) -> ImageResult<Orientation> {
        let number = self.page.find_tag_unsigned::<u8>(Tag::Orientation).map_err(fault)?;
        Ok(number.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms))
    }

    fn read_image(mut self, pixels: &mut [u8]) -> ImageResult<()> {
        let samples = match self.page.read_image().map_err(fault)? {
            DecodingResult::U8(samples) if samples.len() == pixels.len() => samples,
            _ => return Err(fault("has not the samples that its size needs")),
        };
        for (rgb, samples) in pixels.chunks_exact_mut(3).zip(samples.chunks_exact(3)) {
            // ITU-R BT.601, all 256 levels of each.
            let [y, cb, cr] = [samples[0], samples[1], samples[2]].map(f32::from);
            let (cb, cr) = (cb - 128.0, cr - 128.0);
            let colours = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
            rgb.copy_from_slice(&colours.map(|colour| colour.round() as u8));
        }
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, pixels: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(pixels)
    }
}

/// A file whose head leads to a page of one's choice.
struct Led {
    file: File,
    head: Vec<u8>,
    at: u64,
}

impl Led {
    /// To the first page where no directory is given.
    fn to(file: &File, directory: Option<u64>) -> io::Result<Self> {
        let mut file = file.try_clone()?;
        let mut head = Vec::new();
        file.rewind()?;
        // Byte order, 42 or (BigTIFF) 43, and where the first directory is.
        file.by_ref().take(16).read_to_end(&mut head)?;
        file.rewind()?;
        let is_little = head.starts_with(b"II");
        let is_big_tiff = head.get(2..4).is_some_and(|number| number.contains(&43));
        if let Some(directory) = directory {
            let small = u32::try_from(directory).unwrap_or(u32::MAX);
            let bytes = match (is_big_tiff, is_little) {
                (true, true) => directory.to_le_bytes().to_vec(),
                (true, false) => directory.to_be_bytes().to_vec(),
                (false, true) => small.to_le_bytes().to_vec(),
                (false, false) => small.to_be_bytes().to_vec(),
            };
            // It ends the head, and is half of it.
            head.truncate(bytes.len());
            head.extend(bytes);
        }
        Ok(Self { file, head, at: 0 })
    }
}

impl Read for Led {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let head = usize::try_from(self.at).ok().and_then(|at| self.head.get(at..)).filter(|head| !head.is_empty());
        let length = match head {
            Some(mut head) => {
                let length = head.read(buffer)?;
                self.file.seek(SeekFrom::Start(self.at + length as u64))?;
                length
            }
            None => self.file.read(buffer)?,
        };
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Led {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
}

fn fault(why: impl std::fmt::Display) -> ImageError {
    broken(ImageFormat::Tiff, &why.to_string())
}
