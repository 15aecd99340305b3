//! The one hash of the project: BLAKE3 in `derive_key` mode, one versioned context per use.
//!
//! Every context string of every crate stands in [`Context`], and nowhere else, so that no two uses can
//! ever collide (DESIGN §4; `docs/protocol.md`, "Hashing"). Inputs are concatenated plainly: an input of
//! variable length delimits itself or stands last.

use std::sync::OnceLock;

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

/// What a hash is computed for. Each use has its own BLAKE3 key-derivation context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// A network's [`LedgerId`](crate::LedgerId), over the genesis record.
    Ledger,
    /// A transaction's id, over ledger and header (or, for genesis, the genesis record).
    Id,
    /// The body hash in a core, over ledger and body.
    Body,
    /// The message that an author signs, over ledger and core.
    Sign,
    /// The challenge of a stamp, over ledger, core and signature.
    Stamp,
    /// The value that a stamp's effort is measured by, over challenge, nonce and solution.
    Effort,
    /// Leaves, nodes and empty trees of Merkle trees.
    Merkle,
    /// The hash chain of one node's log.
    Link,
    /// The chain over derived blocks.
    Block,
    /// The lanes of one transaction in the set digest.
    DigestLanes,
    /// The message that a peer signs to make a checkpoint, over ledger and checkpoint.
    Checkpoint,
    /// The check at the end of a proof file, over the whole file.
    Proof,
    /// The digest itself, over the lanes' state.
    Digest,
    /// Checks on disk: of file headers, of columns, runs and journals, and of records in files of earlier formats.
    Record,
    /// Names that show on the wire (protocol and topic names), over the ledger.
    Wire,
    /// Name of a message in gossip, over the whole message.
    GossipMessage,
    /// The hint of a sealed envelope.
    Hint,
    /// The tag under which a card is found.
    CardTag,
    /// The key under which a card is encrypted.
    CardKey,
    /// The message that a card's owner signs.
    CardSign,
    /// The inner signature's message; its hash is the inner id.
    Inner,
    /// The commitment to a body's key.
    Commitment,
    /// Wallet keys from the recovery phrase.
    WalletKey,
    /// One round of a fingerprint of an identity key, of which safety numbers are made.
    Safety,
    /// The log id in checkpoints, over the log id on disk and the peer key.
    LogId,
    /// The alias of a transaction in a reconciliation, over its salt and the id.
    Reconcile,
    /// The check at the end of a scan key file, over all bytes before it.
    ScanKeyFile,
    /// What follows from a scan key file: the name and the key of its list of what was found, the name of its cursor.
    Found,
    /// The check at the end of a peer key file, over all bytes before it.
    PeerKeyFile,
}

impl Context {
    /// The BLAKE3 context string: hard-coded, unique, never reused for another purpose.
    pub const fn string(self) -> &'static str {
        match self {
            Context::Ledger => "qasedak v1 ledger",
            Context::Id => "qasedak v1 id",
            Context::Body => "qasedak v1 body",
            Context::Sign => "qasedak v1 sign",
            Context::Stamp => "qasedak v1 stamp",
            Context::Effort => "qasedak v1 effort",
            Context::Merkle => "qasedak v1 merkle",
            Context::Link => "qasedak v1 link",
            Context::Block => "qasedak v1 block",
            Context::DigestLanes => "qasedak v1 digest lanes",
            Context::Checkpoint => "qasedak v1 checkpoint",
            Context::Proof => "qasedak v1 proof",
            Context::Digest => "qasedak v1 digest",
            Context::Record => "qasedak v1 record",
            Context::Wire => "qasedak v1 wire",
            Context::GossipMessage => "qasedak v1 gossip message",
            Context::Hint => "qasedak v1 hint",
            Context::CardTag => "qasedak v1 card-tag",
            Context::CardKey => "qasedak v1 card-key",
            Context::CardSign => "qasedak v1 card-sign",
            Context::Inner => "qasedak v1 inner",
            Context::Commitment => "qasedak v1 commitment",
            Context::WalletKey => "qasedak v1 wallet-key",
            Context::Safety => "qasedak v1 safety",
            Context::LogId => "qasedak v1 log-id",
            Context::Reconcile => "qasedak v1 reconcile",
            Context::ScanKeyFile => "qasedak v1 scan-key-file",
            Context::Found => "qasedak v1 found",
            Context::PeerKeyFile => "qasedak v1 peer-key-file",
        }
    }
}

