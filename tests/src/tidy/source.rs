//! Rules over one Rust file: where which tool may be used, what pure code must not know, and how a file is laid out.

use super::{
    Fault, Rule, Sample,
    code::{mentions, stripped},
};

/// Empty lines for samples that are too long: 10, 100 or 600.
macro_rules! lines {
    (10) => {
        "\n\n\n\n\n\n\n\n\n\n"
    };
    (100) => {
        concat!(
            lines!(10),
            lines!(10),
            lines!(10),
            lines!(10),
            lines!(10),
            lines!(10),
            lines!(10),
            lines!(10),
            lines!(10),
            lines!(10)
        )
    };
    (600) => {
        concat!(lines!(100), lines!(100), lines!(100), lines!(100), lines!(100), lines!(100))
    };
}

/// Most lines of a file.
const FILE_LINES_MAX: usize = 500;
/// Most lines of a function.
const FUNCTION_LINES_MAX: usize = 70;

/// Whether `path` is Rust source of a crate of ours, as against tests and benches.
fn is_source(path: &str) -> bool {
    path.ends_with(".rs") && path.split('/').nth(1) == Some("src")
}

/// Whether `path` lies at or under one of `homes`: `a/b` covers `a/b.rs`, `a/b_c.rs` and `a/b/…`.
fn at_home(path: &str, homes: &[&str]) -> bool {
    homes.iter().any(|home| path.starts_with(home))
}

/// One fault per mention of a banned path, identifier or macro in Rust source.
fn ban(path: &str, text: &str, banned: &[&str], instead: &str) -> Vec<Fault> {
    if !path.ends_with(".rs") {
        return Vec::new();
    }
    let found = mentions(text).into_iter().filter_map(|mention| {
        let name = banned.iter().find(|name| mention.contains(name))?;
        Some(Fault::at(mention.line, format!("`{name}` is not for here: {instead}")))
    });
    found.collect()
}

/// Whether a file of ours is pure: it takes time and randomness as arguments and does no IO (DESIGN §10).
fn is_pure(path: &str) -> bool {
    let impure = ["chain/src/store/disk", "chain/src/audit", "wallet/src/wallet", "wallet/src/keystore"];
    is_source(path) && at_home(path, &["chain/", "wallet/", "p2p/src/engine"]) && !at_home(path, &impure)
}

/// What pure code must not know: files, sockets, clocks, tasks and randomness that nobody handed it.
const IMPURE: [&str; 15] = [
    "tokio",
    "libp2p",
    "futures",
    "std::net",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "File",
    "getrandom",
    "thread_rng",
    "OsRng",
    "SysRng",
];
/// Whose order differs from run to run, so that no two simulations would be alike.
const UNORDERED: [&str; 2] = ["HashMap", "HashSet"];

/// Pure modules know no IO, clock or randomness of their own.
pub const PURE: Rule = Rule {
    demand: "pure code takes time and randomness as arguments and does no IO",
    check: |path, text| if is_pure(path) { ban(path, text, &IMPURE, "pass in what it would give") } else { Vec::new() },
    bad: &[
        ("p2p/src/engine.rs", "use std::{fmt, time::Instant};"),
        ("p2p/src/engine/sync.rs", "async fn f() { tokio::time::sleep(x).await }"),
        ("p2p/src/engine/peers.rs", "use libp2p::PeerId;"),
        ("chain/src/ledger/days.rs", "use std::{collections::BTreeMap, fs};"),
        ("chain/src/rules.rs", "let now = std::time::SystemTime::now();"),
        ("chain/src/rules.rs", "use std::net::{IpAddr, TcpStream};"),
        ("wallet/src/seal.rs", "std::thread::sleep(pause);"),
        ("wallet/src/keys.rs", "getrandom::fill(&mut seed)?;"),
    ],
    good: &[
        ("chain/src/store/disk/files.rs", "use std::fs::File;"),
        ("p2p/src/driver.rs", "use std::time::Instant; use tokio::sync::mpsc;"),
        ("wallet/src/wallet/vault.rs", "use std::fs;"),
        ("p2p/src/engine.rs", "//! Knows no tokio.\nuse std::net_of_peers; let files = 1; // std::fs"),
    ],
};

