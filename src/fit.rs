//! A picture of any format and size → the pixels that the model sees: the one scaler of video frames and still pictures, so that
//! the same pixels give the same boxes whichever way they came.
//!
//! Planes are scaled as they are, each output pixel the mean over what it covers, weighted by a triangle, in integers; colours are
//! converted at the small size. So a full-size picture is read once, and the result is the same to the bit on every machine.

#![expect(unsafe_code, reason = "rows of a plane with strides are lent to the scaler")]

use crate::fault::{Kind, OfKind};
use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::{U8, U8x2, U8x3, U8x4};
use fast_image_resize::{FilterType, ImageView, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

/// How the pixels of a picture lie in memory, 8 bits per sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    /// One plane of red, green, blue.
    Rgb,
    Bgr,
    /// One plane of red, green, blue, and what is not looked at.
    Rgbx,
    Bgrx,
    /// Luma, then Cb and Cr at half its width and height.
    I420,
    /// Luma, then Cb and Cr at half its width.
    I422,
    /// Luma, then Cb and Cr as large.
    I444,
    /// Luma, then Cb and Cr in turn at half its width and height.
    Nv12,
    Grey,
}

/// What luma and chroma mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Colour {
    /// Share of red and of blue in luma: 0.299 and 0.114 for BT.601, 0.2126 and 0.0722 for BT.709.
    pub kr: f64,
    pub kb: f64,
    /// Luma from 0 to 255, not from 16 to 235.
    pub is_full_range: bool,
}

impl Colour {
    /// Of small video, and of JPEG but for its range.
    pub const BT601: Self = Self { kr: 0.299, kb: 0.114, is_full_range: false };
}

/// Rows of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    pub bytes: &'a [u8],
    /// From one row to the next, in bytes.
    pub stride: usize,
}

/// A picture that is lent: by a decoder's buffer, a decoded file, an array.
#[derive(Clone, Copy, Debug)]
pub struct PictureView<'a> {
    format: PixelFormat,
    width: u32,
    height: u32,
    planes: [Plane<'a>; 3],
    colour: Colour,
}

/// Why a picture cannot be scaled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    #[error(
        "{format:?} {width}x{height}: plane {plane} has {bytes} bytes, {stride} each row (expected at least {rows} rows of {row})"
    )]
    Plane {
        format: PixelFormat,
        width: u32,
        height: u32,
        plane: usize,
        bytes: usize,
        stride: usize,
        rows: usize,
        row: usize,
    },
    #[error("a place of {bytes} bytes for a picture of {width}x{height} (expected {wanted})")]
    Place { width: u32, height: u32, bytes: usize, wanted: usize },
    #[error("a picture of {0}x{1}")]
    Empty(u32, u32),
}

impl OfKind for FitError {
    fn kind(&self) -> Kind {
        match self {
            Self::Plane { .. } | Self::Empty(..) => Kind::Input,
            Self::Place { .. } => Kind::Internal,
        }
    }
}

impl PixelFormat {
    /// Of each plane: bytes of a pixel, and by what its width and height are divided.
    fn planes(self) -> &'static [(usize, (u32, u32))] {
        const WHOLE: (u32, u32) = (1, 1);
        match self {
            Self::Rgb | Self::Bgr => &[(3, WHOLE)],
            Self::Rgbx | Self::Bgrx => &[(4, WHOLE)],
            Self::Grey => &[(1, WHOLE)],
            Self::I420 => &[(1, WHOLE), (1, (2, 2)), (1, (2, 2))],
            Self::I422 => &[(1, WHOLE), (1, (2, 1)), (1, (2, 1))],
            Self::I444 => &[(1, WHOLE), (1, WHOLE), (1, WHOLE)],
            Self::Nv12 => &[(1, WHOLE), (2, (2, 2))],
        }
    }
}

