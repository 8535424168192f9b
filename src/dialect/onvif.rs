//! ONVIF's metadata stream, as `onvif.xsd` has had it since version 2.4: a document for each frame whose time is known.

use super::{Encoded, LABEL, captured, things, utc};
use crate::markup::escaped;
use crate::record::FrameRecord;
use jiff::Timestamp;
use std::fmt::{self, Write};

/// A frame's time is mandatory: none where it is not known.
pub fn frame(record: &FrameRecord) -> Option<Encoded> {
    let time = captured(record).and_then(utc).filter(|_| record.width > 0 && record.height > 0)?;
    let mut text = String::new();
    write(record, time, &mut text).ok()?;
    Some(Encoded { body: text.into_bytes(), content_type: "application/xml" })
}

/// Coordinates are pixels, and the transformation brings them to the standard's own, from −1 at the left and the bottom to 1.
fn write(record: &FrameRecord, time: Timestamp, text: &mut String) -> fmt::Result {
    let scale = |side: u32| 2.0 / f64::from(side);
    text.push_str(
        r#"<?xml version="1.0" encoding="UTF-8"?><tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema">"#,
    );
    write!(text, r#"<tt:VideoAnalytics><tt:Frame UtcTime="{time}"><tt:Transformation><tt:Translate x="-1" y="1"/>"#)?;
    write!(text, r#"<tt:Scale x="{}" y="{}"/></tt:Transformation>"#, scale(record.width), -scale(record.height))?;
    for thing in things(record) {
        let [left, top, right, bottom] = thing.bbox;
        let centre = |low, high| f64::midpoint(f64::from(low), f64::from(high));
        text.push_str("<tt:Object");
        if let Some((id, _)) = thing.track {
            write!(text, r#" ObjectId="{id}""#)?;
        }
        text.push_str("><tt:Appearance><tt:Shape>");
        write!(text, r#"<tt:BoundingBox left="{left}" top="{top}" right="{right}" bottom="{bottom}"/>"#)?;
        write!(text, r#"<tt:CenterOfGravity x="{}" y="{}"/>"#, centre(left, right), centre(top, bottom))?;
        let likelihood = format!("<tt:Likelihood>{}</tt:Likelihood>", thing.score);
        write!(
            text,
            "</tt:Shape><tt:Class><tt:ClassCandidate><tt:Type>Other</tt:Type>{likelihood}</tt:ClassCandidate>"
        )?;
        if thing.label != LABEL {
            // What follows the likelihood is anything, but may not be nothing.
            let label = escaped(thing.label);
            write!(text, "<tt:Extension><tt:OtherTypes><tt:Type>{label}</tt:Type>{likelihood}<tt:Extension/>")?;
            text.push_str("</tt:OtherTypes></tt:Extension>");
        }
        text.push_str("</tt:Class></tt:Appearance></tt:Object>");
    }
    text.push_str("</tt:Frame></tt:VideoAnalytics></tt:MetadataStream>");
    Ok(())
}
