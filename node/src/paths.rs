//! Where a node keeps its files. One directory holds everything; each network has a directory of its own in it.

use std::{
    io,
    path::{Path, PathBuf},
};

use qasedak_chain::store::{
    StoreError,
    disk::files::{self, Lock},
};

use crate::failure::{Failure, Outcome};

/// The files of one node in one network.
#[derive(Debug, Clone)]
pub struct Paths {
    data: PathBuf,
    network: String,
}

impl Paths {
    /// Paths below `data`, or below the platform's directory for application data.
    ///
    /// # Errors
    /// [`Failure`] when the platform names no such directory.
    pub fn new(data: Option<PathBuf>, network: &str) -> Outcome<Self> {
        let data = match data {
            Some(data) => data,
            None => directories::ProjectDirs::from("", "", "qasedak")
                .map(|dirs| dirs.data_dir().to_owned())
                .ok_or_else(|| Failure::usage("no home directory is set; say where to keep data with --data DIR"))?,
        };
        Ok(Self { data, network: network.to_owned() })
    }

    /// The directory that holds everything.
    pub fn data(&self) -> &Path {
        &self.data
    }
    /// The directory of this network.
    pub fn network_dir(&self) -> PathBuf {
        self.data.join(&self.network)
    }
    /// The ledger.
    pub fn ledger(&self) -> PathBuf {
        self.network_dir().join("ledger")
    }
    /// The outbox.
    pub fn outbox(&self) -> PathBuf {
        self.network_dir().join("outbox")
    }
    /// Checkpoints of this node and its peers, and evidence.
    pub fn checkpoints(&self) -> PathBuf {
        self.network_dir().join("checkpoints")
    }
    /// The wallet.
    pub fn wallet(&self) -> PathBuf {
        self.network_dir().join("wallet")
    }
    /// The lists of what was found for others.
    pub fn found(&self) -> PathBuf {
        self.network_dir().join("found")
    }
    /// The [peer key](crate::peer_key).
    pub fn peer_key(&self) -> PathBuf {
        self.network_dir().join("peer.key")
    }
    /// The bearer token of the local API.
    pub fn api_token(&self) -> PathBuf {
        self.network_dir().join("api.token")
    }
    /// Where the local API of the running node listens.
    pub fn api_address(&self) -> PathBuf {
        self.network_dir().join("api.address")
    }
    /// The lock that a running node or `init` holds.
    pub fn lock(&self) -> PathBuf {
        self.network_dir().join("lock")
    }

    /// Makes the network's directory, readable by its owner only.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be made.
    pub fn create(&self) -> Outcome {
        let failed = |error| Failure::failed(format!("cannot make the data directory: {error}"));
        files::make_dir(&self.network_dir()).map_err(failed)
    }

    /// Takes the directory for this process until the returned lock is dropped.
    ///
    /// # Errors
    /// [`Failure`] when another process has it, or it cannot be used.
    pub fn take(&self) -> Outcome<Lock> {
        self.create()?;
        files::lock(&self.lock()).map_err(|error| match error {
            StoreError::InUse { path } => Failure::failed(format!(
                "the data directory {path} is in use by another qasedak process; stop that one first, or choose another \
                 directory with --data"
            )),
            other => Failure::failed(other),
        })
    }
}

/// Longest file that a person hands over: a phrase, a passphrase, a configuration.
pub const SMALL_FILE_BYTES: usize = 64 * 1024;

/// Reads a small text file. What has no end, like a device, is given up at [`SMALL_FILE_BYTES`].
///
/// # Errors
/// The system's answer; [`io::ErrorKind::FileTooLarge`] for a longer file, [`io::ErrorKind::InvalidData`] for one that is
/// no UTF-8.
pub fn read_small(path: &Path) -> io::Result<String> {
    // All at once, so that no copy of a passphrase is left behind by a buffer that grows.
    let mut bytes = Vec::with_capacity(SMALL_FILE_BYTES.saturating_add(1));
    files::read_stream(path, SMALL_FILE_BYTES.saturating_add(1), &mut bytes)?;
    if bytes.len() > SMALL_FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}