impl<'a> PictureView<'a> {
    /// `width` × `height` pixels in as many `planes` as the format has. An error where a plane is too short.
    pub fn new(
        format: PixelFormat,
        (width, height): (u32, u32),
        planes: &[Plane<'a>],
        colour: Colour,
    ) -> Result<Self, FitError> {
        if width == 0 || height == 0 {
            return Err(FitError::Empty(width, height));
        }
        let mut own = [Plane { bytes: &[], stride: 0 }; 3];
        for (index, &(bytes, by)) in format.planes().iter().enumerate() {
            let plane = planes.get(index).copied().unwrap_or(own[index]);
            let (row, rows) = (width.div_ceil(by.0) as usize * bytes, height.div_ceil(by.1) as usize);
            let needed = (rows - 1).checked_mul(plane.stride).and_then(|bytes| bytes.checked_add(row));
            if plane.stride < row || needed.is_none_or(|needed| plane.bytes.len() < needed) {
                let (bytes, stride) = (plane.bytes.len(), plane.stride);
                return Err(FitError::Plane { format, width, height, plane: index, bytes, stride, rows, row });
            }
            own[index] = plane;
        }
        Ok(Self { format, width, height, planes: own, colour })
    }

    /// The part of it from `from` to `to`, `[x, y]` in its pixels, half-open; the edges moved outwards to whole pixels of all planes.
    pub fn part(&self, from: [u32; 2], to: [u32; 2]) -> Self {
        let sides = [self.width, self.height];
        let from = [0, 1].map(|side| from[side].min(sides[side] - 1) & !1);
        let to = [0, 1].map(|side| to[side].next_multiple_of(2).clamp(from[side] + 1, sides[side]));
        let mut planes = self.planes;
        for (plane, (bytes, by)) in planes.iter_mut().zip(self.format.planes()) {
            let first = (from[1] / by.1) as usize * plane.stride + (from[0] / by.0) as usize * bytes;
            plane.bytes = &plane.bytes[first..];
        }
        Self { width: to[0] - from[0], height: to[1] - from[1], planes, ..*self }
    }

    /// `(width, height)` in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Packed RGB, `[height, width, 3]`.
    pub fn rgb(pixels: &'a [u8], width: u32, height: u32) -> Result<Self, FitError> {
        let plane = Plane { bytes: pixels, stride: width as usize * 3 };
        Self::new(PixelFormat::Rgb, (width, height), &[plane], Colour::BT601)
    }
}

/// Scales pictures; keeps the memory for it.
#[derive(Default)]
pub struct Fit {
    resizer: Resizer,
    /// Of each plane, scaled.
    scaled: [Vec<u8>; 3],
}

impl Fit {
    /// Writes the picture, stretched over `size`, as packed RGB `[height, width, 3]`.
    pub fn rgb(&mut self, picture: &PictureView<'_>, size: (u32, u32), pixels: &mut [u8]) -> Result<(), FitError> {
        check(size, 3, pixels)?;
        match picture.format {
            PixelFormat::Rgb => self.into::<U8x3>(picture, 0, size, pixels),
            PixelFormat::Bgr => {
                self.into::<U8x3>(picture, 0, size, pixels);
                pixels.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
            }
            PixelFormat::Rgbx | PixelFormat::Bgrx => {
                self.plane::<U8x4>(picture, 0, size);
                let red = if picture.format == PixelFormat::Rgbx { 0 } else { 2 };
                for (to, from) in pixels.chunks_exact_mut(3).zip(self.scaled[0].chunks_exact(4)) {
                    to.copy_from_slice(&[from[red], from[1], from[2 - red]]);
                }
            }
            PixelFormat::Grey => {
                self.plane::<U8>(picture, 0, size);
                to_rgb(picture.colour, &self.scaled[0], std::iter::repeat((&128, &128)), pixels);
            }
            PixelFormat::I420 | PixelFormat::I422 | PixelFormat::I444 => {
                (0..3).for_each(|plane| self.plane::<U8>(picture, plane, size));
                let [luma, cb, cr] = &self.scaled;
                to_rgb(picture.colour, luma, cb.iter().zip(cr), pixels);
            }
            PixelFormat::Nv12 => {
                self.plane::<U8>(picture, 0, size);
                self.plane::<U8x2>(picture, 1, size);
                let [luma, chroma, _] = &self.scaled;
                to_rgb(picture.colour, luma, chroma.chunks_exact(2).map(|pair| (&pair[0], &pair[1])), pixels);
            }
        }
        Ok(())
    }

    /// Writes the picture's luma, stretched over `size`, `[height, width]`, as the picture has it.
    pub fn grey(&mut self, picture: &PictureView<'_>, size: (u32, u32), pixels: &mut [u8]) -> Result<(), FitError> {
        check(size, 1, pixels)?;
        match picture.format {
            PixelFormat::Grey | PixelFormat::I420 | PixelFormat::I422 | PixelFormat::I444 | PixelFormat::Nv12 => {
                self.into::<U8>(picture, 0, size, pixels)
            }
            PixelFormat::Rgb | PixelFormat::Bgr => {
                self.plane::<U8x3>(picture, 0, size);
                let red = if picture.format == PixelFormat::Rgb { 0 } else { 2 };
                luma_of(picture.colour, &self.scaled[0], 3, red, pixels);
            }
            PixelFormat::Rgbx | PixelFormat::Bgrx => {
                self.plane::<U8x4>(picture, 0, size);
                let red = if picture.format == PixelFormat::Rgbx { 0 } else { 2 };
                luma_of(picture.colour, &self.scaled[0], 4, red, pixels);
            }
        }
        Ok(())
    }