/// The engine and the ledger iterate in one order only.
pub const ORDERED: Rule = Rule {
    demand: "pure code and the simulator have no collection whose order differs from run to run",
    check: |path, text| {
        let ordered = is_pure(path) || at_home(path, &["tests/sim/"]);
        if ordered { ban(path, text, &UNORDERED, "use BTreeMap or BTreeSet") } else { Vec::new() }
    },
    bad: &[
        ("p2p/src/engine/peers.rs", "use std::collections::{BTreeMap, HashMap};"),
        ("chain/src/ledger.rs", "let x = std::collections::HashSet::new();"),
        ("tests/sim/world.rs", "use std::collections::HashMap;"),
    ],
    good: &[("p2p/src/driver.rs", "use std::collections::HashMap;"), ("p2p/src/engine.rs", "// no HashMap\n")],
};

/// The signature rule is `verify_strict`, one at a time.
pub const NO_BATCHES: Rule = Rule {
    demand: "signatures are verified one at a time: a batch judges crafted signatures otherwise (DESIGN §4)",
    check: |path, text| ban(path, text, &["verify_batch"], "use `qasedak_chain::rules::signature_is_valid`"),
    bad: &[("chain/src/rules.rs", "ed25519_dalek::verify_batch(&m, &s, &k)"), ("tests/tests/x.rs", "verify_batch(x)")],
    good: &[("chain/src/rules.rs", "/// Never `verify_batch`.\nkey.verify_strict(m, s)")],
};

/// No `unsafe`, anywhere.
pub const SAFE: Rule = Rule {
    demand: "`unsafe` is forbidden",
    check: |path, text| ban(path, text, &["unsafe", "no_mangle", "extern"], "find a safe way"),
    bad: &[("node/src/main.rs", "let x = unsafe { *p };"), ("tests/tests/x.rs", "unsafe fn f() {}")],
    good: &[("node/src/main.rs", "// unsafe\nlet x = \"unsafe\";")],
};

/// Nothing is left for later in code.
pub const FINISHED: Rule = Rule {
    demand: "code has no gaps and no debugging aids",
    check: |path, text| {
        ban(path, text, &["todo!", "unimplemented!", "dbg!"], "write it, or return an error that says so")
    },
    bad: &[
        ("node/src/main.rs", "fn f() { todo!() }"),
        ("chain/src/x.rs", "dbg!(x);"),
        ("p2p/src/x.rs", "unimplemented!()"),
    ],
    good: &[("node/src/main.rs", "let todo = 1; if todo != 2 {}")],
};

/// Libraries do not print.
pub const SILENT: Rule = Rule {
    demand: "only the program prints; libraries return values and log by `tracing`",
    check: |path, text| {
        let printing = ["println!", "print!", "eprintln!", "eprint!", "std::io::stdout", "std::io::stderr"];
        let ours = is_source(path) && !at_home(path, &["node/src/"]);
        if ours { ban(path, text, &printing, "return it to the caller") } else { Vec::new() }
    },
    bad: &[("chain/src/rules.rs", "println!(\"{x}\");"), ("p2p/src/driver.rs", "use std::io::{self, stderr};")],
    good: &[("node/src/cli.rs", "println!(\"{x}\");"), ("tests/tests/x.rs", "println!(\"skipped\");")],
};

/// One place knows the hash.
pub const ONE_HASH: Rule = Rule {
    demand: "BLAKE3 contexts stand in chain/src/hash.rs and nowhere else, so that no two uses can collide",
    check: |path, text| {
        if !is_source(path) || path == "chain/src/hash.rs" || path.starts_with("tests/") {
            return Vec::new();
        }
        ban(path, text, &["derive_key", "new_derive_key"], "add a `Context` to chain/src/hash.rs")
    },
    bad: &[
        ("wallet/src/keys.rs", "blake3::derive_key(\"x\", &[])"),
        ("p2p/src/wire.rs", "blake3::Hasher::new_derive_key(C)"),
    ],
    good: &[("chain/src/hash.rs", "blake3::Hasher::new_derive_key(c)"), ("wallet/src/keystore.rs", "argon2_key(p)")],
};

/// Context strings are unique.
pub const UNIQUE_CONTEXTS: Rule = Rule {
    demand: "every use of the hash has a context string of its own, in the form `qasedak v1 …`",
    check: |path, text| {
        if path != "chain/src/hash.rs" {
            return Vec::new();
        }
        let arms = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("Context::"));
        let mut seen = std::collections::BTreeSet::new();
        let faults = arms.filter_map(|(at, line)| match line.split('"').nth(1) {
            Some(string) if !string.starts_with("qasedak v1 ") => {
                Some(Fault::at(at + 1, format!("{string:?} has another form")))
            }
            Some(string) if !seen.insert(string.to_owned()) => {
                Some(Fault::at(at + 1, format!("{string:?} is used twice")))
            }
            Some(_) => None,
            None => Some(Fault::at(at + 1, "a context without a string")),
        });
        let faults: Vec<Fault> = faults.collect();
        if seen.is_empty() { vec![Fault::of_file("no context strings found")] } else { faults }
    },
    bad: &[
        ("chain/src/hash.rs", "Context::A => \"qasedak v1 a\",\nContext::B => \"qasedak v1 a\","),
        ("chain/src/hash.rs", "Context::A => \"a\","),
        ("chain/src/hash.rs", ""),
    ],
    good: &[("chain/src/hash.rs", "Context::A => \"qasedak v1 a\",\nContext::B => \"qasedak v1 b\",")],
};

