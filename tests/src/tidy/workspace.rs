//! Rules over manifests, documents and the lists of files: which crate may know which, what is locked, what is linked.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::{Fault, File, Rule, code::strings_starting_with};

/// The part of a manifest that is the same in all our crates, for samples.
macro_rules! manifest {
    ($name:literal) => {
        concat!(
            "[package]\nname = \"", $name, "\"\nversion.workspace = true\nedition.workspace = true\n",
            "rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true\n"
        )
    };
}

/// The part of deny.toml that is right, for samples.
macro_rules! deny {
    () => {
        "[bans]\nwildcards = \"deny\"\n[sources]\nunknown-registry = \"deny\"\nunknown-git = \"deny\"\n"
    };
}

/// A package as Cargo.lock has it, for samples.
macro_rules! locked_package {
    ($name:literal, $version:literal) => {
        concat!(
            "[[package]]\nname = \"",
            $name,
            "\"\nversion = \"",
            $version,
            "\"\n",
            "source = \"registry+https://github.com/rust-lang/crates.io-index\""
        )
    };
}

/// Our crates, by directory: package name, and which of our crates each may depend on (DESIGN §10).
const CRATES: [(&str, &str, &[&str]); 7] = [
    ("chain", "qasedak-chain", &[]),
    ("wallet", "qasedak-wallet", &["qasedak-chain"]),
    ("p2p", "qasedak-p2p", &["qasedak-chain"]),
    ("node", "qasedak", &["qasedak-chain", "qasedak-wallet", "qasedak-p2p"]),
    ("tests", "qasedak-tests", &["qasedak-chain", "qasedak-wallet", "qasedak-p2p", "qasedak"]),
    ("tests/fuzz", "qasedak-fuzz", &["qasedak-chain", "qasedak-wallet"]),
    ("tests/sim", "qasedak-sim", &["qasedak-chain", "qasedak-engine"]),
];

/// Oldest versions without remote panics and memory exhaustion that are not all in the advisory database. No crate has
/// to be there, but whichever version of it is, must be as new: two of yamux have been locked at once.
const FLOORS: [(&str, [u64; 3]); 4] = [
    ("libp2p-gossipsub", [0, 50, 1]),
    ("libp2p-rendezvous", [0, 17, 1]),
    ("yamux", [0, 13, 10]),
    ("quinn-proto", [0, 11, 15]),
];

/// Every table of dependencies in a manifest, those for one platform included.
fn dependencies(manifest: &Table) -> Vec<(&String, &Value)> {
    let platforms = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let holders = platforms.filter_map(Value::as_table).chain([manifest]);
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = holders.flat_map(|holder| kinds.iter().filter_map(|kind| holder.get(*kind)?.as_table()));
    tables.flatten().collect()
}

fn inherits(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}

/// Whether a crate that is no test takes unchecked transactions and failing disks into what it ships.
fn enables_testing(manifest: &Table) -> bool {
    let names_it = |value: &Value| {
        let features = value.get("features").and_then(Value::as_array);
        features.into_iter().flatten().any(|feature| feature.as_str() == Some("testing"))
    };
    let shipped = manifest.get("dependencies").and_then(Value::as_table);
    shipped.into_iter().flat_map(Table::values).any(names_it)
}

fn check_manifest(path: &str, text: &str) -> Vec<Fault> {
    let Some(directory) = path.strip_suffix("/Cargo.toml") else {
        return Vec::new();
    };
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Fault::of_file(format!("not TOML: {error}"))],
    };
    let Some((_, name, allowed)) = CRATES.iter().find(|(at, ..)| *at == directory) else {
        return vec![Fault::of_file("a crate that DESIGN §10 does not know; give it its place there and in `CRATES`")];
    };
    let package = manifest.get("package");
    let mut faults = Vec::new();
    if package.and_then(|package| package.get("name")).and_then(Value::as_str) != Some(name) {
        faults.push(Fault::of_file(format!("the package of this directory is called {name}")));
    }
    for (ours, _) in dependencies(&manifest).iter().filter(|(ours, _)| CRATES.iter().any(|(_, name, _)| name == ours)) {
        // A crate's own tests may want it with another feature.
        if !allowed.contains(&ours.as_str()) && ours != name {
            faults.push(Fault::of_file(format!("{name} must not depend on {ours}: dependencies run one way")));
        }
    }
    if enables_testing(&manifest) {
        faults.push(Fault::of_file("the feature `testing` is for dev-dependencies of chain and tests alone"));
    }
    for (other, value) in dependencies(&manifest) {
        if !inherits(Some(value)) {
            faults.push(Fault::of_file(format!(
                "{other}: take it from [workspace.dependencies] with `.workspace = true`"
            )));
        }
    }
    if !inherits(manifest.get("lints")) {
        faults.push(Fault::of_file("[lints] workspace = true is missing"));
    }
    for key in ["version", "edition", "rust-version", "license", "publish"] {
        if !inherits(package.and_then(|package| package.get(key))) {
            faults.push(Fault::of_file(format!("{key}.workspace = true is missing")));
        }
    }
    faults
}

