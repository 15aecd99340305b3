//! Handing the scan key of an identity to a node that finds for it ([`finding`](crate::finding)).

use std::path::Path;

use qasedak_chain::store::disk::files::{self, DiskFile};
use rand_core::CryptoRng;

use super::{Wallet, WalletError, identities::Identity};
use crate::finding::ScanKeyFile;

impl Wallet {
    /// Writes a new scan key file of an identity, readable by its owner only. It is on disk when this returns. Each call draws
    /// another token; **the scan key in it is always the same one**, for it follows from the words.
    ///
    /// # Errors
    /// [`WalletError::UnknownIdentity`]; [`WalletError::Store`] when there is such a file or it cannot be written. No new file is
    /// left then.
    pub fn export_scan_key(&self, which: &str, path: &Path, rng: &mut dyn CryptoRng) -> Result<Identity, WalletError> {
        let identity = self.identity(which)?;
        let file = ScanKeyFile::new(&self.network, self.own_of(identity.account).keys.scan(), rng);
        let out = DiskFile::create_new(path)?;
        let written =
            out.write_at(&file.to_bytes(), 0).and_then(|()| out.sync()).and_then(|()| files::sync_parent(path));
        written.inspect_err(|_| drop(files::remove(path)))?;
        Ok(identity)
    }

    /// The identity whose scan key a file holds, if it is one of this wallet.
    pub fn identity_of(&self, file: &ScanKeyFile) -> Option<Identity> {
        let own = self.own().find(|own| file.is_of(own.keys.scan()))?;
        self.identities().find(|identity| identity.account == own.account)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use qasedak_chain::{Network, store::StoreError};

    use super::*;
    use crate::{
        keystore::KdfCost,
        phrase::Phrase,
        testing::{NOW, rng},
    };

    #[test]
    fn an_identity_s_scan_key_is_written_once_for_its_owner_alone() {
        let (home, dev) = (tempfile::tempdir().unwrap(), Network::dev());
        let phrase = Phrase::from_entropy(&[77; 32]).unwrap();
        let dir = home.path().join("wallet");
        let mut wallet =
            Wallet::create(&dir, &dev, &phrase, "canary-passphrase", KdfCost::for_tests(), NOW, &mut rng(1)).unwrap();
        let second = wallet.add_identity("Work").unwrap();
        let (first_path, second_path) = (home.path().join("first.scan"), home.path().join("second.scan"));
        let first = wallet.export_scan_key(&wallet.address().to_string(), &first_path, &mut rng(2)).unwrap();
        assert_eq!(first.address, wallet.address());
        assert_eq!(wallet.export_scan_key("Work", &second_path, &mut rng(3)).unwrap(), second);
        let read = |path: &Path| ScanKeyFile::from_bytes(&dev, &fs::read(path).unwrap()).unwrap();
        assert_eq!(wallet.identity_of(&read(&first_path)), Some(first));
        assert_eq!(wallet.identity_of(&read(&second_path)), Some(second));
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&first_path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }

        // Never over a file, and never for someone who is not in the wallet.
        let before = fs::read(&first_path).unwrap();
        let again = wallet.export_scan_key("", &first_path, &mut rng(4));
        assert!(matches!(again, Err(WalletError::Store(StoreError::Io { what: "cannot create", .. }))), "{again:?}");
        assert_eq!(fs::read(&first_path).unwrap(), before);
        let nobody = home.path().join("nobody.scan");
        assert!(matches!(wallet.export_scan_key("Ann", &nobody, &mut rng(5)), Err(WalletError::UnknownIdentity)));
        assert!(!nobody.exists());

        // No file of one wallet is another's, and none holds what the wallet keeps.
        let other = Phrase::from_entropy(&[78; 32]).unwrap();
        let dir = home.path().join("other");
        let other = Wallet::create(&dir, &dev, &other, "x", KdfCost::for_tests(), NOW, &mut rng(6)).unwrap();
        assert_eq!(other.identity_of(&read(&first_path)), None);
        let secrets = wallet.vault.secrets();
        for secret in [secrets.record_key(), secrets.name_key(), phrase.entropy()] {
            assert!(!before.windows(16).any(|window| secret.windows(16).any(|part| part == window)));
        }
    }
}
