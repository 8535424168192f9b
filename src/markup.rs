//! Text from outside in what people read: words, HTML and XML.

/// The text for a line of words: control characters, which a terminal may obey, become spaces.
#[cfg(any(feature = "backbone", feature = "broker", feature = "npy"))]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The text for HTML and XML, between tags and in attributes; characters that neither may hold become spaces.
#[cfg(any(feature = "inspect", feature = "label"))]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}
