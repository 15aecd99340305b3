//! A search for secrets in bytes, in every form in which a program might write one down by mistake; and proof that it
//! finds them.

use std::{fs, path::Path};

use crate::harness::files;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// One form of one secret.
struct Needle {
    secret: String,
    form: &'static str,
    bytes: Vec<u8>,
}

/// Looks for many secrets at once.
pub struct Search {
    needles: Vec<Needle>,
    /// Needles by their first two bytes.
    starts: Vec<Vec<usize>>,
}

impl Search {
    /// A search for these texts.
    pub fn of<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Self {
        let mut search = Self { needles: Vec::new(), starts: vec![Vec::new(); 1 << 16] };
        texts.into_iter().for_each(|text| search.add_text(text.as_ref()));
        search
    }

    /// Looks for a text too.
    pub fn add_text(&mut self, text: &str) {
        text_forms(text).into_iter().for_each(|(form, bytes)| self.add(text, form, bytes));
    }

    /// Looks for a key too.
    pub fn add_bytes(&mut self, name: &str, key: &[u8]) {
        byte_forms(key).into_iter().for_each(|(form, bytes)| self.add(name, form, bytes));
    }

    fn add(&mut self, secret: &str, form: &'static str, bytes: Vec<u8>) {
        assert!(bytes.len() >= 8, "{secret:?} as {form} is too short: it would be found by chance");
        self.starts[start(&bytes)].push(self.needles.len());
        self.needles.push(Needle { secret: secret.to_owned(), form, bytes });
    }

    /// The first secret that stands there: which, in what form, and where.
    pub fn find(&self, bytes: &[u8]) -> Option<(&str, &'static str, usize)> {
        let found_at = |at: usize| {
            let candidates = self.starts[start(&bytes[at..])].iter().map(|index| &self.needles[*index]);
            let mut found = candidates.filter(|needle| bytes[at..].starts_with(&needle.bytes));
            found.next().map(|needle| (needle.secret.as_str(), needle.form, at))
        };
        (0..bytes.len().saturating_sub(1)).find_map(found_at)
    }

    /// The first secret that stands there, in a sentence.
    fn told_by(&self, what: &str, bytes: &[u8]) -> Result<(), String> {
        self.find(bytes).map_or(Ok(()), |(secret, form, at)| {
            let around = &bytes[at.saturating_sub(120)..bytes.len().min(at + 200)];
            Err(format!("{secret:?} stands in {what} as {form}: …{}…", String::from_utf8_lossy(around)))
        })
    }

    /// The first secret in a file below the directory or in a file's name, in a sentence; else how many files and bytes
    /// were searched.
    fn told_below(&self, dir: &Path) -> Result<(usize, u64), String> {
        let (mut count, mut total) = (0, 0);
        for file in files(dir) {
            self.told_by("a file's name", file.to_string_lossy().as_bytes())?;
            // One that a running node has removed meanwhile holds nothing any more.
            if let Ok(bytes) = fs::read(&file) {
                self.told_by(&file.display().to_string(), &bytes)?;
                (count, total) = (count + 1, total + bytes.len() as u64);
            }
        }
        Ok((count, total))
    }

    /// Fails when one stands there.
    pub fn absent_from(&self, what: &str, bytes: &[u8]) {
        self.told_by(what, bytes).unwrap_or_else(|told| panic!("{told}"));
    }

    /// Fails when one stands in a file below the directory, or in a file's name. Returns how many files and bytes were
    /// searched.
    pub fn absent_below(&self, dir: &Path) -> (usize, u64) {
        self.told_below(dir).unwrap_or_else(|told| panic!("{told}"))
    }
}

