//! The page: one HTML file that needs nothing else, no server and no network.

use super::{Candidate, Fate, Inspection, METHODS, Past, maps};
use crate::geometry::PixelBox;
use crate::localize::dino_seg::{DEFAULT_HEAD, MASS};
use crate::localize::most::{DropReason, MAX_AREA_SHARE, MIN_SIDE_PX};
use crate::localize::{MOST_MIN_SCORE, SAME_OBJECT_IOU, lost, tokencut};
use crate::markup::escaped;
use crate::picture::{self, RgbImage};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// What the template's marks stand for, in their order.
const MARKS: [&str; 4] = ["{{title}}", "{{style}}", "{{data}}", "{{script}}"];

/// The embedded picture is scaled down to this many pixels, and to this length.
const MAX_PIXELS: f64 = 1280.0 * 960.0;
const MAX_SIDE: f64 = 8192.0;
const JPEG_QUALITY: u8 = 86;

/// What the page says about the picture besides what is in it.
pub struct Caption<'a> {
    /// The file's name, or whatever it is called.
    pub name: &'a str,
    /// Name and content hash of the backbone.
    pub model: &'a str,
    /// `k`, `q` or `v`.
    pub feature: &'a str,
    /// Of a video's frame, in seconds.
    pub time: Option<f64>,
}