    /// Scales one plane into its own memory.
    fn plane<P: PixelTrait + bytemuck::Pod>(&mut self, picture: &PictureView<'_>, plane: usize, size: (u32, u32)) {
        let mut pixels = std::mem::take(&mut self.scaled[plane]);
        pixels.resize(size.0 as usize * size.1 as usize * P::size(), 0);
        self.into::<P>(picture, plane, size, &mut pixels);
        self.scaled[plane] = pixels;
    }

    fn into<P: PixelTrait + bytemuck::Pod>(
        &mut self,
        picture: &PictureView<'_>,
        plane: usize,
        (width, height): (u32, u32),
        pixels: &mut [u8],
    ) {
        let by = picture.format.planes()[plane].1;
        let (own_width, own_height) = (picture.width.div_ceil(by.0), picture.height.div_ceil(by.1));
        let Plane { bytes, stride } = picture.planes[plane];
        let rows = Rows::<P> { bytes, stride, width: own_width, height: own_height, pixel: std::marker::PhantomData };
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false);
        // A place of the right size, which was looked at, is all that can be wrong here.
        if let Ok(mut to) = TypedImage::<P>::from_pixels_slice(width, height, bytemuck::cast_slice_mut(pixels)) {
            self.resizer.resize_typed(&rows, &mut to, &options).ok();
        }
    }
}

fn check((width, height): (u32, u32), bytes: usize, pixels: &[u8]) -> Result<(), FitError> {
    if width == 0 || height == 0 {
        return Err(FitError::Empty(width, height));
    }
    let wanted = width as usize * height as usize * bytes;
    if pixels.len() == wanted { Ok(()) } else { Err(FitError::Place { width, height, bytes: pixels.len(), wanted }) }
}

/// Rows of a plane whose checked view this is, as the resizer reads them.
struct Rows<'a, P> {
    bytes: &'a [u8],
    stride: usize,
    width: u32,
    height: u32,
    pixel: std::marker::PhantomData<P>,
}

// SAFETY: every row has `width` pixels: `PictureView::new` has looked, and a slice that is shorter would end the program here.
unsafe impl<P: PixelTrait + bytemuck::Pod> ImageView for Rows<'_, P> {
    type Pixel = P;

    fn width(&self) -> u32 {
        self.width
    }

    fn height(&self) -> u32 {
        self.height
    }

    fn iter_rows(&self, start_row: u32) -> impl Iterator<Item = &[P]> {
        let length = self.width as usize * P::size();
        let row = move |row: u32| {
            let start = row as usize * self.stride;
            bytemuck::cast_slice(&self.bytes[start..start + length])
        };
        (start_row..self.height).map(row)
    }
}

/// Bits behind the point of the factors below.
const BITS: i32 = 16;

fn fixed(factor: f64) -> i32 {
    (factor * f64::from(1 << BITS)).round() as i32
}

/// Luma and chroma of equal size to packed RGB (ITU-R BT.601 and BT.709, section 3, solved for red, green and blue).
fn to_rgb<'a>(colour: Colour, luma: &[u8], chroma: impl Iterator<Item = (&'a u8, &'a u8)>, rgb: &mut [u8]) {
    let Colour { kr, kb, is_full_range } = colour;
    let (black, of_luma, of_chroma) = if is_full_range { (0, 1.0, 1.0) } else { (16, 255.0 / 219.0, 255.0 / 224.0) };
    let kg = 1.0 - kr - kb;
    let scale = fixed(of_luma);
    let (to_red, to_blue) = (fixed(2.0 * (1.0 - kr) * of_chroma), fixed(2.0 * (1.0 - kb) * of_chroma));
    let (red_to_green, blue_to_green) =
        (fixed(2.0 * kr * (1.0 - kr) / kg * of_chroma), fixed(2.0 * kb * (1.0 - kb) / kg * of_chroma));
    let byte = |value: i32| (value >> BITS).clamp(0, 255) as u8;
    for ((pixel, &luma), (&cb, &cr)) in rgb.chunks_exact_mut(3).zip(luma).zip(chroma) {
        let luma = (i32::from(luma) - black) * scale + (1 << (BITS - 1));
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        pixel[0] = byte(luma + cr * to_red);
        pixel[1] = byte(luma - cr * red_to_green - cb * blue_to_green);
        pixel[2] = byte(luma + cb * to_blue);
    }
}

