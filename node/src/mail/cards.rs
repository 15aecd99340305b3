//! Cards: the own one is published at start and before it expires; others' are looked up when they are needed.

use std::sync::Arc;

use qasedak_chain::{
    Transaction,
    store::{Outbox, StoreError},
};
use qasedak_wallet::{Address, Card, card};

use super::{Mail, MailError};
use crate::node::{now, read, rng};

/// Most transactions under one tag whose headers are ranked. A flood beyond this under one address' tag costs its author
/// a stamp each; the card's owner outranks it by work.
const RANKED_MAX: usize = 65_536;

impl Mail {
    /// Publishes the own card if it is due.
    pub(super) async fn publish_card(self: &Arc<Self>) -> Result<(), MailError> {
        let made = self
            .off_thread(|mail| {
                let published = mail.own_card()?;
                if !mail.wallet().own_card_due(now(), published.as_ref()) {
                    return Ok(None);
                }
                let draft = mail.draft()?;
                let mut rng = rng().map_err(|_| MailError::Randomness)?;
                Ok(Some(mail.wallet().make_card(now(), published.as_ref(), &draft, &mut rng)?))
            })
            .await?;
        let Some(unstamped) = made else {
            return Ok(());
        };
        let stamped = self.stamper.stamp(unstamped).await?;
        self.post(stamped, |_, _| Ok(())).await.map(drop)
    }

    /// When the own card was published, in seconds since 1970.
    ///
    /// # Errors
    /// What reading gives.
    pub async fn card_published(self: &Arc<Self>) -> Result<Option<u64>, MailError> {
        self.off_thread(|mail| Ok(mail.own_card()?.map(|card| card.sequence().get()))).await
    }

    /// The newest own card, in the ledger or in the outbox.
    fn own_card(&self) -> Result<Option<Card>, MailError> {
        let mut found = self.find_cards(&self.address)?;
        let tags = self.wallet().own_card_tags(now());
        found.extend(self.outbox.all()?.into_iter().filter(|kept| tags.contains(kept.core().hint())));
        Ok(card::newest(&self.network, &self.address, None, &found))
    }

    /// The newest valid card of someone; never one that is older than what this wallet has seen before.
    pub(super) fn card_of(&self, address: &Address) -> Result<Option<Card>, MailError> {
        let found = self.find_cards(address)?;
        let mut wallet = self.wallet();
        let known = wallet.card_of(address)?;
        match card::newest(&self.network, address, known.as_ref(), &found) {
            Some(newest) => {
                wallet.remember_card(&newest)?;
                Ok(Some(newest))
            }
            None => Ok(known),
        }
    }

    /// The candidates under an address' tags of the last weeks, those with the most work of each week.
    fn find_cards(&self, address: &Address) -> Result<Vec<Transaction>, MailError> {
        let mut found = Vec::new();
        for tag in card::tags(&self.network, address, now()) {
            let positions = read(&self.ledger, |ledger| ledger.tagged(&tag, RANKED_MAX))?;
            let mut headers = Vec::new();
            for position in positions {
                let record = intact(read(&self.ledger, |ledger| ledger.record(position)))?;
                headers.extend(record.map(|record| (position, record.header)));
            }
            for position in card::strongest(&self.network, headers) {
                found.extend(intact(read(&self.ledger, |ledger| ledger.transaction(position)))?);
            }
        }
        Ok(found)
    }
}

/// A damaged candidate counts as none: one card that cannot be read must not hide the others. The audit names it.
fn intact<T>(read: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(StoreError::Damaged { .. }) => Ok(None),
        read => read,
    }
}
