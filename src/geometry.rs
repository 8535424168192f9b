//! Boxes in frame pixels, the patch grid, and the only IoU.

/// A box in frame pixels: `xmin..xmax` by `ymin..ymax`, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelBox {
    pub xmin: u32,
    pub ymin: u32,
    pub xmax: u32,
    pub ymax: u32,
}

impl PixelBox {
    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.xmax.saturating_sub(self.xmin)
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.ymax.saturating_sub(self.ymin)
    }

    /// Area in square pixels.
    pub fn area(&self) -> u64 {
        u64::from(self.width()) * u64::from(self.height())
    }

    /// Intersection over union, in 0..=1; 0 where both boxes are empty.
    pub fn iou(&self, other: &PixelBox) -> f64 {
        let both = PixelBox {
            xmin: self.xmin.max(other.xmin),
            ymin: self.ymin.max(other.ymin),
            xmax: self.xmax.min(other.xmax),
            ymax: self.ymax.min(other.ymax),
        }
        .area();
        let union = self.area() + other.area() - both;
        if union == 0 { 0.0 } else { both as f64 / union as f64 }
    }
}

/// A box whose edges may lie anywhere, as people draw them: `[xmin, ymin, xmax, ymax]` in pixels, half-open.
pub type DrawnBox = [f64; 4];

/// Area of a drawn box in square pixels.
pub fn area(a: &DrawnBox) -> f64 {
    (a[2] - a[0]).max(0.0) * (a[3] - a[1]).max(0.0)
}

/// Area that two drawn boxes share, in square pixels.
pub fn shared_area(a: &DrawnBox, b: &DrawnBox) -> f64 {
    area(&[a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])])
}

/// [`PixelBox::iou`] of drawn boxes.
pub fn iou(a: &DrawnBox, b: &DrawnBox) -> f64 {
    let both = shared_area(a, b);
    let union = area(a) + area(b) - both;
    if union > 0.0 { both / union } else { 0.0 }
}

/// The same box, larger on every side by this share of its own.
pub fn grown(bbox: &[f32; 4], by: f32) -> [f32; 4] {
    let reach = [0, 1].map(|side| by * (bbox[side + 2] - bbox[side]));
    [bbox[0] - reach[0], bbox[1] - reach[1], bbox[2] + reach[0], bbox[3] + reach[1]]
}

/// [`iou`] of two boxes made wider by a share of their sides.
pub fn overlap(a: &[f32; 4], b: &[f32; 4], wider: f32) -> f32 {
    let wide = |of: &[f32; 4]| grown(of, wider / 2.0).map(f64::from);
    iou(&wide(a), &wide(b)) as f32
}

/// The patch grid of one model input: patches are numbered row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub rows: usize,
    pub cols: usize,
}

impl Grid {
    /// Number of patches.
    pub fn patches(&self) -> usize {
        self.rows * self.cols
    }
}

/// How a grid lies over the image it was computed from.
///
/// The image is padded on the right and bottom to a multiple of the patch, so the grid may reach past it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchLayout {
    pub grid: Grid,
    /// Side of a patch in image pixels.
    pub patch: u32,
    /// Width of the image before padding, in pixels.
    pub image_width: u32,
    /// Height of the image before padding, in pixels.
    pub image_height: u32,
}

impl PatchLayout {
    /// The pixels of the patches `rows` × `cols` (both half-open), clipped to the image.
    pub fn pixels_from_patches(&self, rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) -> PixelBox {
        let scale = |patch: usize, limit: u32| (patch as u64 * u64::from(self.patch)).min(u64::from(limit)) as u32;
        PixelBox {
            xmin: scale(cols.start, self.image_width),
            ymin: scale(rows.start, self.image_height),
            xmax: scale(cols.end, self.image_width),
            ymax: scale(rows.end, self.image_height),
        }
    }

    /// A box of the image in the pixels of the frame the image was scaled from, each edge rounded to the nearest pixel.
    pub fn frame_from_image(&self, bbox: &PixelBox, frame_width: u32, frame_height: u32) -> PixelBox {
        let scale = |edge: u32, frame: u32, image: u32| {
            ((2 * u64::from(edge) * u64::from(frame) + u64::from(image)) / (2 * u64::from(image))) as u32
        };
        PixelBox {
            xmin: scale(bbox.xmin, frame_width, self.image_width),
            ymin: scale(bbox.ymin, frame_height, self.image_height),
            xmax: scale(bbox.xmax, frame_width, self.image_width),
            ymax: scale(bbox.ymax, frame_height, self.image_height),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_of_half_overlapping_boxes_is_one_third() {
        let a = PixelBox { xmin: 0, ymin: 0, xmax: 2, ymax: 2 };
        let b = PixelBox { xmin: 1, ymin: 0, xmax: 3, ymax: 2 };
        assert_eq!(a.iou(&b), 1.0 / 3.0);
        let empty = PixelBox { xmin: 1, ymin: 1, xmax: 1, ymax: 1 };
        assert_eq!(empty.iou(&empty), 0.0);
        let drawn = |b: PixelBox| [b.xmin, b.ymin, b.xmax, b.ymax].map(f64::from);
        assert_eq!(iou(&drawn(a), &drawn(b)), 1.0 / 3.0);
        assert_eq!(iou(&drawn(empty), &drawn(empty)), 0.0);
    }
}
