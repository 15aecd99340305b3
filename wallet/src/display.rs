//! Text from strangers, made safe to show on a terminal or a page.
//!
//! Control characters can rewrite what stands on a terminal, bidirectional overrides and isolates can make a line read as
//! another (CVE-2021-42574 and its kind). Everything that a script needs stays: Persian its zero-width non-joiner U+200C,
//! emoji and Indic scripts their joiner U+200D.

/// What stands in the place of a character that was taken out: U+FFFD.
pub const REPLACEMENT: char = '\u{fffd}';

/// Several lines of text: newline and tab stay, other control characters, line separators and bidirectional overrides,
/// embeddings and isolates become U+FFFD; invisible direction marks are dropped.
pub fn safe_text(text: &str) -> String {
    text.chars().filter(|c| !is_direction_mark(*c)).map(|c| if is_unsafe(c) { REPLACEMENT } else { c }).collect()
}

/// One line of text: as [`safe_text`], and newlines and tabs become spaces.
pub fn safe_line(text: &str) -> String {
    safe_text(text).replace(['\n', '\t'], " ")
}

/// JSON as it may be shown on a terminal: the characters that [`safe_text`] takes out stand as `\uXXXX`, which reads as the
/// same value. In JSON they stand nowhere but in strings.
pub fn safe_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unsafe(c) || is_direction_mark(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| safe.push_str(&format!("\\u{unit:04x}")));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Control characters but newline and tab (C0, DEL, C1), line and paragraph separator, and what changes the direction of
/// the text around it: U+202A to U+202E, U+2066 to U+2069, and the deprecated U+206A to U+206F.
pub(crate) fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
}

/// U+200E, U+200F and U+061C: they show nothing, and can move neighbouring digits and punctuation.
pub(crate) fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_deceive_is_taken_out() {
        assert_eq!(safe_text("a\u{1b}[2Jb\rc\u{7}\u{9b}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\u{fffd}d");
        assert_eq!(
            safe_text("pay \u{202e}001\u{202c} now\u{2066}!\u{2069}"),
            "pay \u{fffd}001\u{fffd} now\u{fffd}!\u{fffd}"
        );
        assert_eq!(safe_text("1\u{200f}2\u{61c}3"), "123");
        assert_eq!(safe_line("a\nb\tc\u{2028}d"), "a b c\u{fffd}d");
    }

    #[test]
    fn what_scripts_need_stays() {
        for text in ["می\u{200c}خواهم\n\tقاصدک ۱۲۳", "שלום", "👩\u{200d}👧", "नमस्ते", "e\u{301}"]
        {
            assert_eq!(safe_text(text), text);
        }
    }

    #[test]
    fn json_shows_as_escapes_what_could_deceive() {
        let text = "a\u{9b}2Jb\u{7f} \u{202e}001\u{202c}\u{200f}\u{2028} می\u{200c}خواهم \"q\" \u{1b}\n";
        let json = safe_json(&serde_json::to_string(text).unwrap());
        let shown = "\"a\\u009b2Jb\\u007f \\u202e001\\u202c\\u200f\\u2028 می\u{200c}خواهم \\\"q\\\" \\u001b\\n\"";
        assert_eq!(json, shown);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    proptest! {
        /// Whatever it says, JSON that is made safe reads as the same value.
        #[test]
        fn safe_json_is_the_same_value(text: String) {
            let json = safe_json(&serde_json::to_string(&text).unwrap());
            prop_assert!(!json.chars().any(|c| is_unsafe(c) || is_direction_mark(c)));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        /// Making text safe twice changes nothing more, and nothing unsafe is left.
        #[test]
        fn safe_stays_safe(text: String) {
            let safe = safe_text(&text);
            prop_assert!(!safe.chars().any(|c| is_unsafe(c) || is_direction_mark(c)));
            prop_assert_eq!(safe_text(&safe), safe);
        }
    }
}
