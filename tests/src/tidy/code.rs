//! Rust source reduced to what rules look at, so that prose about a forbidden thing is not mistaken for its use.
//!
//! No parser: comments, strings and characters are blanked out by a scanner that knows their syntax, and paths are
//! read off the rest, with grouped imports spelled out. Enough for code that `rustfmt` has formatted.

/// A path (`std::fs::File`), identifier (`HashMap`) or macro (`println!`) in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The line, from 1.
    pub line: usize,
    /// The segments; the last one ends with `!` when a macro is called.
    pub segments: Vec<String>,
}

impl Mention {
    /// Whether `path` (`std::fs`) occurs in it as consecutive segments.
    pub fn contains(&self, path: &str) -> bool {
        let wanted: Vec<&str> = path.split("::").collect();
        self.segments.windows(wanted.len()).any(|window| window == wanted)
    }
}

/// What follows at a place in the source.
enum Piece {
    Code,
    /// A comment or literal of that many bytes; comments are blanked always, literals when asked.
    Comment(usize),
    Literal(usize),
}

/// The source with comments blanked out, and, unless `keep_strings`, strings and characters too. Lines stay in place.
pub fn stripped(text: &str, keep_strings: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_word = false;
    while let Some(first) = rest.chars().next() {
        let (len, keep) = match piece(rest, in_word) {
            Piece::Code => (first.len_utf8(), true),
            Piece::Comment(len) => (len, false),
            Piece::Literal(len) => (len, keep_strings),
        };
        let (taken, after) = rest.split_at_checked(len).unwrap_or((rest, ""));
        out.extend(taken.chars().map(|c| if keep || c == '\n' { c } else { ' ' }));
        in_word = first.is_alphanumeric() || first == '_';
        rest = after;
    }
    out
}

fn piece(rest: &str, in_word: bool) -> Piece {
    if rest.starts_with("//") {
        return Piece::Comment(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Piece::Comment(block_comment_len(rest));
    }
    if rest.starts_with('"') {
        return Piece::Literal(quoted_len(rest, 0));
    }
    match raw_string_len(rest).filter(|_| !in_word).or_else(|| char_literal_len(rest)) {
        Some(len) => Piece::Literal(len),
        None => Piece::Code,
    }
}

/// Length of a raw string, `r"…"`, `br"…"`, with any number of `#`.
fn raw_string_len(rest: &str) -> Option<usize> {
    let raw = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let body = raw.trim_start_matches('#').strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(raw.len() - body.len() - 1));
    let len = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(rest.len() - body.len() + len)
}

fn block_comment_len(rest: &str) -> usize {
    let mut depth = 0usize;
    let mut len = 0;
    let mut rest = rest;
    while let Some(first) = rest.chars().next() {
        let step = if rest.starts_with("/*") {
            depth += 1;
            2
        } else if rest.starts_with("*/") {
            depth -= 1;
            2
        } else {
            first.len_utf8()
        };
        len += step;
        rest = rest.get(step..).unwrap_or_default();
        if depth == 0 {
            break;
        }
    }
    len
}

/// Length of a quoted string with escapes that starts at `from`.
fn quoted_len(rest: &str, from: usize) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip_while(|(at, _)| *at <= from) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Length of a character literal; `None` for anything else, a lifetime for instance.
fn char_literal_len(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    let first = body.chars().next()?;
    if first == '\\' {
        let end = body.get(2..)?.find('\'')?;
        return Some(1 + 2 + end + 1);
    }
    body.get(first.len_utf8()..)?.starts_with('\'').then_some(first.len_utf8() + 2)
}

/// All paths, identifiers and macros of the source, in order. `use a::{b, c::d}` mentions `a::b` and `a::c::d`.
pub fn mentions(text: &str) -> Vec<Mention> {
    let code = stripped(text, false);
    let mut found = Vec::new();
    // One entry per open brace: the path that stands before it, in a grouped import.
    let mut groups: Vec<Vec<String>> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut line = 1;
    let mut rest = code.as_str();
    while let Some(first) = rest.chars().next() {
        let mut step = first.len_utf8();
        if first.is_alphabetic() || first == '_' {
            step = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (word, after) = rest.split_at(step);
            if path.is_empty() {
                path = groups.last().cloned().unwrap_or_default();
            }
            let called = after.starts_with('!') && !after.starts_with("!=");
            path.push(if called { format!("{word}!") } else { word.to_owned() });
            if !after.starts_with("::") {
                found.push(Mention { line, segments: std::mem::take(&mut path) });
            }
        } else if rest.starts_with("::") {
            step = 2;
        } else {
            match first {
                '{' => groups.push(std::mem::take(&mut path)),
                '}' => drop(groups.pop()),
                '\n' => line += 1,
                _ => {}
            }
            // `a::<T>` and `a::*`: what stands before is a mention of its own.
            if first != '\n' && !path.is_empty() {
                found.push(Mention { line, segments: std::mem::take(&mut path) });
            }
        }
        rest = rest.get(step..).unwrap_or_default();
    }
    found
}

/// The string literals of the source that start with `prefix`, with their lines.
pub fn strings_starting_with(text: &str, prefix: &str) -> Vec<(usize, String)> {
    let quoted = format!("\"{prefix}");
    let code = stripped(text, true);
    let lines = code.lines().enumerate();
    lines
        .flat_map(|(at, line)| line.match_indices(&quoted).map(move |(from, _)| (at + 1, line.get(from + 1..))))
        .filter_map(|(at, rest)| Some((at, rest?.split('"').next()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_nothing_else() {
        let code = r####"a // b "c
d /* e /* f */ g */ h "i \" j" k 'l' m '\'' n 'life o r#"p " q"# r b"s" br"t" for_r"####;
        let words: Vec<String> = mentions(code).into_iter().map(|mention| mention.segments.join("::")).collect();
        assert_eq!(words, ["a", "d", "h", "k", "m", "n", "life", "o", "r", "b", "for_r"]);
        assert_eq!(stripped(code, false).len(), code.len());
        assert!(stripped(code, true).contains("i \\\" j") && !stripped(code, true).contains("e /* f"));
    }

    #[test]
    fn grouped_imports_are_spelled_out() {
        let code =
            "use std::{fs, net::{self, TcpStream as S}, io::Read};\nfn f() { std::fs::read(x); g::<u8>() != h!() }";
        let all = mentions(code);
        let at = |path: &str| all.iter().filter(|mention| mention.contains(path)).map(|m| m.line).collect::<Vec<_>>();
        assert_eq!(at("std::fs"), [1, 2]);
        assert_eq!(at("std::net::TcpStream"), [1]);
        assert_eq!(at("std::io::Read"), [1]);
        assert_eq!(at("h!"), [2]);
        assert_eq!((at("g"), at("fs::read"), at("g!")), (vec![2], vec![2], vec![]));
    }

    #[test]
    fn strings_are_found_outside_comments_only() {
        let found = strings_starting_with("x(\"ab 1\");\n// \"ab 2\"\ny(\"ab 3\", \"ac\")", "ab");
        assert_eq!(found, [(1, "ab 1".to_owned()), (3, "ab 3".to_owned())]);
    }
}