fn start(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// The forms of a text: those of its bytes, two-byte characters, and the escapes of JSON and of addresses.
fn text_forms(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = byte_forms(text.as_bytes());
    forms.push(("UTF-16, little-endian", text.encode_utf16().flat_map(u16::to_le_bytes).collect()));
    forms.push(("UTF-16, big-endian", text.encode_utf16().flat_map(u16::to_be_bytes).collect()));
    let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    forms.push(("JSON escapes", escaped.into_bytes()));
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    if !text.bytes().all(|byte| plain(&byte)) {
        let coded = |space: &str| {
            let coded = text.bytes().map(|byte| match byte {
                b' ' => space.to_owned(),
                byte if plain(&byte) => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            });
            coded.collect::<String>().into_bytes()
        };
        forms.push(("percent-encoding", coded("%20")));
        forms.push(("form encoding", coded("+")));
    }
    forms
}

fn byte_forms(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let joined = |each: &dyn Fn(&u8) -> String, between: &str| {
        bytes.iter().map(each).collect::<Vec<_>>().join(between).into_bytes()
    };
    let mut forms = vec![
        ("itself", bytes.to_vec()),
        ("hexadecimal", joined(&|byte| format!("{byte:02x}"), "")),
        ("upper-case hexadecimal", joined(&|byte| format!("{byte:02X}"), "")),
        ("hexadecimal with spaces", joined(&|byte| format!("{byte:02x}"), " ")),
        ("a list of numbers", joined(&u8::to_string, ", ")),
        ("a dense list of numbers", joined(&u8::to_string, ",")),
    ];
    for lead in 0..3 {
        forms.push(("base64", base64_inside(bytes, lead, STANDARD)));
        forms.push(("URL-safe base64", base64_inside(bytes, lead, URL_SAFE)));
    }
    forms
}

/// What of the base64 of a longer text depends on these bytes alone, when `lead` bytes (mod 3) stand before them.
fn base64_inside(bytes: &[u8], lead: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bit = |at: usize| at.checked_sub(lead * 8).map(|at| bytes[at / 8] >> (7 - at % 8) & 1);
    let whole = (lead + bytes.len()) * 8 / 6;
    let digit = |nth: usize| (nth * 6..nth * 6 + 6).try_fold(0, |sum, at| Some(sum << 1 | usize::from(bit(at)?)));
    (0..whole).filter_map(digit).map(|digit| alphabet[digit]).collect()
}

/// The search is worth something only if it finds what is there.
#[test]
fn the_search_finds_a_secret_in_every_form() {
    const SECRET: &str = "a planted secret, یک راز";
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("deep").join("below");
    fs::create_dir_all(&place).unwrap();
    let mut search = Search::of([SECRET, "another-one-entirely"]);
    search.add_bytes("a key", &[0xfe; 32]);
    let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(place.join("noise"), &noise).unwrap();
    assert_eq!(search.told_below(dir.path()), Ok((1, 100_000)));
    for (form, bytes) in text_forms(SECRET) {
        for shift in [0, 1, 70_001] {
            let mut planted = noise.clone();
            planted.splice(shift..shift, bytes.iter().copied());
            fs::write(place.join("planted"), &planted).unwrap();
            let told = search.told_below(dir.path()).unwrap_err();
            assert!(told.contains("a planted secret") && told.contains("planted as"), "{form}: {told}");
        }
        fs::remove_file(place.join("planted")).unwrap();
    }
    fs::write(place.join("another-one-entirely.txt"), "").unwrap();
    assert!(search.told_below(dir.path()).is_err(), "a file's name tells too");
    assert_eq!(search.find(&[[1; 9].as_slice(), &[0xfe; 32], &[2]].concat()), Some(("a key", "itself", 9)));
}

/// Held against what another program makes of it.
#[test]
fn base64_is_found_wherever_it_begins() {
    // "canary" after 0, 1 and 2 bytes: Y2FuYXJ5, eGNhbmFyeQ==, eHhjYW5hcnk=.
    for (lead, inside) in [(0, "Y2FuYXJ5"), (1, "NhbmFye"), (2, "jYW5hcn")] {
        let inside_of = base64_inside(b"canary", lead, STANDARD);
        assert!(String::from_utf8(inside_of).unwrap().starts_with(inside), "{lead}");
    }
    for (lead, whole) in [(0, "Y2FuYXJ5"), (1, "eGNhbmFyeQ=="), (2, "eHhjYW5hcnk=")] {
        let inside = String::from_utf8(base64_inside(b"canary", lead, STANDARD)).unwrap();
        assert!(whole.contains(&inside) && inside.len() >= 7, "{inside} in {whole}");
    }
}