/// Dependencies run one way, and every crate takes lints and versions from the root.
pub const MANIFESTS: Rule = Rule {
    demand: "chain ← wallet, chain ← p2p, all ← node ← tests; lints and versions come from the root manifest",
    check: check_manifest,
    bad: &[
        ("chain/Cargo.toml", "[dependencies]\nqasedak-wallet.workspace = true"),
        ("wallet/Cargo.toml", "[dev-dependencies]\nqasedak-p2p.workspace = true"),
        ("p2p/Cargo.toml", "[target.'cfg(unix)'.dependencies]\nqasedak-wallet.workspace = true"),
        ("node/Cargo.toml", "[build-dependencies]\nqasedak-tests.workspace = true"),
        ("extra/Cargo.toml", ""),
        ("chain/Cargo.toml", concat!(manifest!("qasedak-chain"), "[dependencies]\nhex = \"0.4\"")),
        ("chain/Cargo.toml", concat!(manifest!("qasedak-chain"), "[dependencies]\nqasedak = { workspace = true }")),
        ("chain/Cargo.toml", manifest!("chain")),
        (
            "node/Cargo.toml",
            concat!(
                manifest!("qasedak"),
                "[dependencies]\nqasedak-chain = { workspace = true, features = [\"testing\"] }"
            ),
        ),
    ],
    good: &[
        ("p2p/Cargo.toml", concat!(manifest!("qasedak-p2p"), "[dependencies]\nqasedak-chain.workspace = true")),
        ("node/Cargo.toml", concat!(manifest!("qasedak"), "[dependencies]\nqasedak-p2p.workspace = true")),
        (
            "chain/Cargo.toml",
            concat!(
                manifest!("qasedak-chain"),
                "[dev-dependencies]\nqasedak-chain = { workspace = true, features = [\"testing\"] }"
            ),
        ),
    ],
};

/// What the root manifest promises for all.
pub const ROOT_MANIFEST: Rule = Rule {
    demand: "the root manifest lists the crates, forbids `unsafe`, demands documentation and pins bincode",
    check: |path, text| {
        if path != "Cargo.toml" {
            return Vec::new();
        }
        let root: Value = text.parse().map(Value::Table).unwrap_or(Value::Boolean(false));
        let at = |path: &[&str]| path.iter().try_fold(&root, |value, key| value.get(key));
        let members: BTreeSet<&str> = at(&["workspace", "members"])
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut faults = Vec::new();
        if members != CRATES.iter().map(|(directory, ..)| *directory).collect() {
            faults.push(Fault::of_file("the members are not the crates of DESIGN §10"));
        }
        let version = at(&["workspace", "dependencies", "bincode", "version"]).and_then(Value::as_str);
        if version != Some("=2.0.1") {
            faults.push(Fault::of_file(
                "bincode is pinned to =2.0.1: 3.0.0 does not compile, and the encoding is frozen",
            ));
        }
        if at(&["workspace", "lints", "rust", "unsafe_code"]).and_then(Value::as_str) != Some("forbid") {
            faults.push(Fault::of_file("[workspace.lints.rust] unsafe_code = \"forbid\" is missing"));
        }
        let lints = ["unwrap_used", "expect_used", "panic", "indexing_slicing", "print_stdout", "print_stderr"];
        let lints = lints.map(|lint| ["clippy", lint]).into_iter().chain([["rust", "missing_docs"]]);
        for [tool, lint] in lints.filter(|[tool, lint]| at(&["workspace", "lints", tool, lint]).is_none()) {
            faults.push(Fault::of_file(format!("[workspace.lints.{tool}] lacks {lint}")));
        }
        faults
    },
    bad: &[("Cargo.toml", "[workspace]\nmembers = [\"chain\"]"), ("Cargo.toml", "not toml")],
    good: &[("chain/Cargo.toml", "")],
};

