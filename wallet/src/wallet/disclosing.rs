//! Making a disclosure from what the wallet keeps of a message and the transaction that carried it.

use qasedak_chain::{Transaction, TxId};

use super::{SentMessage, Wallet, WalletError};
use crate::{
    disclose::{Disclosure, DisclosureError, Opening},
    open::OpenError,
};

/// Why a message cannot be disclosed.
#[derive(Debug, thiserror::Error)]
pub enum DiscloseError {
    /// The transaction is here, but it is no message of this wallet.
    #[error("transaction {0} carries no message that this wallet sent or can open; only those can be disclosed")]
    NotOurs(TxId),
    /// The body has gone.
    #[error(
        "the body of {0} is not on this node any more, or never came: without it the message cannot be disclosed; a node \
         that keeps bodies longer may still have it"
    )]
    NoBody(TxId),
    /// The seal key is destroyed, or was never in this wallet.
    #[error("the key that opens {0} is not in this wallet any more, so this side cannot disclose it; its sender can")]
    KeyGone(TxId),
    /// Its lifetime is over, and with it what the wallet kept.
    #[error("the message {0} has ended, and what it takes to disclose it was destroyed then; disclose in time")]
    Ended(TxId),
    /// It would not check.
    #[error("what would be disclosed does not check, so no file was made: {0}")]
    Check(#[from] DisclosureError),
    /// The wallet cannot be read.
    #[error(transparent)]
    Wallet(#[from] WalletError),
}

impl Wallet {
    /// Makes the disclosure of the message that `transaction` carries, and checks it. `proof`: the proof file of the
    /// transaction, without which the disclosure does not show that it is in the ledger.
    ///
    /// # Errors
    /// [`DiscloseError`].
    pub fn disclose(&self, transaction: &Transaction, proof: Option<String>) -> Result<Disclosure, DiscloseError> {
        let id = transaction.id();
        if transaction.body().is_none() {
            return Err(DiscloseError::NoBody(id));
        }
        let (recipient, seal, opening) = match self.sent_by(&id)? {
            Some(SentMessage { record: Some(record), .. }) => {
                (record.recipient, record.seal, Opening::EncapsulationSeed(record.encapsulation_seed))
            }
            Some(_) => return Err(DiscloseError::Ended(id)),
            None => {
                let (unsealed, own) = self.unsealed(transaction).map_err(|error| refusal(id, error))?;
                (own.keys.address(), unsealed.seal, Opening::SharedSecret(unsealed.shared))
            }
        };
        let disclosure = Disclosure::new(&self.network, transaction.clone(), recipient, seal, opening, proof);
        disclosure.check()?;
        Ok(disclosure)
    }
}

fn refusal(id: TxId, error: OpenError) -> DiscloseError {
    match error {
        OpenError::NoBody => DiscloseError::NoBody(id),
        OpenError::Commitment => DiscloseError::KeyGone(id),
        OpenError::NotForUs | OpenError::NotSealed => DiscloseError::NotOurs(id),
        error => DiscloseError::Check(DisclosureError::Message(error)),
    }
}

#[cfg(test)]
mod tests;