/// Luma over the whole range of packed pixels of so many bytes, red at the place `red`, blue opposite.
fn luma_of(Colour { kr, kb, .. }: Colour, packed: &[u8], bytes: usize, red: usize, luma: &mut [u8]) {
    let (kr, kb) = (fixed(kr), fixed(kb));
    let kg = (1 << BITS) - kr - kb;
    for (to, from) in luma.iter_mut().zip(packed.chunks_exact(bytes)) {
        let [r, g, b] = [from[red], from[1], from[2 - red]].map(i32::from);
        *to = ((r * kr + g * kg + b * kb + (1 << (BITS - 1))) >> BITS) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers without a pattern.
    fn noise(count: usize) -> Vec<u8> {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..count).map(|_| next()).collect()
    }

    /// What is at `(x, y)` of the result, in floating point: the mean over what it covers, weighted by a triangle.
    fn naive(
        at: impl Fn(usize, usize) -> f64,
        from: (usize, usize),
        to: (usize, usize),
        (x, y): (usize, usize),
    ) -> f64 {
        let weights = |position: usize, from: usize, to: usize| -> Vec<f64> {
            let scale = from as f64 / to as f64;
            let (centre, reach) = ((position as f64 + 0.5) * scale, scale.max(1.0));
            let weight = |at: usize| (1.0 - ((at as f64 + 0.5 - centre) / reach).abs()).max(0.0);
            let all: Vec<f64> = (0..from).map(weight).collect();
            let sum: f64 = all.iter().sum();
            all.iter().map(|weight| weight / sum).collect()
        };
        let (across, down) = (weights(x, from.0, to.0), weights(y, from.1, to.1));
        let row = |row: usize| across.iter().enumerate().map(|(column, weight)| weight * at(column, row)).sum::<f64>();
        down.iter().enumerate().map(|(at, weight)| weight * row(at)).sum()
    }

    #[test]
    fn a_pixel_is_the_weighted_mean_over_what_it_covers() {
        let (from, to) = ((37, 23), (16, 8));
        let stride = from.0 * 3 + 5;
        let bytes = noise(stride * from.1);
        let plane = [Plane { bytes: &bytes[..stride * (from.1 - 1) + from.0 * 3], stride }];
        let size = (from.0 as u32, from.1 as u32);
        let picture = PictureView::new(PixelFormat::Rgb, size, &plane, Colour::BT601).unwrap();
        let mut pixels = vec![0; to.0 * to.1 * 3];
        Fit::default().rgb(&picture, (to.0 as u32, to.1 as u32), &mut pixels).unwrap();
        for (index, &value) in pixels.iter().enumerate() {
            let (channel, at) = (index % 3, index / 3);
            let wanted = naive(|x, y| f64::from(bytes[y * stride + x * 3 + channel]), from, to, (at % to.0, at / to.0));
            assert!((f64::from(value) - wanted).abs() < 1.6, "{index}: {value} for {wanted}");
        }
    }

    #[test]
    fn colours_come_out_as_the_standards_say() {
        // Luma, Cb and Cr of the primaries by BT.601 and BT.709, and the same over the full range.
        let jpeg = Colour { is_full_range: true, ..Colour::BT601 };
        let bt709 = Colour { kr: 0.2126, kb: 0.0722, is_full_range: false };
        let known = [
            (Colour::BT601, [81, 90, 240], [254, 0, 0]),
            (Colour::BT601, [145, 54, 34], [0, 255, 1]),
            (Colour::BT601, [41, 240, 110], [0, 0, 255]),
            (bt709, [63, 102, 240], [255, 1, 0]),
            (bt709, [32, 240, 118], [1, 0, 255]),
            (jpeg, [76, 85, 255], [254, 0, 0]),
            (Colour::BT601, [16, 128, 128], [0; 3]),
            (Colour::BT601, [235, 128, 128], [255; 3]),
            (jpeg, [255, 128, 128], [255; 3]),
        ];
        for (colour, [luma, cb, cr], wanted) in known {
            let (luma, cb, cr) = ([luma; 16], [cb; 4], [cr; 4]);
            let both = [cb[0], cr[0]].repeat(4);
            let plane = |bytes, stride| Plane { bytes, stride };
            let i420 = [plane(&luma[..], 4), plane(&cb, 2), plane(&cr, 2)];
            let nv12 = [plane(&luma[..], 4), plane(&both, 4)];
            let whole = [cb[0], cr[0]].map(|value| [value; 16]);
            let i444 = [plane(&luma[..], 4), plane(&whole[0], 4), plane(&whole[1], 4)];
            let i422 = [plane(&luma[..], 4), plane(&whole[0], 2), plane(&whole[1], 2)];
            for (format, planes) in [
                (PixelFormat::I420, &i420[..]),
                (PixelFormat::Nv12, &nv12),
                (PixelFormat::I422, &i422),
                (PixelFormat::I444, &i444),
            ] {
                let picture = PictureView::new(format, (4, 4), planes, colour).unwrap();
                let mut pixels = [0; 12];
                Fit::default().rgb(&picture, (2, 2), &mut pixels).unwrap();
                let is_near = pixels.chunks(3).all(|pixel| pixel.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= 2));
                assert!(is_near, "{colour:?} {format:?}: {pixels:?} for {wanted:?}");
            }
        }
    }

    #[test]
    fn the_order_of_the_bytes_does_not_matter() {
        let rgb = noise(30 * 20 * 3);
        let four = |order: [usize; 3]| -> Vec<u8> {
            rgb.chunks(3).flat_map(|pixel| [pixel[order[0]], pixel[order[1]], pixel[order[2]], 9]).collect()
        };
        let three: Vec<u8> = rgb.chunks(3).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect();
        let formats = [
            (PixelFormat::Rgb, rgb.clone(), 90),
            (PixelFormat::Bgr, three, 90),
            (PixelFormat::Rgbx, four([0, 1, 2]), 120),
            (PixelFormat::Bgrx, four([2, 1, 0]), 120),
        ];
        let fitted = formats.map(|(format, bytes, stride)| {
            let picture =
                PictureView::new(format, (30, 20), &[Plane { bytes: &bytes, stride }], Colour::BT601).unwrap();
            let (mut pixels, mut grey) = (vec![0; 16 * 8 * 3], vec![0; 16 * 8]);
            let mut fit = Fit::default();
            fit.rgb(&picture, (16, 8), &mut pixels).unwrap();
            fit.grey(&picture, (16, 8), &mut grey).unwrap();
            (pixels, grey)
        });
        let near = |a: &[u8], b: &[u8]| a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= 1);
        assert!(fitted.iter().all(|(pixels, grey)| near(pixels, &fitted[0].0) && near(grey, &fitted[0].1)));
    }

    #[test]
    fn a_part_is_what_a_picture_of_it_alone_would_be() {
        let (width, height, stride) = (30usize, 20usize, 34usize);
        let luma = noise(stride * height);
        let chroma = noise(stride * height / 2);
        let planes = [Plane { bytes: &luma, stride }, Plane { bytes: &chroma, stride }];
        let fit = |picture: &PictureView<'_>| {
            let mut pixels = vec![0; 16 * 8 * 3];
            Fit::default().rgb(picture, (16, 8), &mut pixels).unwrap();
            pixels
        };
        let new = |size, planes| PictureView::new(PixelFormat::Nv12, size, planes, Colour::BT601).unwrap();
        let whole = new((width as u32, height as u32), &planes);
        // From 6 to 22, from 4 to 14.
        let cut = |bytes: &[u8], rows: std::ops::Range<usize>| -> Vec<u8> {
            rows.flat_map(|row| bytes[row * stride + 6..row * stride + 22].to_vec()).collect()
        };
        let (own_luma, own_chroma) = (cut(&luma, 4..14), cut(&chroma, 2..7));
        let own = [Plane { bytes: &own_luma, stride: 16 }, Plane { bytes: &own_chroma, stride: 16 }];
        assert_eq!(fit(&whole.part([7, 5], [21, 13])), fit(&new((16, 10), &own)));
        assert_eq!(whole.part([29, 19], [99, 99]).width, 2, "no further than the picture");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let bytes = [0; 100];
        let plane = |stride| [Plane { bytes: &bytes, stride }];
        let new = |size, stride| PictureView::new(PixelFormat::Rgb, size, &plane(stride), Colour::BT601);
        assert!(new((10, 3), 30).is_ok());
        assert!(new((10, 4), 30).is_err(), "too few rows");
        assert!(new((10, 3), 29).is_err(), "rows that overlap");
        assert!(new((0, 3), 30).is_err());
        assert!(new((10, 3), usize::MAX).is_err());
        assert!(PictureView::new(PixelFormat::I420, (4, 4), &plane(4), Colour::BT601).is_err(), "planes are missing");
        let picture = new((10, 3), 30).unwrap();
        assert!(Fit::default().rgb(&picture, (8, 8), &mut [0; 8]).is_err());
    }
}