/// A decision gives its reasons.
pub const DECISIONS: Rule = Rule {
    demand: "a page under docs/decisions/ has the headings Context, Choice and Evidence",
    check: |path, text| {
        let is_page = path.starts_with("docs/decisions/") && path.ends_with(".md") && !path.ends_with("/README.md");
        let missing = ["Context", "Choice", "Evidence"].into_iter().filter(|heading| {
            is_page && !text.lines().any(|line| line.strip_prefix("## ").is_some_and(|title| title.trim() == *heading))
        });
        missing.map(|heading| Fault::of_file(format!("no heading `## {heading}`"))).collect()
    },
    bad: &[
        ("docs/decisions/a.md", "# A\n## Context\n## Choice\n"),
        ("docs/decisions/a.md", "## context\n## Choice\n## Evidence"),
    ],
    good: &[("docs/decisions/a.md", "## Context\nx\n## Choice\n## Evidence\n"), ("docs/protocol.md", "# Bytes")],
};

fn check_deny(path: &str, text: &str) -> Vec<Fault> {
    if path != "deny.toml" {
        return Vec::new();
    }
    let deny: Value = match text.parse::<Table>() {
        Ok(deny) => Value::Table(deny),
        Err(error) => return vec![Fault::of_file(format!("not TOML: {error}"))],
    };
    let list = |table: &str, key: &str| deny.get(table).and_then(|t| t.get(key)).and_then(Value::as_array).cloned();
    let mut faults = Vec::new();
    for ignored in list("advisories", "ignore").unwrap_or_default() {
        let reason = ignored.get("reason").and_then(Value::as_str).unwrap_or_default();
        if reason.split_whitespace().count() < 5 {
            faults.push(Fault::of_file(format!("{ignored} is ignored without a reason that explains it")));
        }
    }
    // cargo-deny has no field for the reason of a licence exception: it stands in a comment above.
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let bare = lines.windows(2).enumerate().filter(|(_, pair)| matches!(pair, [above, line] if is_bare(above, line)));
    faults
        .extend(bare.map(|(at, _)| Fault::at(at + 2, "an exception without a comment above it that gives the reason")));
    let value =
        |table: &str, key: &str| deny.get(table).and_then(|t| t.get(key)).and_then(Value::as_str).map(str::to_owned);
    let wanted = [("bans", "wildcards"), ("sources", "unknown-registry"), ("sources", "unknown-git")];
    for (table, key) in wanted.into_iter().filter(|(table, key)| value(table, key).as_deref() != Some("deny")) {
        faults.push(Fault::of_file(format!("[{table}] {key} = \"deny\" is missing")));
    }
    faults
}

fn is_bare(above: &str, line: &str) -> bool {
    line.starts_with("{ allow =") && !above.starts_with('#')
}

/// What is excepted from the checks of dependencies has a reason.
pub const EXCEPTIONS: Rule = Rule {
    demand: "each advisory that is ignored and each licence exception in deny.toml has its reason beside it",
    check: check_deny,
    bad: &[
        ("deny.toml", concat!(deny!(), "[advisories]\nignore = [{ id = \"RUSTSEC-2025-0141\" }]")),
        ("deny.toml", concat!(deny!(), "[advisories]\nignore = [\"RUSTSEC-2025-0141\"]")),
        ("deny.toml", concat!(deny!(), "[licenses]\nexceptions = [\n    { allow = [\"X\"], crate = \"y\" },\n]")),
        ("deny.toml", ""),
        ("deny.toml", "]"),
    ],
    good: &[(
        "deny.toml",
        concat!(deny!(), "[licenses]\nexceptions = [\n    # why\n    { allow = [\"X\"], crate = \"y\" },\n]"),
    )],
};

/// What `Cargo.lock` holds.
fn locked(lock: &str) -> BTreeMap<String, Vec<(String, Option<String>)>> {
    let table: Table = lock.parse().unwrap_or_default();
    let mut packages: BTreeMap<String, Vec<(String, Option<String>)>> = BTreeMap::new();
    for package in table.get("package").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| package.get(key).and_then(Value::as_str).map(str::to_owned);
        packages
            .entry(text("name").unwrap_or_default())
            .or_default()
            .push((text("version").unwrap_or_default(), text("source")));
    }
    packages
}