/// One place encodes and decodes.
pub const ONE_CODEC: Rule = Rule {
    demand: "only chain/src/codec.rs calls bincode: alone it takes trailing bytes and reserves what the input claims",
    check: |path, text| {
        let calls = [
            "bincode::encode_to_vec",
            "bincode::encode_into_slice",
            "bincode::encode_into_writer",
            "bincode::encode_into_std_write",
            "bincode::decode_from_slice",
            "bincode::decode_from_reader",
            "bincode::decode_from_std_read",
            "bincode::borrow_decode_from_slice",
            "bincode::config",
            "bincode::serde",
            "bincode::*",
        ];
        if !is_source(path) || path == "chain/src/codec.rs" {
            return Vec::new();
        }
        let mut faults = ban(path, text, &calls, "use `qasedak_chain::codec`");
        let all = mentions(text);
        let derives = all.iter().any(|mention| mention.contains("Encode") || mention.contains("Decode"));
        let named = all.iter().find(|mention| mention.contains("bincode")).filter(|_| !derives);
        faults.extend(
            named.map(|mention| {
                Fault::at(mention.line, "bincode is named, but no `Encode` or `Decode` is derived here")
            }),
        );
        faults
    },
    bad: &[
        ("p2p/src/wire.rs", "use bincode::{Decode, Encode, decode_from_slice};"),
        ("p2p/src/wire.rs", "use bincode::Decode; let c = bincode::config::standard();"),
        ("node/src/api.rs", "use bincode::error::DecodeError;"),
    ],
    good: &[
        ("chain/src/codec.rs", "bincode::encode_to_vec(x, y)"),
        ("p2p/src/wire.rs", "use bincode::{Decode, Encode};"),
    ],
};

/// sled stays behind the stores.
pub const SLED_AT_HOME: Rule = Rule {
    demand: "sled is known to the disk store only, so that it can be replaced",
    check: |path, text| {
        let home = at_home(path, &["chain/src/store/disk", "chain/tests/", "tests/"]);
        if home { Vec::new() } else { ban(path, text, &["sled"], "go through the `Store` trait or a `Journal`") }
    },
    bad: &[("p2p/src/driver.rs", "use sled::Db;"), ("wallet/src/wallet/vault.rs", "sled::open(p)")],
    good: &[("chain/src/store/disk/index.rs", "use sled::Db;")],
};

/// Where the system's files may be used: the layer itself, and the show, whose files are thrown away.
const FILES_AT_HOME: [&str; 2] = ["chain/src/store/disk/files", "node/src/demo.rs"];
/// What reaches the system's files past the layer.
const FILES: [&str; 7] = [
    "std::fs",
    "tokio::fs",
    "std::os::unix::fs",
    "std::os::windows::fs",
    "OpenOptions",
    "read_dir",
    "symlink_metadata",
];

/// The part of a source file that ships: nothing of one that holds tests, nothing from a test module on. One that stands in
/// a file of its own is only named, and ends nothing.
fn shipped<'a>(path: &str, text: &'a str) -> &'a str {
    let name = path.rsplit('/').next().unwrap_or_default();
    let of_tests = path.contains("/tests/") || ["tests.rs", "testing.rs"].iter().any(|end| name.ends_with(end));
    match text.split_once("\nmod tests {") {
        _ if of_tests || !is_source(path) || path.starts_with("tests/") => "",
        Some((shipped, _)) => shipped,
        None => text,
    }
}

