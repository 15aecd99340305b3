//! Cards: the own one is published at start and before it expires; others' are looked up when they are needed.

use std::sync::Arc;

use qasedak_chain::{
    Transaction,
    store::{Outbox, StoreError},
};
use qasedak_wallet::{
    Address, Card, card,
    wallet::{CardNews, Identity},
};

use super::{Mail, MailError};
use crate::node::{now, read, rng};

/// Most transactions under one tag whose headers are ranked. A flood beyond this under one address' tag costs its author
/// a stamp each; the card's owner outranks it by work.
const RANKED_MAX: usize = 65_536;

impl Mail {
    /// Publishes the cards of all own identities that are due.
    pub(super) async fn publish_card(self: &Arc<Self>) -> Result<(), MailError> {
        let identities: Vec<Identity> = self.wallet().identities().collect();
        for own in identities {
            self.publish_card_of(own).await?;
        }
        Ok(())
    }

    async fn publish_card_of(self: &Arc<Self>, own: Identity) -> Result<(), MailError> {
        let made = self
            .off_thread(move |mail| {
                let published = mail.own_card(&own)?;
                if !mail.wallet().own_card_due(own.account, now(), published.as_ref()) {
                    return Ok(None);
                }
                let draft = mail.draft()?;
                let mut rng = rng().map_err(|_| MailError::Randomness)?;
                Ok(Some(mail.wallet().make_card(own.account, now(), published.as_ref(), &draft, &mut rng)?))
            })
            .await?;
        let Some(unstamped) = made else {
            return Ok(());
        };
        let stamped = self.stamper.stamp(unstamped).await?;
        self.post(stamped, |_, _| Ok(())).await.map(drop)
    }

    /// All own identities, each with when its card was published, in seconds since 1970.
    ///
    /// # Errors
    /// What reading gives.
    pub async fn identities(self: &Arc<Self>) -> Result<Vec<(Identity, Option<u64>)>, MailError> {
        self.off_thread(|mail| {
            let identities: Vec<Identity> = mail.wallet().identities().collect();
            let with_card = |own: Identity| {
                let card = mail.own_card(&own)?.map(|card| card.sequence().get());
                Ok((own, card))
            };
            identities.into_iter().map(with_card).collect()
        })
        .await
    }

    /// The newest card of an own identity, in the ledger or in the outbox.
    fn own_card(&self, own: &Identity) -> Result<Option<Card>, MailError> {
        let mut found = self.find_cards(&own.address)?;
        let tags = self.wallet().own_card_tags(own.account, now());
        found.extend(self.outbox.all()?.into_iter().filter(|kept| tags.contains(kept.core().hint())));
        Ok(card::newest(&self.network, &own.address, None, &found))
    }

    /// The newest valid card of someone; never one that is older than what this wallet has seen before.
    pub(super) fn card_of(&self, address: &Address) -> Result<Option<Card>, MailError> {
        let found = self.find_cards(address)?;
        let mut wallet = self.wallet();
        let known = wallet.card_of(address)?;
        match card::newest(&self.network, address, known.as_ref(), &found) {
            Some(newest) => {
                if let CardNews::Odd(warning) = wallet.remember_card(&newest, now())? {
                    // Said without a name, as everything in the log.
                    tracing::warn!("the keys of a contact are odd: {warning}; `qasedak contact list` shows whose");
                }
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
