//! Configuration: defaults < file < environment < flags. Unknown keys in the file are refused.
//!
//! The file is `config.toml` in the data directory, and need not exist. [`FileConfig`] is its documentation;
//! `docs/operations.md` repeats it for operators.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use qasedak_chain::{Network, retention::Keep};
use qasedak_p2p::Multiaddr;
use serde::Deserialize;

use crate::{
    cli::args::RunArgs,
    failure::{Failure, Outcome},
    paths::read_small,
};

mod size;

pub use size::ByteSize;

/// Name of the configuration file in the data directory.
pub const FILE_NAME: &str = "config.toml";

/// Port on which nodes of `main` listen, TCP and UDP.
pub const MAIN_PORT: u16 = 7337;

/// Most that bodies may take on the disk when nothing else is said (`docs/decisions/0020-disk-budget-for-bodies.md`).
pub const BODIES_BUDGET_DEFAULT: ByteSize = ByteSize::from_bytes(20 << 30);

/// The least that it can be set to: four parts of bodies, so that a part more or less is no great matter.
pub const BODIES_BUDGET_MIN: ByteSize = ByteSize::from_bytes(4 * qasedak_chain::store::disk::SEGMENT_BYTES);

/// Bytes of others' transactions that are taken in a day when nothing else is said
/// (`docs/decisions/0026-daily-budget.md`).
pub const DAILY_BYTES_DEFAULT: ByteSize = ByteSize::from_bytes(qasedak_p2p::engine::DAILY_BYTES);

/// The least that it can be set to: some ten messages a minute.
pub const DAILY_BYTES_MIN: ByteSize = ByteSize::from_bytes(16 << 20);

/// The keys of `config.toml`. All may be left out.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// Addresses to listen on, as multiaddresses.
    pub listen: Option<Vec<String>>,
    /// Peers to connect to, as multiaddresses.
    pub peers: Option<Vec<String>>,
    /// Where the local API listens, as ADDR:PORT; loopback only. Port 0 takes a free one.
    pub api: Option<SocketAddr>,
    /// Whether to look for peers on the local network.
    pub mdns: Option<bool>,
    /// What to log: error, warn, info, debug, or a filter like `qasedak=debug`.
    pub log: Option<String>,
    /// Whether `run` opens the wallet; false makes it a relay.
    pub wallet: Option<bool>,
    /// Scan key files of people for whom this node finds.
    pub find_for: Option<Vec<PathBuf>>,
    /// Whether to keep all bodies for good.
    pub archive: Option<bool>,
    /// Most that bodies may take on the disk: bytes, or text like `"20 GiB"`.
    pub bodies_budget: Option<ByteSize>,
    /// Bytes of others' transactions that are taken in a day: bytes, or text like `"4 GiB"`.
    pub daily_bytes: Option<ByteSize>,
}

/// What a node runs with, all sources taken together.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<Multiaddr>,
    /// Peers to connect to.
    pub peers: Vec<Multiaddr>,
    /// Where the local API listens.
    pub api: SocketAddr,
    /// Whether to look for peers on the local network.
    pub mdns: bool,
    /// What to log.
    pub log: String,
    /// Whether to open the wallet.
    pub wallet: bool,
    /// Scan key files of people for whom it finds.
    pub find_for: Vec<PathBuf>,
    /// How long to keep bodies.
    pub keep: Keep,
    /// Bytes of others' transactions that are taken in a day.
    pub daily_bytes: u64,
}

/// Reads `config.toml` from a data directory; a missing file is an empty one.
///
/// # Errors
/// [`Failure`] when the file cannot be read, is no TOML, or has unknown keys.
pub fn read_file(data: &Path) -> Outcome<FileConfig> {
    let path = data.join(FILE_NAME);
    let text = match read_small(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(FileConfig::default()),
        Err(error) => {
            return Err(Failure::usage(format!(
                "cannot read the configuration {}: {error}; mend its permissions or remove it",
                path.display()
            )));
        }
    };
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        Failure::usage(format!(
            "the configuration {} is not valid near line {line}: {}; mend that line or remove the file",
            path.display(),
            error.message().trim().replace('\n', " ")
        ))
    })
}

