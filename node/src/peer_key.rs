//! The file of the peer key: who this node is to others. It has nothing to do with any wallet (`docs/storage.md`, "Peer key").

use std::path::Path;

use qasedak_chain::{
    hash::{Context, hash_prefix},
    store::disk::files::{self, DiskFile},
};
use qasedak_p2p::driver::PeerKey;
use zeroize::Zeroizing;

use crate::{
    failure::{Failure, Outcome},
    node::random,
};

/// The file's first bytes.
const MAGIC: &[u8; 8] = b"qsd-peer";
/// Version of the form. Before it a file held the secret alone.
const VERSION: u8 = 1;
/// `magic | version | secret:[32] | check:[16]`.
const FILE_BYTES: usize = 8 + 1 + 32 + 16;

/// Why a file gives no peer key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum FormError {
    #[error("was written by a newer version (format {0}); use that one")]
    Newer(u8),
    #[error("is damaged; remove it, and a new peer key is made at the next start: peers then see a new node")]
    Damaged,
}

/// What stands in a file.
enum Form {
    Current([u8; 32]),
    /// As the first version wrote it: the secret alone.
    Bare([u8; 32]),
}

/// The peer key of a data directory, made at the first start. A file of an earlier form is written anew.
///
/// # Errors
/// [`Failure`] that says what is wrong with the file; it is left as it is.
pub fn open(path: &Path) -> Outcome<PeerKey> {
    let secret = match DiskFile::open(path, false).map_err(Failure::failed)? {
        None => {
            let secret = random()?;
            write(path, &secret)?;
            secret
        }
        Some(file) => {
            let bytes = Zeroizing::new(file.read_at(0, FILE_BYTES.saturating_add(1)).map_err(Failure::failed)?);
            match form_of(&bytes).map_err(|error| Failure::failed(format!("{} {error}", path.display())))? {
                Form::Current(secret) => secret,
                Form::Bare(secret) => {
                    // The next start does it again; a full disk keeps no node from starting.
                    if let Err(error) = write(path, &secret) {
                        tracing::warn!("the peer key's file stays in its earlier form: {error}");
                    }
                    secret
                }
            }
        }
    };
    PeerKey::from_bytes(secret).map_err(Failure::failed)
}

fn write(path: &Path, secret: &[u8; 32]) -> Outcome {
    files::create_whole(path, &to_bytes(secret)).map_err(Failure::failed)?;
    Ok(())
}

fn to_bytes(secret: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES));
    bytes.extend(MAGIC);
    bytes.push(VERSION);
    bytes.extend(secret);
    let check: [u8; 16] = hash_prefix(Context::PeerKeyFile, &[&bytes]);
    bytes.extend(check);
    bytes
}

fn form_of(bytes: &[u8]) -> Result<Form, FormError> {
    if let Ok(secret) = bytes.try_into() {
        return Ok(Form::Bare(secret));
    }
    let (version, rest) = bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first).ok_or(FormError::Damaged)?;
    if *version > VERSION {
        return Err(FormError::Newer(*version));
    }
    let secret = *rest.first_chunk().ok_or(FormError::Damaged)?;
    // Version, length and check in one.
    if to_bytes(&secret).as_slice() == bytes { Ok(Form::Current(secret)) } else { Err(FormError::Damaged) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::at_any_call;

    fn key(home: &Path) -> Outcome<String> {
        open(&home.join("peer.key")).map(|key| key.peer_id())
    }

    #[test]
    fn a_new_key_is_on_disk_before_it_is_used() {
        let look = |home: &Path, made: Outcome<String>, _| {
            // With what was left there, the next start has a key, and the same one if it was used already.
            let next = key(home).unwrap();
            assert_eq!(key(home).unwrap(), next);
            assert!(made.is_err() || made.unwrap() == next);
        };
        at_any_call(&|_| (), &key, &look);
    }

    /// The secret alone, as the first version left it, stands for the same key from then on.
    #[test]
    fn a_key_of_the_first_form_is_never_lost() {
        let bare = [0x77; 32];
        let id = PeerKey::from_bytes(bare).unwrap().peer_id();
        let look = |home: &Path, read: Outcome<String>, _| {
            assert!(read.is_err() || read.unwrap() == id);
            assert_eq!(key(home).unwrap(), id);
            assert_eq!(fs::read(home.join("peer.key")).unwrap(), to_bytes(&bare).as_slice());
            assert_eq!(key(home).unwrap(), id);
        };
        at_any_call(&|home| fs::write(home.join("peer.key"), bare).unwrap(), &key, &look);
    }

    #[test]
    fn a_key_that_cannot_be_read_is_not_replaced() {
        let whole = to_bytes(&[7; 32]);
        let look = |home: &Path, read: Outcome<String>, _| {
            assert_eq!(fs::read(home.join("peer.key")).unwrap(), whole.as_slice());
            assert!(read.is_err() || read.unwrap() == key(home).unwrap());
        };
        at_any_call(&|home| fs::write(home.join("peer.key"), &whole).unwrap(), &key, &look);
    }

    #[test]
    fn changed_files_are_refused_and_left_alone() {
        let whole = to_bytes(&[7; 32]);
        let error = |bytes: &[u8]| form_of(bytes).err();
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            let version = changed[8];
            let expected = if version > VERSION { FormError::Newer(version) } else { FormError::Damaged };
            assert_eq!(error(&changed), Some(expected), "bit {bit}");
        }
        // Of 32 bytes nothing tells whether they are a secret.
        for length in (0..whole.len()).filter(|length| *length != 32) {
            assert_eq!(error(&whole[..length]), Some(FormError::Damaged), "{length}");
        }
        assert_eq!(error(&[&whole, [0].as_slice()].concat()), Some(FormError::Damaged));
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("peer.key");
        fs::write(&path, [MAGIC.as_slice(), &[2], &[9; 100]].concat()).unwrap();
        let said = open(&path).unwrap_err().to_string();
        assert!(said.contains("newer version (format 2)"), "{said}");
        assert_eq!(fs::read(&path).unwrap().len(), 109);
    }
}
