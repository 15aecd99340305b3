//! Nodes as processes, commands as processes, and waiting for conditions.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;

/// The passphrase of every test wallet: a canary that must show up nowhere.
pub const PASSPHRASE: &str = "canary-passphrase-7b1f";

/// How long anything that has no deadline of its own may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test: the one that `QASEDAK_BINARY` names, or the one that was built by the same
/// `cargo test --workspace` as this test.
pub fn binary() -> PathBuf {
    if let Some(given) = std::env::var_os("QASEDAK_BINARY") {
        return given.into();
    }
    let own = std::env::current_exe().expect("the test knows its own path");
    let dir = own.ancestors().nth(2).expect("target directory");
    let binary = dir.join(format!("qasedak{}", std::env::consts::EXE_SUFFIX));
    let built = fs::metadata(&binary).and_then(|meta| meta.modified());
    let built = built.unwrap_or_else(|_| panic!("{} is missing: run `cargo test --workspace`", binary.display()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("workspace");
    let newest =
        ["chain", "wallet", "p2p", "node"].iter().map(|member| newest_source(&root.join(member).join("src"))).max();
    assert!(newest < Some(built), "{} is older than its source: run `cargo test --workspace`", binary.display());
    binary
}

fn newest_source(dir: &Path) -> SystemTime {
    let entries = fs::read_dir(dir).expect("source directory").flatten();
    entries
        .map(|entry| match entry.path() {
            path if path.is_dir() => newest_source(&path),
            path => fs::metadata(path).and_then(|meta| meta.modified()).expect("source file"),
        })
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A command on a data directory, with the environment of a person who set nothing but the passphrase.
pub fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("--data").arg(data).args(args).env_clear().stdin(Stdio::null());
    command.env("QASEDAK_NETWORK", "dev").env("QASEDAK_PASSPHRASE", PASSPHRASE);
    // Whatever it puts in the directory for such things is found beside the data directory.
    command.env("TMPDIR", data.parent().expect("a data directory has a parent"));
    command
}

/// Runs a command to its end.
pub fn run(data: &Path, args: &[&str]) -> Output {
    command(data, args).output().expect("the binary runs")
}

/// Runs a command with `--json` that must succeed, and returns what it prints.
pub fn json(data: &Path, args: &[&str]) -> Value {
    let output = run(data, &[&["--json"], args].concat());
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A raw call of the API of a running node, with the token or without; returns the whole answer.
pub fn api_call(data: &Path, method: &str, path: &str, token: Option<&str>, body: &str) -> String {
    let address = fs::read_to_string(data.join("dev").join("api.address")).expect("address of the API");
    let mut stream = TcpStream::connect(&address).expect("API");
    stream.set_read_timeout(Some(PATIENCE)).expect("time-out");
    let authority = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{authority}Content-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).expect("call");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits until `look` gives something, at most `patience`.
pub fn wait_for<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "no {what} within {patience:?}");
        thread::sleep(Duration::from_millis(30));
    }
}

/// A data directory with a wallet, or for a relay; a node runs in it between `start` and `stop`.
pub struct Node {
    /// The data directory.
    pub data: PathBuf,
    /// The 24 words, when there is a wallet.
    pub words: Option<String>,
    /// The address, when there is a wallet.
    pub address: String,
    listen: String,
    /// Further addresses to listen on, and all that it listens on once it has run.
    also: Vec<String>,
    listens: Vec<String>,
    find_for: Vec<String>,
    running: Option<Child>,
    log: PathBuf,
    log_level: String,
}

impl Node {
    /// A node with a wallet.
    pub fn with_wallet(home: &Path, name: &str) -> Self {
        let mut node = Self::relay(home, name);
        let made = json(&node.data, &["init"]);
        node.words = made["words"].as_str().map(str::to_owned);
        node.address = made["address"].as_str().expect("address").to_owned();
        node
    }

    /// A node without.
    pub fn relay(home: &Path, name: &str) -> Self {
        let data = home.join(name);
        let (log, listen) = (data.with_extension("log"), "/ip4/127.0.0.1/tcp/0".to_owned());
        let (words, address, log_level) = (None, String::new(), "debug".to_owned());
        let (also, listens, find_for) = (Vec::new(), Vec::new(), Vec::new());
        Self { data, words, address, listen, also, listens, find_for, running: None, log, log_level }
    }

    /// Starts the process and waits until it is ready. It keeps its address over restarts.
    pub fn start(&mut self, peers: &[&Node]) {
        let peers: Vec<String> = peers.iter().map(|peer| peer.listen.clone()).collect();
        self.start_towards(&peers);
    }

    /// The same, with the addresses of its peers.
    pub fn start_towards(&mut self, peers: &[String]) {
        assert!(self.running.is_none(), "runs already");
        let mut args = vec!["--json", "run", "--listen", &self.listen];
        self.also.iter().for_each(|address| args.extend(["--listen", address]));
        peers.iter().for_each(|peer| args.extend(["--peer", peer]));
        self.find_for.iter().for_each(|file| args.extend(["--find-for", file]));
        if self.words.is_none() {
            args.push("--no-wallet");
        }
        let log = File::options().create(true).append(true).open(self.log()).expect("log file");
        let mut command = command(&self.data, &args);
        command.env("QASEDAK_LOG", &self.log_level).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("the binary runs");
        let ready = first_line(&mut child, &self.log().with_extension("out"));
        let ready: Value = serde_json::from_str(&ready)
            .unwrap_or_else(|_| panic!("no node: {ready:?} {}", fs::read_to_string(self.log()).unwrap_or_default()));
        let listens = ready["listen"].as_array().expect("listen addresses").iter();
        self.listens = listens.filter_map(|address| address.as_str().map(str::to_owned)).collect();
        self.listen = self.listening_by("/tcp/").to_owned();
        self.running = Some(child);
    }

