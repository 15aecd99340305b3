//! A network's genesis: the parameter record that gives a network its identity.
//!
//! `main` and `dev` are compiled in; any other name is `dev`'s record under that name (DESIGN §4). The
//! record's hash, the [`LedgerId`], is mixed into every other hash, so nothing of one network can pass for
//! something of another.

use crate::{
    hash::{Context, hash},
    ids::{LedgerId, TxId},
    time::Time,
};

/// Version of the transaction format, the first byte of every core and of every genesis record.
pub const FORMAT_VERSION: u8 = 1;

/// Longest name of a network, in bytes.
pub const NAME_MAX_BYTES: usize = 32;

/// Start of both compiled-in networks: 2026-11-01 00:00 UTC.
const START_SECS: u64 = 1_793_491_200;

/// One network's parameters and the identity that follows from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    name: String,
    start: Time,
    base_milli: u64,
    settle_secs: u32,
    ledger: LedgerId,
    genesis: TxId,
}

/// The name of a network is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a network name is 1 to 32 characters out of a-z, 0-9 and '-'; use `main`, or a name of your own")]
pub struct NameError;

impl Network {
    /// The public network: stamps cost about a second of a core, ten minutes to settle.
    pub fn main() -> Self {
        Self::from_record("main", 15_000, 600)
    }

    /// The network for trying things out: stamps cost next to nothing, nothing waits to settle.
    pub fn dev() -> Self {
        Self::from_record("dev", 1, 0)
    }

    /// The network of that name; all but `main` have `dev`'s parameters.
    ///
    /// # Errors
    /// [`NameError`] when the name is empty, longer than 32 bytes, or has other characters than a-z, 0-9, '-'.
    pub fn named(name: &str) -> Result<Self, NameError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.bytes().all(allowed) {
            return Err(NameError);
        }
        Ok(if name == "main" { Self::main() } else { Self::from_record(name, 1, 0) })
    }

    fn from_record(name: &str, base_milli: u64, settle_secs: u32) -> Self {
        let start = Time::from_secs(START_SECS);
        // version | start u64 | base_milli u64 | settle u32 | name: integers little-endian, the name last.
        let mut record = vec![FORMAT_VERSION];
        record.extend_from_slice(&start.secs().to_le_bytes());
        record.extend_from_slice(&base_milli.to_le_bytes());
        record.extend_from_slice(&settle_secs.to_le_bytes());
        record.extend_from_slice(name.as_bytes());
        let ledger = LedgerId::from_bytes(hash(Context::Ledger, &[&record]));
        let genesis = TxId::from_bytes(hash(Context::Id, &[ledger.as_bytes(), &record]));
        Self { name: name.to_owned(), start, base_milli, settle_secs, ledger, genesis }
    }

    /// The network's name, as `--network` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// No transaction's time lies before this.
    pub fn start(&self) -> Time {
        self.start
    }
    /// Price of stamps: thousandths of an effort unit per 1,024 units of size × lifetime.
    pub fn base_milli(&self) -> u64 {
        self.base_milli
    }
    /// How long a transaction must have been held before it may become a parent, in seconds.
    pub fn settle_secs(&self) -> u64 {
        u64::from(self.settle_secs)
    }
    /// The hash of the genesis record. Mixed into every hash, never sent.
    pub fn ledger(&self) -> LedgerId {
        self.ledger
    }
    /// Id of genesis: parent of the first transactions, itself in no log, block or digest.
    pub fn genesis(&self) -> TxId {
        self.genesis
    }
    /// Whether this is the public network, with its slower and more careful rules.
    pub fn is_main(&self) -> bool {
        self.name == "main"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_make_different_ledgers() -> Result<(), NameError> {
        let names = ["main", "dev", "a", "family-2"];
        for (i, a) in names.iter().enumerate() {
            for b in names.iter().skip(i + 1) {
                assert_ne!(Network::named(a)?.ledger(), Network::named(b)?.ledger());
            }
        }
        assert_eq!(Network::named("dev")?, Network::dev());
        assert_ne!(Network::dev().genesis().as_bytes(), Network::dev().ledger().as_bytes());
        Ok(())
    }

    #[test]
    fn bad_names_are_refused() {
        for name in ["", "Main", "a b", "../x", "قاصدک", &"x".repeat(33)] {
            assert_eq!(Network::named(name), Err(NameError), "{name}");
        }
    }
}