impl Config {
    /// Puts defaults, file, environment and flags together. `env` looks a variable up.
    ///
    /// # Errors
    /// [`Failure`] that names the source and the value that is wrong.
    pub fn resolve(
        network: &Network,
        file: FileConfig,
        env: impl Fn(&str) -> Option<String>,
        flags: &RunArgs,
    ) -> Outcome<Self> {
        let keep = keep(&file, &env, flags)?;
        let file_daily = file.daily_bytes;
        let list = |name: &str| env(name).map(|value| value.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let some = |flags: &[String]| (!flags.is_empty()).then(|| flags.to_vec());
        let listen = some(&flags.listen)
            .or_else(|| list("QASEDAK_LISTEN"))
            .or(file.listen)
            .unwrap_or_else(|| default_listen(network));
        let peers = some(&flags.peer).or_else(|| list("QASEDAK_PEERS")).or(file.peers).unwrap_or_default();
        let env_api = env("QASEDAK_API").map(|text| parse(&text, "QASEDAK_API", "ADDR:PORT")).transpose()?;
        let env_mdns = env("QASEDAK_MDNS").map(|text| parse(&text, "QASEDAK_MDNS", "true or false")).transpose()?;
        let env_wallet =
            env("QASEDAK_WALLET").map(|text| parse(&text, "QASEDAK_WALLET", "true or false")).transpose()?;
        let api = flags.api.or(env_api).or(file.api).unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        if !api.ip().is_loopback() {
            return Err(Failure::usage(format!(
                "the API may listen on loopback only, and {api} is not; use 127.0.0.1:{}",
                api.port()
            )));
        }
        let env_find_for = env("QASEDAK_FIND_FOR").map(|paths| std::env::split_paths(&paths).collect());
        let find_for = (!flags.find_for.is_empty()).then(|| flags.find_for.clone());
        Ok(Self {
            keep,
            daily_bytes: daily_bytes(file_daily, &env)?,
            listen: addresses(&listen, "listen")?,
            peers: addresses(&peers, "peer")?,
            api,
            mdns: env_mdns.or(file.mdns).unwrap_or_else(|| network.is_main()),
            log: env("QASEDAK_LOG").or(file.log).unwrap_or_else(|| "warn,qasedak=info,qasedak_p2p=info".to_owned()),
            find_for: find_for.or(env_find_for).or(file.find_for).unwrap_or_default(),
            wallet: !flags.no_wallet && env_wallet.or(file.wallet).unwrap_or(true),
        })
    }
}

/// How long to keep bodies. An archive with a budget is refused, whichever sources they come from: one of the two would
/// silently be broken, and bodies that went do not come back.
fn keep(file: &FileConfig, env: &impl Fn(&str) -> Option<String>, flags: &RunArgs) -> Outcome<Keep> {
    let env_archive =
        env("QASEDAK_ARCHIVE").map(|text| parse(&text, "QASEDAK_ARCHIVE", "true or false")).transpose()?;
    let env_budget = env("QASEDAK_BODIES_BUDGET")
        .map(|text| parse(&text, "QASEDAK_BODIES_BUDGET", "a number of bytes, or a size like 20GiB"))
        .transpose()?;
    let archive = flags.archive || env_archive.or(file.archive).unwrap_or(false);
    let budget: Option<ByteSize> = flags.bodies_budget.or(env_budget).or(file.bodies_budget);
    match (archive, budget) {
        (true, Some(budget)) => Err(Failure::usage(format!(
            "an archive keeps all bodies, so it cannot have a disk budget of {budget} for them; leave out one of archive and bodies_budget"
        ))),
        (true, None) => Ok(Keep::Archive),
        (false, budget) => {
            let budget = budget.unwrap_or(BODIES_BUDGET_DEFAULT);
            if budget < BODIES_BUDGET_MIN {
                return Err(Failure::usage(format!(
                    "a disk budget of {budget} for bodies is too small to keep; give at least {BODIES_BUDGET_MIN}"
                )));
            }
            Ok(Keep::Budget(budget.bytes()))
        }
    }
}

/// How much of others' transactions is taken in a day. There is no flag for it: it is set once.
fn daily_bytes(file: Option<ByteSize>, env: &impl Fn(&str) -> Option<String>) -> Outcome<u64> {
    let env_bytes: Option<ByteSize> = env("QASEDAK_DAILY_BYTES")
        .map(|text| parse(&text, "QASEDAK_DAILY_BYTES", "a number of bytes, or a size like 4GiB"))
        .transpose()?;
    let bytes = env_bytes.or(file).unwrap_or(DAILY_BYTES_DEFAULT);
    if bytes < DAILY_BYTES_MIN {
        return Err(Failure::usage(format!(
            "{bytes} a day are too few to keep up with any network; give at least {DAILY_BYTES_MIN}"
        )));
    }
    Ok(bytes.bytes())
}

/// Fixed and documented on `main`; loopback and a free port elsewhere.
fn default_listen(network: &Network) -> Vec<String> {
    if network.is_main() {
        vec![
            format!("/ip4/0.0.0.0/tcp/{MAIN_PORT}"),
            format!("/ip6/::/tcp/{MAIN_PORT}"),
            format!("/ip4/0.0.0.0/udp/{MAIN_PORT}/quic-v1"),
            format!("/ip6/::/udp/{MAIN_PORT}/quic-v1"),
        ]
    } else {
        vec!["/ip4/127.0.0.1/tcp/0".to_owned(), "/ip4/127.0.0.1/udp/0/quic-v1".to_owned()]
    }
}

fn addresses(texts: &[String], what: &str) -> Outcome<Vec<Multiaddr>> {
    texts
        .iter()
        .map(|text| {
            text.parse().map_err(|_| {
                Failure::usage(format!(
                    "{what} address {text:?} is no multiaddress; write it like /ip4/192.0.2.7/tcp/{MAIN_PORT}"
                ))
            })
        })
        .collect()
}

fn parse<T: std::str::FromStr>(text: &str, name: &str, form: &str) -> Outcome<T> {
    text.parse().map_err(|_| Failure::usage(format!("{name} is {text:?}, but must be {form}; mend or unset it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> RunArgs {
        RunArgs {
            listen: Vec::new(),
            peer: Vec::new(),
            api: None,
            find_for: Vec::new(),
            no_wallet: false,
            archive: false,
            bodies_budget: None,
        }
    }

    fn file(text: &str) -> FileConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn each_source_outranks_the_one_before() {
        let dev = Network::dev();
        let env = |name: &str| (name == "QASEDAK_API").then(|| "127.0.0.1:2".to_owned());
        let mut flags = flags();
        let from_file = file("api = '127.0.0.1:1'\npeers = ['/ip4/127.0.0.1/tcp/9']");
        let only_file = Config::resolve(&dev, from_file.clone(), |_| None, &flags).unwrap();
        assert_eq!((only_file.api.port(), only_file.peers.len()), (1, 1));
        assert_eq!(Config::resolve(&dev, from_file.clone(), env, &flags).unwrap().api.port(), 2);
        flags.api = Some("127.0.0.1:3".parse().unwrap());
        assert_eq!(Config::resolve(&dev, from_file, env, &flags).unwrap().api.port(), 3);
    }

    #[test]
    fn main_listens_where_the_documents_say() {
        let config = Config::resolve(&Network::main(), FileConfig::default(), |_| None, &flags()).unwrap();
        let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
        assert!(listen.contains(&"/ip4/0.0.0.0/tcp/7337".to_owned()), "{listen:?}");
        assert!(config.mdns);
    }

    #[test]
    fn bodies_are_kept_as_the_sources_say() {
        let dev = Network::dev();
        let keep = |text: &str, env: &[(&str, &str)], flags: &RunArgs| {
            let find = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            Config::resolve(&dev, file(text), find, flags).map(|config| config.keep)
        };
        assert_eq!(keep("", &[], &flags()).unwrap(), Keep::Budget(20 << 30));
        assert_eq!(keep("bodies_budget = 1000000000", &[], &flags()).unwrap(), Keep::Budget(1_000_000_000));
        assert_eq!(keep("bodies_budget = '2 GB'", &[], &flags()).unwrap(), Keep::Budget(2_000_000_000));
        let env = [("QASEDAK_BODIES_BUDGET", "1 GiB")];
        assert_eq!(keep("bodies_budget = '2 GB'", &env, &flags()).unwrap(), Keep::Budget(1 << 30));
        let flagged = RunArgs { bodies_budget: Some("3GB".parse().unwrap()), ..flags() };
        assert_eq!(keep("", &env, &flagged).unwrap(), Keep::Budget(3_000_000_000));
        assert_eq!(keep("archive = true", &[], &flags()).unwrap(), Keep::Archive);
        assert_eq!(keep("", &[], &RunArgs { archive: true, ..flags() }).unwrap(), Keep::Archive);
        assert_eq!(keep("archive = true", &[("QASEDAK_ARCHIVE", "false")], &flags()).unwrap(), Keep::Budget(20 << 30));
        for both in ["archive = true\nbodies_budget = '2 GB'", "bodies_budget = '100 MB'"] {
            let failure = keep(both, &[], &flags()).unwrap_err();
            assert_eq!(failure.code(), 2, "{failure}");
        }
    }

    #[test]
    fn the_daily_budget_is_as_the_sources_say() {
        let bytes = |text: &str, env: Option<&str>| {
            let find = |name: &str| env.filter(|_| name == "QASEDAK_DAILY_BYTES").map(str::to_owned);
            Config::resolve(&Network::dev(), file(text), find, &flags()).map(|config| config.daily_bytes)
        };
        assert_eq!(bytes("", None).unwrap(), 4 << 30);
        assert_eq!(bytes("daily_bytes = '1 GiB'", None).unwrap(), 1 << 30);
        assert_eq!(bytes("daily_bytes = '1 GiB'", Some("2GB")).unwrap(), 2_000_000_000);
        assert_eq!(bytes("daily_bytes = 1000", None).unwrap_err().code(), 2);
    }

    #[test]
    fn unknown_keys_public_apis_and_bad_addresses_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), "listen = []\nfoo = 1\n").unwrap();
        let failure = read_file(dir.path()).unwrap_err();
        assert!(failure.to_string().contains("line 2") && failure.to_string().contains("foo"), "{failure}");
        assert_eq!(failure.code(), 2);
        for bad in ["api = '0.0.0.0:1'", "listen = ['localhost:1']", "peers = ['x']"] {
            assert!(Config::resolve(&Network::dev(), file(bad), |_| None, &flags()).is_err(), "{bad}");
        }
    }
}