/// More than there are contexts.
const CONTEXTS_MAX: usize = 64;

/// A hasher for a context. What follows from the context string alone is computed once per process: for the short inputs
/// that most hashes here have, it would be a third of the work.
fn new_hasher(context: Context) -> blake3::Hasher {
    static KEYS: [OnceLock<ContextKey>; CONTEXTS_MAX] = [const { OnceLock::new() }; CONTEXTS_MAX];
    match KEYS.get(context as usize) {
        Some(key) => {
            let key = key.get_or_init(|| hash_derive_key_context(context.string()));
            blake3::Hasher::new_from_context_key(key)
        }
        None => blake3::Hasher::new_derive_key(context.string()),
    }
}

/// In place: a hasher is two kilobytes, which are copied where one is handed on (decision 0062).
fn update(hasher: &mut blake3::Hasher, parts: &[&[u8]]) {
    for part in parts {
        hasher.update(part);
    }
}

/// `H(context, parts…)`: 32 bytes over the plain concatenation of `parts`.
pub fn hash(context: Context, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = new_hasher(context);
    update(&mut hasher, parts);
    *hasher.finalize().as_bytes()
}

/// The same hash extended to `out.len()` bytes (BLAKE3's XOF).
pub fn hash_xof(context: Context, parts: &[&[u8]], out: &mut [u8]) {
    let mut hasher = new_hasher(context);
    update(&mut hasher, parts);
    hasher.finalize_xof().fill(out);
}

/// The first `N` bytes of [`hash`], for checksums, tags and hints; `N` is at most 32.
pub fn hash_prefix<const N: usize>(context: Context, parts: &[&[u8]]) -> [u8; N] {
    first_bytes(&hash(context, parts))
}

/// The hash of inputs that all begin with the same bytes. The whole blocks of these are hashed once: for the check of a
/// short record that is a third of the work.
#[derive(Clone)]
pub(crate) struct Beginning(blake3::Hasher);

impl Beginning {
    /// Inputs of this context that begin with `bytes`.
    pub(crate) fn new(context: Context, bytes: &[u8]) -> Self {
        let mut hasher = new_hasher(context);
        hasher.update(bytes);
        Self(hasher)
    }

    /// [`hash_prefix`] of the beginning and `parts`.
    pub(crate) fn hash_prefix<const N: usize>(&self, parts: &[&[u8]]) -> [u8; N] {
        let mut hasher = self.0.clone();
        update(&mut hasher, parts);
        first_bytes(hasher.finalize().as_bytes())
    }
}

fn first_bytes<const N: usize>(whole: &[u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    out.iter_mut().zip(whole).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_derive_key_mode() {
        for context in [Context::Ledger, Context::Id, Context::Record, Context::WalletKey] {
            let mut plain = blake3::Hasher::new_derive_key(context.string());
            plain.update(b"one").update(b"two");
            assert_eq!(hash(context, &[b"one", b"two"]), *plain.finalize().as_bytes());
            assert_eq!(hash(context, &[b"onetwo"]), *plain.finalize().as_bytes());
        }
    }

    #[test]
    fn a_beginning_goes_on_like_the_whole() {
        let bytes: Vec<u8> = (0..=255).collect();
        for len in [0, 1, 63, 64, 65, 68, 128, 200] {
            let (start, rest) = bytes.split_at(len);
            let whole: [u8; 8] = hash_prefix(Context::Record, &[&bytes]);
            assert_eq!(Beginning::new(Context::Record, start).hash_prefix(&[rest]), whole, "{len}");
            let (a, b) = rest.split_at(rest.len() / 2);
            assert_eq!(Beginning::new(Context::Record, start).hash_prefix(&[a, b]), whole, "{len}");
        }
    }
}
