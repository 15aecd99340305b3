//! That the simulator drives what ships: one type called `Engine`, which driver and simulator both take from the same crate,
//! and no store, ledger or rules of the simulator's own.

use toml::{Table, Value};

use super::{
    File,
    code::{mentions, stripped},
};

/// Where the engine is, who drives it, and under which path.
const ENGINE: &str = "p2p/src/engine.rs";
const DRIVERS: [(&str, &str); 2] =
    [("p2p/src/driver/task.rs", "crate::engine::Engine"), ("tests/sim/node.rs", "qasedak_engine::engine::Engine")];
/// What nobody but its home may declare under that name.
const ONCE: [(&str, &str); 2] = [("Engine", ENGINE), ("Ledger", "chain/src/ledger.rs")];

/// Everything by which the simulator could come to drive something else than the driver does.
pub fn other_engines(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let code = stripped(&file.text, false);
        for (name, home) in ONCE.iter().filter(|(_, home)| file.path != *home) {
            let declares = |word: &str| {
                let declaration = format!("{word} {name}");
                let mut declared = code.match_indices(&declaration).map(|(at, found)| at + found.len());
                declared.any(|end| {
                    code.get(end..).is_none_or(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
                })
            };
            if ["struct", "enum", "trait", "type"].into_iter().any(declares) {
                faults.push(format!("{}: declares another `{name}` than that of {home}", file.path));
            }
        }
    }
    for (path, engine) in DRIVERS {
        let text = files.iter().find(|file| file.path == path).map(|file| file.text.as_str()).unwrap_or_default();
        if !mentions(text).iter().any(|mention| mention.contains(engine)) {
            faults.push(format!("{path}: does not drive `{engine}`"));
        }
    }
    let root = files.iter().find(|file| file.path == "Cargo.toml").map(|file| file.text.as_str()).unwrap_or_default();
    if !is_one_crate(root) {
        faults.push("Cargo.toml: `qasedak-engine` is not the crate `qasedak-p2p` under another name".to_owned());
    }
    faults
}

/// Whether the simulator's engine comes from the crate of the driver.
fn is_one_crate(root: &str) -> bool {
    let root: Table = root.parse().unwrap_or_default();
    let dependencies = root.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let field = |name: &str, field: &str| dependencies?.get(name)?.get(field).and_then(Value::as_str);
    let path = field("qasedak-p2p", "path");
    path.is_some()
        && field("qasedak-engine", "path") == path
        && field("qasedak-engine", "package") == Some("qasedak-p2p")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Vec<File> {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        vec![
            file(ENGINE, "pub struct Engine { a: u8 }"),
            file("p2p/src/driver/task.rs", "use crate::{engine::{Engine, Input}, wire};"),
            file("tests/sim/node.rs", "use qasedak_engine::engine::{Engine, Now};"),
            file(
                "Cargo.toml",
                "[workspace.dependencies]\nqasedak-p2p = { path = \"p2p\" }\n\
                 qasedak-engine = { package = \"qasedak-p2p\", path = \"p2p\", default-features = false }\n",
            ),
        ]
    }

    #[test]
    fn another_engine_is_found() {
        assert_eq!(other_engines(&workspace()), Vec::<String>::new());
        let broken = [
            ("tests/sim/world.rs", "struct Engine;"),
            ("tests/sim/world.rs", "pub type Ledger<S> = Fake<S>;"),
            ("tests/sim/node.rs", "use crate::model::Engine;"),
            ("p2p/src/driver/task.rs", "use crate::engine::fast::Engine;"),
            ("Cargo.toml", "[workspace.dependencies]\nqasedak-engine = { path = \"model\" }\n"),
        ];
        for (path, text) in broken {
            let mut files = workspace();
            files.retain(|file| file.path != path);
            files.push(File { path: path.to_owned(), text: text.to_owned() });
            assert_eq!(other_engines(&files).len(), 1, "{path}: {text}");
        }
        let mut files = workspace();
        files.push(File { path: "p2p/src/x.rs".to_owned(), text: "// struct Engine\nstruct EngineRoom;".to_owned() });
        assert_eq!(other_engines(&files), Vec::<String>::new());
    }
}
