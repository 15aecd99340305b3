//! Receipts: sealed messages like any other, sent to contacts for whom they are on.
//!
//! A receipt costs a stamp, so one speaks for all messages of a contact that were opened in the last minute. It lives for a
//! week: the sender's wallet need not be there at once.

use std::sync::Arc;

use qasedak_wallet::{WalletError, wallet::OwedReceipt};

use super::{Mail, MailError, Posted, now_ms};
use crate::{
    node::{now, rng},
    stamping::StampingError,
};

/// How long a receipt lives, in seconds.
const LIFETIME_SECS: u32 = 7 * 86_400;

impl Mail {
    /// Sends the receipts that are owed. One that cannot be sent now, as to somebody whose card is too old, stays owed and
    /// keeps none back.
    pub(super) async fn send_receipts(self: &Arc<Self>) -> Result<(), MailError> {
        let owed = self.off_thread(|mail| Ok(mail.wallet().receipts_owed())).await?;
        for receipt in owed {
            match self.send_receipt(receipt).await {
                Ok(()) => {}
                Err(error @ (MailError::Stamping(StampingError::Stopped) | MailError::Network(_))) => {
                    return Err(error);
                }
                // Said without a name, as everything in the log.
                Err(error) => tracing::warn!("cannot send a receipt yet: {error}"),
            }
        }
        Ok(())
    }

    async fn send_receipt(self: &Arc<Self>, owed: OwedReceipt) -> Result<(), MailError> {
        let receipt = owed.clone();
        let sealed = self
            .off_thread(move |mail| {
                let Some(card) = mail.card_of(&receipt.to)? else {
                    return Ok(None);
                };
                let mut draft = mail.draft(now())?;
                draft.lifetime_secs = LIFETIME_SECS;
                let mut rng = rng().map_err(|_| MailError::Randomness)?;
                let sealed = mail.wallet().seal_receipt(&receipt, &card, now_ms(), &draft, &mut rng);
                Ok(Some(sealed.map_err(WalletError::from)?))
            })
            .await?;
        // Without a card there is nobody to seal to yet: it stays owed until the message ends.
        let Some(sealed) = sealed else {
            return Ok(());
        };
        let stamped = self.stamper.stamp(sealed.unstamped).await?;
        self.post(stamped, Posted::Receipt(owed)).await.map(drop)
    }
}
