//! README's terminal transcript is played, command by command, and must print what README says.
//!
//! In a fenced block marked `console`, a line that starts with `$ ` is a command for a shell, the lines up to the next one
//! are what it prints, and `…` stands for anything. A command that ends with ` &` is a node: it runs until the end, and
//! the lines after it are its first ones. `qasedak` is the binary under test.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::harness::{PATIENCE, binary};

struct Step {
    command: String,
    expected: Vec<String>,
}

fn steps(markdown: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in markdown.lines() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => inside = line == "```console",
            Some(command) if inside => steps.push(Step { command: command.to_owned(), expected: Vec::new() }),
            None if inside => steps.last_mut().expect("a command comes first").expected.push(line.to_owned()),
            _ => {}
        }
    }
    steps
}

/// Whether `line` is `pattern`, where `…` stands for anything.
fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn check(step: &Step, lines: &[String]) -> Result<(), String> {
    let wanted: Vec<&String> = step.expected.iter().filter(|line| !line.is_empty()).collect();
    let got: Vec<&String> = lines.iter().filter(|line| !line.is_empty()).collect();
    let same = wanted.len() == got.len() && wanted.iter().zip(&got).all(|(pattern, line)| matches(pattern, line));
    if same { Ok(()) } else { Err(format!("$ {}\nwanted: {wanted:#?}\ngot: {got:#?}", step.command)) }
}

fn shell(home: &Path, command: &str) -> Command {
    let mut shell = Command::new("sh");
    let path = format!("{}:/usr/bin:/bin", binary().parent().expect("directory").display());
    shell
        .args(["-c", command])
        .current_dir(home)
        .env_clear()
        .env("PATH", path)
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null());
    shell
}

#[test]
fn the_transcript_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let steps = steps(&fs::read_to_string(root.join("README.md")).unwrap());
    assert!(steps.len() >= 5, "README has no transcript");
    let home = tempfile::tempdir().unwrap();
    let mut nodes = Nodes(Vec::new());
    for step in &steps {
        match step.command.strip_suffix(" &") {
            Some(command) => nodes.start(home.path(), command, step),
            None => play(home.path(), step),
        }
    }
}

/// Runs a command until it prints what README says: a message may still be on its way.
fn play(home: &Path, step: &Step) {
    let until = Instant::now() + PATIENCE;
    loop {
        let output = shell(home, &step.command).output().expect("sh runs");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        match check(step, &lines) {
            Ok(()) if output.status.success() => return,
            Ok(()) => assert!(Instant::now() < until, "$ {}: {text}", step.command),
            Err(difference) => assert!(Instant::now() < until, "{difference}"),
        }
        thread::sleep(Duration::from_millis(100));
    }
}

struct Nodes(Vec<Child>);

impl Nodes {
    fn start(&mut self, home: &Path, command: &str, step: &Step) {
        let mut node = shell(home, &format!("exec {command}")).stdout(Stdio::piped()).spawn().expect("sh runs");
        let out = BufReader::new(node.stdout.take().expect("piped"));
        self.0.push(node);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let wanted = step.expected.iter().filter(|line| !line.is_empty()).count();
        let got: Vec<String> = (0..wanted).map_while(|_| lines.recv_timeout(PATIENCE).ok()).collect();
        check(step, &got).unwrap_or_else(|difference| panic!("{difference}"));
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &mut self.0 {
            drop(node.kill());
            drop(node.wait());
        }
    }
}

#[test]
fn patterns_match_what_they_should() {
    assert!(matches("a … c", "a b c") && matches("…", "") && matches("x", "x"));
    assert!(!matches("a … c", "a b") && !matches("x", "xy") && !matches("…y", "x"));
}
