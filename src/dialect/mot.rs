//! MOT Challenge's lines: `frame,track,left,top,width,height,score,-1,-1,-1`. Frames and pixels are counted from 1.

use super::{Encoded, Thing, things};
use crate::record::FrameRecord;

/// Without the end of the last line; none where there are no objects.
pub fn frame(record: &FrameRecord) -> Option<Encoded> {
    let number = record.frame.checked_add(1)?;
    let line = |thing: Thing<'_>| {
        let ([xmin, ymin, ..], [width, height]) = (thing.bbox, thing.size());
        let track = thing.track.map_or("-1".to_owned(), |(id, _)| id.to_string());
        format!("{number},{track},{},{},{width},{height},{},-1,-1,-1", xmin + 1, ymin + 1, thing.score)
    };
    let lines = Vec::from_iter(things(record).map(line)).join("\n");
    (!lines.is_empty()).then(|| Encoded { body: lines.into_bytes(), content_type: "text/csv" })
}
