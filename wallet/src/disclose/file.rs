//! The file of a disclosure: JSON with fixed fields in a fixed order, indented by two spaces, one line feed at its end
//! (`docs/wallet-format.md`, "Disclosure file").

use qasedak_chain::{TxId, proof};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::{Zeroize, Zeroizing};

use super::{Discloser, Disclosure, DisclosureError, Opening, assemble, opening};

/// Most bytes of a disclosure file: the longest body and a proof, both in text.
pub const FILE_MAX_BYTES: usize = proof::FILE_MAX_BYTES + 256 * 1024;
/// What a file begins with.
const FORMAT: &str = "qasedak disclosure 1";
/// What files of all formats begin with.
const FORMAT_ANY: &str = "qasedak disclosure ";

/// The fields, in order. Bytes are lower-case hexadecimal.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    network: String,
    transaction: String,
    header: String,
    body: String,
    recipient: String,
    seal_key: String,
    opening: Secret,
    proof: Option<Box<RawValue>>,
}

/// The secret, by its name. Zeroized on drop.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Secret {
    SharedSecret(String),
    EncapsulationSeed(String),
}

impl Drop for Secret {
    fn drop(&mut self) {
        match self {
            Secret::SharedSecret(hex) | Secret::EncapsulationSeed(hex) => hex.zeroize(),
        }
    }
}

/// The same fields as values that are still to be joined.
pub(super) struct Fields {
    pub(super) network: String,
    pub(super) transaction: TxId,
    pub(super) header: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) recipient: String,
    pub(super) seal_key: Vec<u8>,
    pub(super) opening: Opening,
    pub(super) proof: Option<String>,
}

fn bytes(hex: &str) -> Result<Vec<u8>, DisclosureError> {
    hex::decode(hex).map_err(|_| DisclosureError::Form)
}

impl File {
    fn of(disclosure: &Disclosure) -> Option<Self> {
        let opening = match &disclosure.opening {
            Opening::SharedSecret(shared) => Secret::SharedSecret(hex::encode(shared.as_slice())),
            Opening::EncapsulationSeed(seed) => Secret::EncapsulationSeed(hex::encode(seed.as_bytes())),
        };
        let proof = disclosure.proof.clone().map(RawValue::from_string).transpose().ok()?;
        Some(Self {
            format: FORMAT.to_owned(),
            network: disclosure.network.name().to_owned(),
            transaction: disclosure.transaction.id().to_string(),
            header: hex::encode(disclosure.transaction.header().to_bytes()),
            body: hex::encode(disclosure.transaction.body().unwrap_or_default()),
            recipient: disclosure.recipient.to_string(),
            seal_key: hex::encode(disclosure.seal.as_bytes()),
            opening,
            proof,
        })
    }

    fn text(&self) -> Option<Zeroizing<Vec<u8>>> {
        let mut text = Zeroizing::new(Vec::with_capacity(self.capacity()));
        serde_json::to_writer_pretty(&mut *text, self).ok()?;
        text.push(b'\n');
        Some(text)
    }

    /// Enough room for the text, so that no copy of it stays behind when it grows.
    fn capacity(&self) -> usize {
        let proof = self.proof.as_ref().map_or(0, |proof| proof.get().len());
        [self.header.len(), self.body.len(), self.seal_key.len(), proof, 2_048].iter().sum()
    }

    fn fields(self) -> Result<Fields, DisclosureError> {
        let (by, secret) = match &self.opening {
            Secret::SharedSecret(hex) => (Discloser::Recipient, hex),
            Secret::EncapsulationSeed(hex) => (Discloser::Sender, hex),
        };
        let secret = Zeroizing::new(bytes(secret)?);
        Ok(Fields {
            opening: opening(by, &secret).ok_or(DisclosureError::Form)?,
            transaction: self.transaction.parse().map_err(|_| DisclosureError::Form)?,
            header: bytes(&self.header)?,
            body: bytes(&self.body)?,
            seal_key: bytes(&self.seal_key)?,
            network: self.network,
            recipient: self.recipient,
            proof: self.proof.map(|proof| proof.get().to_owned()),
        })
    }
}

impl Disclosure {
    /// The file. It opens the message to everyone who reads it. Zeroized on drop.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Cannot fail: all fields are text, and a proof was read as JSON.
        File::of(self).and_then(|file| file.text()).unwrap_or_default()
    }

    /// Reads a file, checking its form and that its parts belong together, and nothing more: see
    /// [`check`](Self::check).
    ///
    /// # Errors
    /// [`DisclosureError`] names the first check that failed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DisclosureError> {
        if bytes.len() > FILE_MAX_BYTES {
            return Err(DisclosureError::TooLong);
        }
        let file: File = serde_json::from_slice(bytes).map_err(|_| DisclosureError::Form)?;
        if file.format != FORMAT {
            let later = file.format.starts_with(FORMAT_ANY);
            return Err(if later { DisclosureError::Version } else { DisclosureError::Form });
        }
        let disclosure = assemble(file.fields()?)?;
        if disclosure.to_bytes().as_slice() == bytes { Ok(disclosure) } else { Err(DisclosureError::NotCanonical) }
    }

    /// Whether some bytes are meant to be a disclosure file, well formed or not.
    pub fn is_meant(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Format {
            format: String,
        }
        serde_json::from_slice::<Format>(bytes).is_ok_and(|file| file.format.starts_with(FORMAT_ANY))
    }
}