/// All code that is not ours comes from crates.io, with its checksum, and is not older than what is known to be safe.
pub const LOCKED: Rule = Rule {
    demand: "Cargo.lock holds crates of crates.io only, none older than the known safe versions",
    check: |path, text| {
        if path != "Cargo.lock" {
            return Vec::new();
        }
        let packages = locked(text);
        let mut faults = Vec::new();
        for (name, versions) in &packages {
            let ours = CRATES.iter().any(|(_, ours, _)| ours == name);
            let floor = FLOORS.iter().find(|(floored, _)| floored == name).map(|(_, floor)| floor);
            for (version, source) in versions {
                let registry = source.as_deref() == Some("registry+https://github.com/rust-lang/crates.io-index");
                if !registry && !ours {
                    faults.push(Fault::of_file(format!("{name} {version} is not from crates.io")));
                }
                let parts: Vec<u64> = version.split(['.', '-', '+']).take(3).flat_map(str::parse).collect();
                if floor.is_some_and(|floor| parts.as_slice() < floor.as_slice()) {
                    faults.push(Fault::of_file(format!("{name} {version} has a known remote fault; update it")));
                }
            }
        }
        if packages.is_empty() { vec![Fault::of_file("no packages found")] } else { faults }
    },
    bad: &[
        ("Cargo.lock", "[[package]]\nname = \"x\"\nversion = \"1.0.0\"\nsource = \"git+https://example.org/x\""),
        ("Cargo.lock", locked_package!("yamux", "0.13.9")),
        ("Cargo.lock", concat!(locked_package!("yamux", "0.13.10"), "\n", locked_package!("yamux", "0.12.1"))),
        ("Cargo.lock", locked_package!("libp2p-gossipsub", "0.50.0")),
        ("Cargo.lock", locked_package!("libp2p-rendezvous", "0.17.0")),
        ("Cargo.lock", locked_package!("quinn-proto", "0.11.2-rc.1")),
        ("Cargo.lock", ""),
    ],
    good: &[
        ("Cargo.lock", locked_package!("yamux", "0.13.10")),
        ("Cargo.lock", locked_package!("libp2p-gossipsub", "0.50.1")),
        ("Cargo.lock", locked_package!("libp2p-rendezvous", "0.17.1")),
        ("Cargo.lock", locked_package!("quinn-proto", "0.11.15")),
        ("Cargo.lock", "[[package]]\nname = \"qasedak\"\nversion = \"0.1.0\""),
    ],
};

/// Exceptions in `deny.toml` that nothing needs any more: each names, in its reason or its `crate`, what it is for.
pub fn stale_exceptions(deny: &str, lock: &str) -> Vec<String> {
    let (deny, packages): (Table, _) = (deny.parse().unwrap_or_default(), locked(lock));
    let list = |table: &str, key: &str| {
        let value = deny.get(table).and_then(|t| t.get(key)).and_then(Value::as_array);
        value.into_iter().flatten().cloned().collect::<Vec<Value>>()
    };
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let advisories = list("advisories", "ignore").into_iter().map(|one| (text(&one, "id"), text(&one, "reason")));
    let advisories = advisories.map(|(id, reason)| (id, reason.split(':').next().unwrap_or_default().to_owned()));
    let licences = list("licenses", "exceptions").into_iter().map(|one| ("licence".to_owned(), text(&one, "crate")));
    let stale = advisories.chain(licences).filter(|(_, name)| !packages.contains_key(name));
    stale
        .map(|(what, name)| {
            format!("deny.toml: {what}: no crate {name:?} is locked; open the reason with its name, or drop it")
        })
        .collect()
}

/// Strings that keep two uses of a key or hash apart, of whatever algorithm, and that stand in the source twice.
pub fn repeated_contexts(files: &[File]) -> Vec<String> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.path.contains("/src/") && !file.path.starts_with("tests/")) {
        for (line, string) in strings_starting_with(&file.text, "qasedak v1 ") {
            let place = format!("{}:{line}", file.path);
            if let Some(first) = seen.insert(string.clone(), place.clone()) {
                faults.push(format!("{place}: {string:?} stands at {first} too; give this use a string of its own"));
            }
        }
    }
    if seen.is_empty() { vec!["no context strings found".to_owned()] } else { faults }
}