/// One layer knows the system's files.
pub const ONE_LAYER: Rule = Rule {
    demand: "files go through chain/src/store/disk/files.rs, where tests make disks fail",
    check: |path, text| {
        let home = at_home(path, &FILES_AT_HOME);
        if home { Vec::new() } else { ban(path, shipped(path, text), &FILES, "use `store::disk::files`") }
    },
    bad: &[
        ("node/src/cli/audit/make.rs", "use std::{fs::File, io::Write};"),
        ("node/src/paths.rs", "let text = std::fs::read_to_string(path)?;"),
        ("wallet/src/wallet/vault.rs", "use std::fs;\n#[cfg(test)]\nmod tests {}"),
        ("chain/src/store/disk/log.rs", "OpenOptions::new().append(true)"),
        ("chain/src/audit/files.rs", "for entry in dir.read_dir()? {}"),
        ("node/src/api.rs", "tokio::fs::write(path, bytes).await?;"),
        ("p2p/src/engine.rs", "#[cfg(test)]\nmod tests;\nfn f() { std::fs::remove_file(path); }"),
    ],
    good: &[
        ("chain/src/store/disk/files.rs", "use std::fs::{self, File};"),
        ("node/src/config.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}"),
        ("wallet/src/wallet/tests/faults.rs", "std::fs::write(path, b\"x\").unwrap();"),
        ("node/src/finder.rs", "let file = DiskFile::open(path, false)?; // no std::fs"),
        ("chain/tests/audit.rs", "use std::fs;"),
    ],
};

/// Each file says what it is for.
pub const HEADED: Rule = Rule {
    demand: "a file opens with `//!`: its job, its invariants, the spec section",
    check: |path, text| {
        let first = text.lines().next().unwrap_or_default();
        let headed = first.strip_prefix("//! ").is_some_and(|job| job.split_whitespace().count() >= 3);
        if headed || !path.ends_with(".rs") {
            Vec::new()
        } else {
            vec![Fault::at(1, "say in `//!` what this file is for")]
        }
    },
    bad: &[("node/src/api.rs", "use std::fmt;\n"), ("chain/tests/x.rs", "//! Tests.\n"), ("node/src/y.rs", "")],
    good: &[("node/src/api.rs", "//! The loopback API.\n"), ("README.md", "# Qasedak\n")],
};

/// Files and functions are short.
pub const SHORT: Rule = Rule {
    demand: "files have at most 500 lines, functions of the source at most 70",
    check: |path, text| {
        let count = text.lines().count();
        let mut faults = Vec::new();
        if path.ends_with(".rs") && count > FILE_LINES_MAX {
            faults.push(Fault::of_file(format!("{count} lines; split it along its parts, tests into a sibling file")));
        }
        if is_source(path) {
            let long = function_lengths(text).into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES_MAX);
            faults.extend(
                long.map(|(at, lines)| Fault::at(at, format!("a function of {lines} lines; give its steps names"))),
            );
        }
        faults
    },
    bad: &[("chain/src/a.rs", LONG_FUNCTION), ("chain/tests/a.rs", lines!(600))],
    good: &[("chain/src/a.rs", "fn f() {\n    g()\n}\n"), ("docs/a.md", lines!(600))],
};

const LONG_FUNCTION: &str = concat!("impl X {\n    pub fn f() {\n", lines!(100), "    }\n}\n");

/// Starts and lengths of functions in formatted code: from `fn` to the brace that closes at the same indentation.
fn function_lengths(text: &str) -> Vec<(usize, usize)> {
    let code = stripped(text, false);
    let lines: Vec<&str> = code.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_start = |line: &str| line.split_whitespace().take(4).any(|word| word == "fn");
    let starts = lines.iter().enumerate().filter(|(_, line)| is_start(line));
    let spans = starts.filter_map(|(at, start)| {
        let rest = lines.get(at..)?;
        let end = rest.iter().position(|line| line.trim_end() == format!("{}}}", " ".repeat(indent(start))))?;
        // A declaration without a body ends before any brace.
        let declared =
            rest.iter().take(end).any(|line| line.trim_end().ends_with(';') && indent(line) == indent(start));
        (!declared).then_some((at + 1, end + 1))
    });
    spans.collect()
}

/// A test that is not run says why.
pub const IGNORED_WITH_REASON: Rule = Rule {
    demand: "an ignored test says why: #[ignore = \"…\"]",
    check: |_, text| marked_lines(&stripped(text, false), &["#[ignore]"], "give the reason"),
    bad: &[("chain/tests/x.rs", "#[test]\n#[ignore]\nfn f() {}")],
    good: &[("chain/tests/x.rs", "#[ignore = \"an hour long\"]\nfn f() {} // #[ignore]")],
};

