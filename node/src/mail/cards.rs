//! Cards: the own one is published at start and before it expires; others' are looked up when they are needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use qasedak_chain::{
    Time, Transaction, TxId,
    store::{Outbox, StoreError},
};
use qasedak_wallet::{
    Account, Address, Card, SealKeyId, card,
    wallet::{CardNews, Identity},
};

use super::{Mail, MailError, Posted};
use crate::node::{now, read, rng};

/// Most transactions under one tag whose headers are ranked. A flood beyond this under one address' tag costs its author
/// a stamp each; the card's owner outranks it by work.
const RANKED_MAX: usize = 65_536;

/// Own cards that this run has published, by account: the seal key, and the transaction that carries the card.
pub(super) type Published = Mutex<BTreeMap<u32, (SealKeyId, TxId)>>;

impl Mail {
    /// Publishes the cards of all own identities that are due at `now`. What hinders one keeps no other back; the first
    /// hindrance is returned.
    pub(super) async fn publish_cards(self: &Arc<Self>, now: Time) -> Result<(), MailError> {
        let identities: Vec<Identity> = self.wallet().identities().collect();
        let mut hindered = None;
        for own in identities {
            if let Err(error) = self.publish_card_of(own, now).await {
                hindered.get_or_insert(error);
            }
        }
        hindered.map_or(Ok(()), Err)
    }

    async fn publish_card_of(self: &Arc<Self>, own: Identity, now: Time) -> Result<(), MailError> {
        let account = own.account;
        let made = self
            .off_thread(move |mail| {
                if mail.due(&own, now, &mail.dates(now))?.is_none() {
                    return Ok(None);
                }
                let draft = mail.draft(now)?;
                // Its date may lie further ahead than both clocks: then so may that of the last card.
                let Some(published) = mail.due(&own, now, &[now, draft.time])? else {
                    return Ok(None);
                };
                let mut rng = rng().map_err(|_| MailError::Randomness)?;
                let mut wallet = mail.wallet();
                let unstamped = wallet.card_to_publish(account, now, published.as_ref(), &draft, &mut rng)?;
                Ok(wallet.seal_keys(account).last().map(|key| (unstamped, key)))
            })
            .await?;
        let Some((unstamped, key)) = made else {
            return Ok(());
        };
        let stamped = self.stamper.stamp(unstamped).await?;
        let accepted = self.post(stamped, Posted::Card).await?;
        self.published.lock().unwrap_or_else(PoisonError::into_inner).insert(account.get(), (key, accepted.id));
        Ok(())
    }

    /// If a card of an own identity is due: the newest one that is found.
    fn due(&self, own: &Identity, now: Time, dates: &[Time]) -> Result<Option<Option<Card>>, MailError> {
        let published = self.own_card(own, dates)?;
        // One after the other: in one statement the wallet could be locked twice.
        let is_due = self.wallet().own_card_due(own.account, now, published.as_ref());
        // One that another wallet of the same words has published is outranked in any case.
        let is_out = published.is_none() && self.is_out(own.account, now)?;
        Ok((is_due && !is_out).then_some(published))
    }

    /// Whether this run has put a card of a young seal key on the ledger, though it may not be found there any more: with
    /// little room for bodies here its own may have had to go. Others have it, so once is enough.
    fn is_out(&self, account: Account, now: Time) -> Result<bool, MailError> {
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner).get(&account.get()).copied();
        let Some((key, id)) = published else {
            return Ok(false);
        };
        let is_young = self.wallet().is_young(account, key, now);
        Ok(is_young && self.is_in_ledger(&id)?)
    }

    /// All own identities, each with when its card was published, in seconds since 1970.
    ///
    /// # Errors
    /// What reading gives.
    pub async fn identities(self: &Arc<Self>) -> Result<Vec<(Identity, Option<u64>)>, MailError> {
        self.off_thread(|mail| {
            let identities: Vec<Identity> = mail.wallet().identities().collect();
            let with_card = |own: Identity| {
                let card = mail.own_card(&own, &mail.dates(now()))?.map(|card| card.sequence().get());
                Ok((own, card))
            };
            identities.into_iter().map(with_card).collect()
        })
        .await
    }

    /// The times whose weeks cards are looked for under: the system's clock, and the ledger's. That one is ahead when the
    /// system's was once, and the node dates by it what it makes.
    fn dates(&self, now: Time) -> [Time; 2] {
        [now, read(&self.ledger, |ledger| ledger.clock(now))]
    }

    /// The newest card of an own identity, in the ledger or in the outbox.
    fn own_card(&self, own: &Identity, dates: &[Time]) -> Result<Option<Card>, MailError> {
        let mut found = self.find_cards(&own.address, dates)?;
        let tags = self.card_tags(&own.address, dates);
        found.extend(self.outbox.all()?.into_iter().filter(|kept| tags.contains(kept.core().hint())));
        Ok(card::newest(&self.network, &own.address, None, &found))
    }

    fn card_tags(&self, address: &Address, dates: &[Time]) -> BTreeSet<[u8; 16]> {
        dates.iter().flat_map(|date| card::tags(&self.network, address, *date)).collect()
    }

    /// The newest valid card of someone; never one that is older than what this wallet has seen before.
    pub(super) fn card_of(&self, address: &Address) -> Result<Option<Card>, MailError> {
        let found = self.find_cards(address, &self.dates(now()))?;
        let mut cards = card::valid(&self.network, address, &found);
        let mut wallet = self.wallet();
        let known = wallet.card_of(address)?;
        for card in &cards {
            if let CardNews::Odd(warning) = wallet.remember_card(card, now())? {
                // Said without a name, as everything in the log.
                tracing::warn!("the keys of a contact are odd: {warning}; `qasedak contact list` shows whose");
            }
        }
        let is_used = |card: &Card| known.as_ref().is_none_or(|known| card.sequence() >= known.sequence());
        Ok(cards.pop().filter(is_used).or(known))
    }

    /// Looks at the cards of all contacts, so that a change of keys is told to somebody who only reads, too.
    pub(super) async fn look_at_contacts(self: &Arc<Self>) -> Result<(), MailError> {
        self.off_thread(|mail| {
            let contacts: Vec<Address> = mail.wallet().contacts().map(|contact| contact.address).collect();
            contacts.iter().try_for_each(|address| mail.card_of(address).map(drop))
        })
        .await
    }

    /// The candidates under an address' tags of the last weeks, those with the most work of each week.
    fn find_cards(&self, address: &Address, dates: &[Time]) -> Result<Vec<Transaction>, MailError> {
        let mut found = Vec::new();
        for tag in self.card_tags(address, dates) {
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
pub(super) fn intact<T>(read: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(StoreError::Damaged { .. }) => Ok(None),
        read => read,
    }
}
