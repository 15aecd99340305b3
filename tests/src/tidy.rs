//! Rules of the project that a machine can check (DESIGN §10, §11), and the files that they are held against.
//!
//! A [`Rule`] is a function from a path and a text to faults. Each brings samples that it must find fault with, so a
//! rule that can no longer fail is noticed. Rules that need to see many files at once (which document links to which)
//! take the list of files, and have their samples in their unit tests.
//!
//! | module | holds |
//! |---|---|
//! | [`code`] | Rust source reduced to what rules look at: no comments, no strings, whole paths |
//! | [`simulator`] | that the simulator drives what ships |
//! | [`source`] | rules over one Rust file |
//! | [`workspace`] | rules over manifests, documents and the lists of files |

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub mod code;
pub mod simulator;
pub mod source;
pub mod workspace;

/// Something that a rule found: the line, from 1 (0 when the file as a whole is meant), and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1; 0 for the whole file.
    pub line: usize,
    /// What is wrong, and what to do instead.
    pub what: String,
}

impl Fault {
    /// A fault at a line.
    pub fn at(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
    /// A fault of the file as a whole.
    pub fn of_file(what: impl Into<String>) -> Self {
        Self::at(0, what)
    }
}

/// A text file of the workspace.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path from the workspace's root, with `/` between the parts.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// A path and a text on which a rule is tried.
pub type Sample = (&'static str, &'static str);

/// A rule over one file.
pub struct Rule {
    /// What is demanded, and why, in one sentence.
    pub demand: &'static str,
    /// Finds the faults of a file; the path is relative to the root.
    pub check: fn(path: &str, text: &str) -> Vec<Fault>,
    /// Files that the rule must find fault with.
    pub bad: &'static [Sample],
    /// Files that it must let pass.
    pub good: &'static [Sample],
}

impl Rule {
    /// All faults in `files`, one line each; first of all, what shows that the rule itself does not work.
    pub fn violations(&self, files: &[File]) -> Vec<String> {
        let deaf = self.bad.iter().filter(|(path, text)| (self.check)(path, text).is_empty());
        let shrill = self.good.iter().filter(|(path, text)| !(self.check)(path, text).is_empty());
        let deaf = deaf.map(|sample| format!("the rule does not notice its bad sample {sample:?}"));
        let shrill = shrill.map(|sample| format!("the rule finds fault with its good sample {sample:?}"));
        let found = files.iter().flat_map(|file| listed(&file.path, (self.check)(&file.path, &file.text)));
        deaf.chain(shrill).chain(found).collect()
    }
}

/// Faults of one file as lines of text: `path:line: what`.
pub fn listed(path: &str, faults: Vec<Fault>) -> Vec<String> {
    faults.into_iter().map(|Fault { line, what }| format!("{path}:{line}: {what}")).collect()
}

/// The workspace's root directory.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// All text files of the workspace, ascending by path: everything but build output, hidden directories other than
/// `.ci`, and what is not UTF-8.
///
/// # Errors
/// [`io::Error`] when a directory or file cannot be read.
pub fn files() -> io::Result<Vec<File>> {
    let root = root();
    let mut files = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && (!name.starts_with('.') || name == ".ci") {
                    directories.push(path);
                }
            } else if let Ok(text) = String::from_utf8(fs::read(&path)?) {
                let path = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                files.push(File { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