/// A lint that is switched off in the source says why.
pub const ALLOWED_WITH_REASON: Rule = Rule {
    demand: "a lint is switched off in the source only with `reason = \"…\"`",
    check: |path, text| {
        let code = stripped(text, false);
        let lints = code.match_indices("[allow(").chain(code.match_indices("[expect("));
        let unreasoned = lints.filter(|(at, _)| {
            let attribute = code.get(*at..).and_then(|rest| rest.split(")]").next()).unwrap_or_default();
            is_source(path) && !attribute.contains("reason")
        });
        let line = |at: usize| code.get(..at).map_or(0, |before| before.matches('\n').count() + 1);
        unreasoned.map(|(at, _)| Fault::at(line(at), "say why the lint does not fit here")).collect()
    },
    bad: &[
        ("chain/src/x.rs", "\n#[allow(dead_code)]\nfn f() {}"),
        ("node/src/x.rs", "#![allow(\n    clippy::panic\n)]"),
    ],
    good: &[
        ("chain/src/x.rs", "#[expect(dead_code, reason = \"for Q2\")]"),
        ("chain/tests/x.rs", "#![allow(dead_code)]"),
    ],
};

/// A crate's root is a map of its modules.
pub const MAPPED: Rule = Rule {
    demand: "lib.rs is a map: a table that names every public module",
    check: |path, text| {
        if !path.ends_with("/src/lib.rs") {
            return Vec::new();
        }
        let map: String = text.lines().filter(|line| line.starts_with("//!")).collect();
        let modules = text.lines().enumerate().filter_map(|(at, line)| {
            let name = line.strip_prefix("pub mod ")?.strip_suffix(';')?;
            // `mod@` where a function has the module's name.
            let named = map.contains(&format!("`{name}`")) || map.contains(&format!("`mod@{name}`"));
            (!named).then(|| Fault::at(at + 1, format!("module `{name}` is not on the map")))
        });
        let no_table = (!map.contains("|---|")).then(|| Fault::of_file("no table of modules in the `//!` text"));
        modules.chain(no_table).collect()
    },
    bad: &[
        ("p2p/src/lib.rs", "//! The network.\npub mod wire;\n"),
        (
            "p2p/src/lib.rs",
            "//! | module | holds |\n//! |---|---|\n//! | [`wire`] | bytes |\npub mod wire;\npub mod driver;\n",
        ),
    ],
    good: &[("p2p/src/lib.rs", "//! | a | b |\n//! |---|---|\n//! | [`wire`] | bytes |\npub mod wire;\n")],
};

/// Marks of unfinished work, put together so that this file has none.
const MARKS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
const MARKED: [Sample; 2] = [("docs/a.md", concat!("TO", "DO: more")), ("chain/src/x.rs", concat!("// FIX", "ME\n"))];

/// Nothing is left for later in prose.
pub const NO_MARKS: Rule = Rule {
    demand: "what is to be done stands in an issue, not in the text",
    check: |_, text| marked_lines(text, &MARKS, "do it, or open an issue"),
    bad: &MARKED,
    good: &[("docs/a.md", "all is done")],
};

/// Directories of single machines, put together so that this file has none.
const PLACES: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/var/fol", "ders/"),
];
const PLACED: [Sample; 2] = [("README.md", concat!("see /ho", "me/ann/x")), (".ci/run", concat!("cd \"/wo", "rk/x\""))];

/// No file knows the machine that it was written on.
pub const NO_PLACES: Rule = Rule {
    demand: "no tracked file names a home or build directory",
    check: |_, text| {
        let named = |line: &str, place: &str| {
            let places = line.match_indices(place).map(|(at, _)| line.get(..at).unwrap_or_default());
            // Behind a letter it is the middle of another path or of an address on the web.
            places.into_iter().any(|before| !before.ends_with(|c: char| c.is_alphanumeric() || "_-.~".contains(c)))
        };
        let lines = text.lines().enumerate();
        let found =
            lines.filter_map(|(at, line)| PLACES.iter().find(|place| named(line, place)).map(|place| (at, place)));
        found
            .map(|(at, place)| Fault::at(at + 1, format!("{place:?} exists on one machine only; say it relatively")))
            .collect()
    },
    bad: &PLACED,
    good: &[("README.md", concat!("https://example.org/ho", "me/x and net/wo", "rk/")), ("a.md", "~/qasedak")],
};

fn marked_lines(text: &str, marks: &[&str], instead: &str) -> Vec<Fault> {
    let lines = text.lines().enumerate();
    let found =
        lines.filter_map(|(at, line)| marks.iter().find(|mark| line.contains(*mark)).map(|mark| (at + 1, mark)));
    found.map(|(at, mark)| Fault::at(at, format!("`{mark}`: {instead}"))).collect()
}