/// Files that must not exist: a `mod.rs`, or a second clippy configuration, which silently replaces the first.
pub fn misplaced<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let paths: Vec<&str> = paths.into_iter().collect();
    let name = |path: &'a str| path.rsplit('/').next().unwrap_or(path);
    let modules = paths.iter().filter(|path| name(path) == "mod.rs");
    let modules = modules.map(|path| format!("{path}: use `foo.rs` beside `foo/`"));
    let lints = paths.iter().filter(|path| name(path).ends_with("clippy.toml") && **path != "clippy.toml");
    let lints = lints.map(|path| format!("{path}: it replaces the one at the root and drops its bans; merge them"));
    let root = (!paths.contains(&"clippy.toml")).then(|| "clippy.toml: missing at the root".to_owned());
    modules.chain(lints).chain(root).collect()
}

/// Targets of the links in a Markdown text that lead to files: no addresses, no anchors.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let targets = targets.map(|target| target.split('#').next().unwrap_or_default());
    targets.filter(|target| !target.is_empty() && !target.contains(':') && !target.contains(' '))
}

/// A link's target, from the root, as seen from the page `from`.
fn resolved(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Pages that no path of links leads to from README.md, and links that lead nowhere.
pub fn unlinked(files: &[File]) -> Vec<String> {
    let pages: BTreeMap<&str, &str> = files
        .iter()
        .filter(|file| file.path.ends_with(".md"))
        .map(|file| (file.path.as_str(), file.text.as_str()))
        .collect();
    let exists = |path: &str| files.iter().any(|file| file.path == path || file.path.starts_with(&format!("{path}/")));
    let mut faults = Vec::new();
    let mut reached = BTreeSet::from(["README.md".to_owned()]);
    let mut open = vec!["README.md".to_owned()];
    while let Some(page) = open.pop() {
        for target in links(pages.get(page.as_str()).copied().unwrap_or_default()) {
            let target = resolved(&page, target);
            if !exists(&target) {
                faults.push(format!("{page}: links to {target}, which does not exist"));
            } else if pages.contains_key(target.as_str()) && reached.insert(target.clone()) {
                open.push(target);
            }
        }
    }
    let lost = pages.keys().filter(|page| !reached.contains(**page));
    faults.extend(lost.map(|page| format!("{page}: no link leads here from README.md")));
    if !pages.contains_key("README.md") {
        faults.push("README.md: missing".to_owned());
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misplaced_files_are_found() {
        assert_eq!(misplaced(["clippy.toml", "chain/src/lib.rs"]), Vec::<String>::new());
        assert_eq!(
            misplaced(["clippy.toml", "node/clippy.toml", "p2p/.clippy.toml", "p2p/src/engine/mod.rs"]).len(),
            3
        );
        assert_eq!(misplaced(["chain/src/lib.rs"]).len(), 1);
    }

    #[test]
    fn contexts_that_stand_twice_are_found() {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let (hash, seal) =
            (file("chain/src/hash.rs", "\"qasedak v1 a\""), file("wallet/src/seal.rs", "\"qasedak v1 b\""));
        assert_eq!(repeated_contexts(&[hash.clone(), seal]), Vec::<String>::new());
        assert_eq!(repeated_contexts(&[hash, file("p2p/src/wire.rs", "x(\"qasedak v1 a\")")]).len(), 1);
        assert_eq!(repeated_contexts(&[]).len(), 1);
    }

    #[test]
    fn lost_pages_and_dead_links_are_found() {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let readme = file("README.md", "[a](docs/a.md) [w](https://x.org/y.md) [t](#top) [l](LICENSE)");
        let pages = [
            readme,
            file("docs/a.md", "see [b](./b.md#c), [up](../README.md)"),
            file("docs/b.md", ""),
            file("LICENSE", ""),
        ];
        assert_eq!(unlinked(&pages), Vec::<String>::new());
        let [readme, a, _, licence] = pages;
        let faults = unlinked(&[readme, a, file("docs/c.md", ""), licence]);
        assert_eq!(
            faults,
            ["docs/a.md: links to docs/b.md, which does not exist", "docs/c.md: no link leads here from README.md"]
        );
        assert_eq!(unlinked(&[]), ["README.md: missing"]);
    }

    #[test]
    fn exceptions_that_nothing_needs_are_found() {
        let deny = "[advisories]\nignore = [{ id = \"R\", reason = \"fxhash: why\" }]\n\
                    [licenses]\nexceptions = [{ allow = [\"X\"], crate = \"equix\" }]";
        let lock = concat!(locked_package!("equix", "1.0.0"), "\n", locked_package!("fxhash", "1.0.0"));
        assert_eq!(stale_exceptions(deny, lock), Vec::<String>::new());
        assert_eq!(stale_exceptions(deny, "").len(), 2);
    }
}