/// The whole page, with the past of a video's frame; it is an error where the picture cannot be encoded.
pub fn html(inspection: &Inspection, past: Option<&Past>, picture: &RgbImage, caption: &Caption) -> io::Result<String> {
    // Inside a script element nothing but `<` could end the data.
    let data = data(inspection, past, picture, caption)?.to_string().replace('<', "\\u003c");
    let title = escaped(caption.name);
    let mut page = String::with_capacity(data.len() + 100_000);
    let mut rest = TEMPLATE;
    for (mark, text) in MARKS.into_iter().zip([title.as_str(), STYLE, &data, SCRIPT]) {
        let (before, after) =
            rest.split_once(mark).ok_or_else(|| io::Error::other(format!("no {mark} in the page")))?;
        page.push_str(before);
        page.push_str(text);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

fn data(inspection: &Inspection, past: Option<&Past>, picture: &RgbImage, caption: &Caption) -> io::Result<Value> {
    let Inspection { layout, most, lost, tokencut, dino_seg, .. } = inspection;
    let patches = layout.grid.patches();
    let methods = METHODS.iter().zip(&inspection.methods).map(|(method, detections)| {
        let boxes = detections
            .iter()
            .map(|d| json!({ "bbox": corners(&d.bbox), "score": d.score, "seed": d.seed, "patches": d.patches }));
        json!({ "method": method, "boxes": boxes.collect::<Vec<_>>() })
    });
    let scales = inspection.scales.iter().map(|scale| {
        let votes: Vec<u8> = (0..patches).map(|patch| u8::from(scale.votes(patch))).collect();
        json!({
            "kernel": scale.kernel,
            "windows": [scale.windows.rows, scale.windows.cols],
            "threshold": scale.threshold,
            "entropies": floats(scale.entropies.iter().map(|&bits| bits as f32)),
            "votes": STANDARD.encode(votes),
        })
    });
    let heads = inspection.attention.rows().into_iter().map(|head| floats(head.iter().copied()));
    Ok(json!({
        "name": caption.name,
        "model": caption.model,
        "feature": caption.feature,
        "time": caption.time,
        "picture": { "size": [inspection.picture.0, inspection.picture.1], "url": picture_url(picture)? },
        "grid": [layout.grid.rows, layout.grid.cols],
        "patch": layout.patch,
        "image": [layout.image_width, layout.image_height],
        "dim": inspection.features.values().ncols(),
        "features": floats(inspection.features.values().iter().copied()),
        "degrees": most.degrees,
        "scales": scales.collect::<Vec<_>>(),
        "seeds": most.seeds,
        "clusters": most.clusters,
        "candidates": inspection.candidates.iter().map(candidate).collect::<Vec<_>>(),
        "methods": methods.collect::<Vec<_>>(),
        "lost": { "seed": lost.seed, "pool": lost.pool, "patches": lost.patches },
        "tokencut": {
            "seed": tokencut.seed,
            "eigenvector": floats(tokencut.eigenvector.iter().map(|&value| value as f32)),
            "mask": marked(&tokencut.mask),
            "patches": tokencut.patches,
        },
        "dinoSeg": {
            "head": DEFAULT_HEAD.min(inspection.attention.nrows().saturating_sub(1)),
            "kept": marked(&dino_seg.kept),
            "patches": dino_seg.patches,
        },
        "attention": heads.collect::<Vec<_>>(),
        "past": past.map(of_past),
        "limits": {
            "minSide": MIN_SIDE_PX,
            "maxShare": MAX_AREA_SHARE,
            "sameIou": SAME_OBJECT_IOU,
            "minScore": MOST_MIN_SCORE,
            "expansion": lost::EXPANSION,
            "tau": tokencut::TAU,
            "mass": MASS,
        },
        "colours": { "sequential": maps::SEQUENTIAL, "diverging": maps::DIVERGING, "clusters": maps::CLUSTERS },
    }))
}

fn of_past(past: &Past) -> Value {
    let against = past.against.as_ref().map(|against| {
        json!({
            "size": [against.rows, against.cols],
            "first": against.first,
            "step": against.step,
            "noise": against.noise,
            "pixels": floats(against.pixels.iter().copied()),
        })
    });
    let history: Vec<Value> =
        past.history.iter().map(|moment| json!([moment.seconds, moment.camera, moment.objects])).collect();
    json!({
        "frame": past.record.frame,
        "camera": past.record.camera,
        "inferred": past.record.inferred,
        "objects": past.record.objects,
        "size": [past.size.0, past.size.1],
        "novelty": floats(past.novelty.iter().copied()),
        "foreground": STANDARD.encode(&past.foreground),
        "against": against,
        "history": history,
    })
}

fn candidate(candidate: &Candidate) -> Value {
    let fate = match candidate.fate {
        Fate::Drawn { object, score } => json!({ "kind": "drawn", "object": object, "score": score }),
        Fate::Merged { into, iou, score } => json!({ "kind": "merged", "into": into, "iou": iou, "score": score }),
        Fate::Unsure { score } => json!({ "kind": "unsure", "score": score }),
        Fate::Dropped(DropReason::NoPatches) => json!({ "kind": "no-patches" }),
        Fate::Dropped(DropReason::TooSmall) => json!({ "kind": "too-small" }),
        Fate::Dropped(DropReason::TooLarge) => json!({ "kind": "too-large" }),
    };
    json!({
        "cluster": candidate.cluster,
        "core": candidate.core,
        "pool": candidate.pool,
        "patches": candidate.patches,
        "bbox": candidate.bbox.as_ref().map(corners),
        "size": [candidate.size.0, candidate.size.1],
        "fate": fate,
    })
}

fn corners(bbox: &PixelBox) -> [u32; 4] {
    [bbox.xmin, bbox.ymin, bbox.xmax, bbox.ymax]
}

fn marked(mask: &[bool]) -> Vec<usize> {
    (0..mask.len()).filter(|&patch| mask[patch]).collect()
}

/// Little-endian f32 in base64.
fn floats(values: impl Iterator<Item = f32>) -> String {
    STANDARD.encode(values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>())
}

fn picture_url(picture: &RgbImage) -> io::Result<String> {
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    let scale = (MAX_PIXELS / (width * height)).sqrt().min(MAX_SIDE / width.max(height)).min(1.0);
    let side = |side: f64| ((side * scale).round() as u32).max(1);
    let shown = picture::scaled(picture, side(width), side(height));
    Ok(format!("data:image/jpeg;base64,{}", STANDARD.encode(picture::to_jpeg(&shown, JPEG_QUALITY)?)))
}
