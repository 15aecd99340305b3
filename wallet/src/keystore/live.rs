//! The keystore of an open wallet: secrets in memory, and the file that is rewritten whole whenever they change.
//!
//! Nothing may be encrypted for good under an epoch key before [`Keystore::save`] has returned: after a crash a row whose
//! key is nowhere would be lost. A failed write leaves the change in memory, and the next one tries again.

use std::path::{Path, PathBuf};

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{
    KdfCost, KeystoreError, Lock, Secrets,
    file::{self, Replaced},
    unlock,
};
use crate::{aead::NONCE_BYTES, wallet::WalletError};

/// An open keystore.
pub(crate) struct Keystore {
    path: PathBuf,
    lock: Lock,
    secrets: Secrets,
    /// Whether the file says something else than memory.
    changed: bool,
}

impl Keystore {
    /// Writes a new keystore file. The caller has looked that there is none.
    pub(crate) fn create(
        path: &Path,
        secrets: Secrets,
        passphrase: &str,
        cost: KdfCost,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, WalletError> {
        let lock = Lock::new(passphrase, cost, rng)?;
        let bytes = lock.seal(&secrets, &nonce()?)?;
        file::write_new(path, &bytes)?;
        Ok(Self { path: path.to_owned(), lock, secrets, changed: false })
    }

    /// Opens a keystore file. What a crash left of an unfinished write may hold keys that are destroyed since: it goes.
    pub(crate) fn open(path: &Path, passphrase: &str) -> Result<Self, WalletError> {
        let bytes = file::read(path)?.ok_or_else(|| WalletError::missing(path))?;
        let (secrets, lock) = unlock(&bytes, passphrase)?;
        file::remove_unfinished(path)?;
        Ok(Self { path: path.to_owned(), lock, secrets, changed: false })
    }

    /// The secrets.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Whether the system keeps all that it holds out of swap.
    pub(crate) fn is_locked(&self) -> bool {
        self.lock.is_locked() && self.secrets.is_locked()
    }

    /// The key of what goes on that UTC day. A new one is in memory only, until [`save`](Self::save).
    pub(crate) fn epoch_for(&mut self, day: u64) -> Result<&[u8; 32], WalletError> {
        if self.secrets.epoch(day).is_none() {
            let mut key = Zeroizing::new([0; 32]);
            getrandom::fill(key.as_mut()).map_err(|_| WalletError::Randomness)?;
            self.secrets.add_epoch(day, &key)?;
            self.changed = true;
        }
        self.secrets.epoch(day).ok_or(WalletError::Keystore(KeystoreError::Full))
    }

    /// Drops the keys of all days before `day`, in memory and in the file. What is encrypted under them is gone for good.
    pub(crate) fn drop_before(&mut self, day: u64) -> Result<bool, WalletError> {
        let dropped = self.secrets.drop_epochs_before(day);
        self.changed |= dropped;
        self.save()?;
        Ok(dropped)
    }

    /// Writes the file if something changed. When this returns, it says what memory says, whatever happens.
    pub(crate) fn save(&mut self) -> Result<(), WalletError> {
        if self.changed {
            let bytes = self.lock.seal(&self.secrets, &nonce()?)?;
            // What is not there for good is written again.
            if let Replaced::NotForGood(error) = file::replace(&self.path, &bytes)? {
                return Err(error.into());
            }
            self.changed = false;
        }
        Ok(())
    }

    /// Writes the file under another passphrase. The old one opens nothing any more but copies that were made of the file.
    ///
    /// # Errors
    /// [`WalletError::EitherPassphrase`] when the disk failed after the new file took its place. At any other the old one holds.
    pub(crate) fn rekey(
        &mut self,
        passphrase: &str,
        cost: KdfCost,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), WalletError> {
        let lock = Lock::new(passphrase, cost, rng)?;
        let bytes = lock.seal(&self.secrets, &nonce()?)?;
        let replaced = file::replace(&self.path, &bytes)?;
        self.lock = lock;
        self.changed = matches!(replaced, Replaced::NotForGood(_));
        match replaced {
            Replaced::Well => Ok(()),
            Replaced::NotForGood(error) => Err(WalletError::EitherPassphrase(error)),
        }
    }
}

/// A new nonce. Long enough to be drawn at random however often the file is written.
fn nonce() -> Result<[u8; NONCE_BYTES], WalletError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| WalletError::Randomness)?;
    Ok(nonce)
}