    /// Has it find for the owners of these scan key files, from the next start on.
    pub fn find_for(&mut self, files: &[&Path]) {
        self.find_for = files.iter().map(|file| file.display().to_string()).collect();
    }

    /// Where the node's log lines go.
    pub fn log(&self) -> PathBuf {
        self.log.clone()
    }

    /// Sends them elsewhere.
    pub fn log_to(&mut self, path: PathBuf) {
        self.log = path;
    }

    /// Logs this and what is worse, instead of everything.
    pub fn log_level(&mut self, level: &str) {
        level.clone_into(&mut self.log_level);
    }

    /// Where the node listens, once it has run.
    pub fn listening(&self) -> &str {
        &self.listen
    }

    /// Has it listen on a further address, from the next start on.
    #[allow(dead_code, reason = "the hostile suite, which has this file too, uses it")]
    pub fn listen_also(&mut self, address: &str) {
        self.also.push(address.to_owned());
    }

    /// The address of those it listens on that holds this text, once it has run.
    pub fn listening_by(&self, part: &str) -> &str {
        self.listens.iter().find(|address| address.contains(part)).expect("a listen address")
    }

    /// The running process.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("runs").id()
    }

    /// Sends the process a signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Stops the process as `kill` does, and waits for its clean end.
    pub fn stop(&mut self) {
        let mut child = self.running.take().expect("runs");
        let killed = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
        assert!(killed.success());
        let status = wait_for("end of the process", PATIENCE, || child.try_wait().expect("wait"));
        assert!(status.success(), "unclean end: {status}, see {}", self.log().display());
    }

    /// Stops the process as a power cut of the process would: `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.running.take().expect("runs");
        child.kill().expect("kill -9");
        child.wait().expect("wait");
    }

    /// A command on this node that must succeed.
    pub fn json(&self, args: &[&str]) -> Value {
        json(&self.data, args)
    }

    /// Sends, waiting until the recipient's card has come; returns the transaction's id.
    pub fn send(&self, who: &str, text: &str) -> String {
        let output = wait_for("card of the recipient", PATIENCE, || {
            let output = run(&self.data, &["send", who, text]);
            output.status.success().then_some(output)
        });
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Texts in the inbox and among the requests, oldest first: in most tests the two are strangers to each other.
    pub fn texts(&self) -> Vec<String> {
        let mut all = Vec::new();
        for args in [&["inbox"][..], &["request", "list"]] {
            let page = self.json(args);
            for message in page["messages"].as_array().expect("messages") {
                all.push((
                    message["number"].as_u64().expect("number"),
                    message["text"].as_str().expect("text").to_owned(),
                ));
            }
        }
        all.sort();
        all.into_iter().map(|(_, text)| text).collect()
    }

    /// Waits until a text is in the inbox.
    pub fn wait_for_text(&self, text: &str, patience: Duration) {
        wait_for(&format!("{text:?} in the inbox"), patience, || self.texts().iter().any(|t| t == text).then_some(()));
    }

    /// Digest and newest block's chain, count of transactions.
    pub fn view(&self) -> (String, String, u64) {
        let status = self.json(&["status"]);
        (
            status["digest"].to_string(),
            status["newest_block"].to_string(),
            status["transactions"].as_u64().expect("count"),
        )
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A running node with a wallet, and the running relay that it knows.
pub fn node_with_relay(home: &Path) -> (Node, Node) {
    let mut node = Node::with_wallet(home, "a");
    let mut relay = Node::relay(home, "b");
    relay.start(&[]);
    node.start(&[&relay]);
    (node, relay)
}

/// Files of bodies that hold any.
pub fn body_files(node: &Node) -> Vec<PathBuf> {
    let all = files(&node.data.join("dev/ledger/bodies"));
    // A file header alone has 128 bytes.
    let holds = |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.len() > 600);
    all.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "seg") && holds(path)).collect()
}

/// Changes a byte of the last body in each file of a node that is stopped.
pub fn damage_bodies(node: &Node) {
    for path in body_files(node) {
        let mut bytes = fs::read(&path).expect("it can be read");
        let at = bytes.len() - 100;
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("it can be written");
    }
}

/// Waits until all nodes show the same digest and newest block, and returns it.
pub fn wait_for_agreement(nodes: &[&Node], patience: Duration) -> (String, String, u64) {
    let mut last = Vec::new();
    let until = Instant::now() + patience;
    loop {
        last.clear();
        last.extend(nodes.iter().map(|node| node.view()));
        match last.as_slice() {
            [first, rest @ ..] if rest.iter().all(|view| view == first) => return first.clone(),
            _ => assert!(Instant::now() < until, "no agreement within {patience:?}: {last:#?}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The first line that a process prints; all that it prints is kept in a file.
pub fn first_line(child: &mut Child, keep: &Path) -> String {
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut kept = File::options().create(true).append(true).open(keep).expect("output file");
    let (sender, line) = mpsc::channel();
    thread::spawn(move || {
        let mut first = String::new();
        drop(out.read_line(&mut first));
        drop(kept.write_all(first.as_bytes()));
        drop(sender.send(first));
        drop(std::io::copy(&mut out, &mut kept));
    });
    line.recv_timeout(PATIENCE).unwrap_or_default()
}

/// Every file below a directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("directory").flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}

/// Copies a directory.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("directory");
    for entry in fs::read_dir(from).expect("directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy");
        }
    }
}

/// A number that differs from run to run and replays with `QASEDAK_SEED`; printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    let given = std::env::var("QASEDAK_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| getrandom::u64().expect("randomness"));
    println!("seed: QASEDAK_SEED={seed}");
    seed
}
