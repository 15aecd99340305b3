//! Cards of a wallet: its own, whose seal keys are on disk before anyone can seal to them, and those of others.

use qasedak_chain::Time;
use rand_core::CryptoRng;

use super::{
    Wallet, WalletError,
    rows::{CardRow, SealKeyRow},
    vault::{Changes, Class, Vault},
};
use crate::{
    address::Address,
    card::{self, Card},
    envelope::{Draft, Unstamped},
    keys::{SealKey, SealKeyId},
};

impl Wallet {
    pub(super) fn load_seal_keys(&mut self) -> Result<(), WalletError> {
        let rows = self.vault.counted::<SealKeyRow>(Class::SealKey, 0, usize::MAX)?;
        self.seal_keys = rows.iter().map(|(id, row)| SealKey::from_bytes(SealKeyId::new(*id), &row.secret)).collect();
        Ok(())
    }

    /// The tags under which this wallet's own card would be found now, newest week first.
    pub fn own_card_tags(&self, now: Time) -> Vec<[u8; 16]> {
        card::tags(&self.network, &self.address(), now)
    }

    /// Whether a card should be published: there is none in the ledger, this wallet lacks its seal key (it was restored
    /// from the words), or it is older than 25 days. `published` is the newest own card in the ledger or the outbox.
    pub fn own_card_due(&self, now: Time, published: Option<&Card>) -> bool {
        published.is_none_or(|card| {
            let made = card.sequence();
            let known = self.seal_keys.iter().any(|key| key.id() == made);
            !known || now.since(Time::from_secs(made.get())) >= card::RENEW_AFTER_SECS
        })
    }

    /// Makes a card with a new seal key. The key is on disk when this returns; then the card may be published.
    /// Its sequence number is `now`, or one more than the greatest that is known, so that it outranks `published`.
    ///
    /// # Errors
    /// [`WalletError::Rule`] when the draft breaks a rule of form, or what writing gives.
    pub fn make_card(
        &mut self,
        now: Time,
        published: Option<&Card>,
        draft: &Draft,
        rng: &mut dyn CryptoRng,
    ) -> Result<Unstamped, WalletError> {
        let last = self.seal_keys.last().map(SealKey::id).max(published.map(Card::sequence));
        let id = last.map_or(0, |last| last.get().saturating_add(1)).max(now.secs());
        let seal_key = SealKey::generate(SealKeyId::new(id), rng);
        let unstamped = Card::sign(&self.network, &self.keys, &seal_key).publish(&self.network, draft, rng)?;
        let mut changes = Changes::default();
        let row = SealKeyRow { secret: *seal_key.secret() };
        self.vault.put(&mut changes, Class::SealKey, &Vault::counted_key(Class::SealKey, id), &row)?;
        self.vault.commit(changes)?;
        self.seal_keys.push(seal_key);
        Ok(unstamped)
    }

    /// Names of the wallet's seal keys, oldest first.
    pub fn seal_keys(&self) -> impl Iterator<Item = SealKeyId> {
        self.seal_keys.iter().map(SealKey::id)
    }

    /// Keeps someone's card, unless one that is as new is kept already. Returns whether it was kept.
    ///
    /// # Errors
    /// What reading and writing give.
    pub fn remember_card(&mut self, card: &Card) -> Result<bool, WalletError> {
        if self.card_of(&card.address())?.is_some_and(|known| !card.is_newer_than(&known)) {
            return Ok(false);
        }
        let mut changes = Changes::default();
        let key = self.vault.named_key(Class::Card, card.address().as_bytes());
        self.vault.put(&mut changes, Class::Card, &key, &CardRow { card: card.to_bytes() })?;
        self.vault.commit(changes)?;
        Ok(true)
    }

    /// The newest card of someone that is known.
    ///
    /// # Errors
    /// [`WalletError::Card`] when what is kept is no card, or what reading gives.
    pub fn card_of(&self, address: &Address) -> Result<Option<Card>, WalletError> {
        let row = self.vault.get::<CardRow>(&self.vault.named_key(Class::Card, address.as_bytes()))?;
        row.map(|row| Card::from_bytes(&self.network, &row.card).map_err(WalletError::from)).transpose()
    }
}
