//! Cards of a wallet: its own, whose seal keys are on disk before anyone can seal to them, and those of others.

use qasedak_chain::Time;
use rand_core::CryptoRng;

use super::{
    Numbers, Wallet, WalletError,
    contacts::{CardNews, KeyWarning},
    index::OwnSealKey,
    rows::{CardRow, SealKeyRow},
    vault::{Changes, Class, Vault},
};
use crate::{
    address::Address,
    card::{self, Card},
    clock::STEP_MAX_SECS,
    envelope::{Draft, Unstamped},
    keys::{Account, SealKey, SealKeyId},
};

/// How much earlier than due a contact's card may be new before that is odd: clocks differ, and nodes look by the hour.
const EARLY_SLACK_SECS: u64 = 86_400;

impl Wallet {
    pub(super) fn load_seal_keys(&mut self) -> Result<(), WalletError> {
        for (number, row) in self.vault.all_counted::<SealKeyRow>()? {
            let (account, id) = (Account::new(row.account), SealKeyId::new(row.id));
            let key = SealKey::from_bytes(id, &row.secret);
            let until = Time::from_secs(row.until);
            self.index.seal_keys.insert(number, OwnSealKey { account, id, until });
            if let Some(own) = self.own_mut().find(|own| own.account == account) {
                own.seal_keys.push(key);
                own.seal_keys.sort_by_key(SealKey::id);
            }
        }
        Ok(())
    }

    /// Whether an identity's card should be published: there is none in the ledger, this wallet lacks its seal key (it was
    /// restored from the words), or that is [no longer young](Self::is_young). `published` is the newest own card in the
    /// ledger or the outbox.
    pub fn own_card_due(&self, of: Account, now: Time, published: Option<&Card>) -> bool {
        published.is_none_or(|card| !self.is_young(of, card.sequence(), now))
    }

    /// Whether a seal key is here and was made less than [`card::RENEW_AFTER_SECS`] ago. Its row says when it was made: its
    /// name may be ahead of that, when it had to outrank another. One that is from further ahead than clocks differ was made
    /// under a wrong clock, and is not young: it would stay so for as long as the clock was wrong by.
    pub fn is_young(&self, of: Account, key: SealKeyId, now: Time) -> bool {
        let is_it = |own: &&OwnSealKey| own.account == of && own.id == key;
        self.index.seal_keys.values().find(is_it).is_some_and(|own| {
            let made = Time::from_secs(own.until.secs().saturating_sub(card::SEAL_KEY_KEPT_SECS));
            made <= now.plus(STEP_MAX_SECS) && now.since(made) < card::RENEW_AFTER_SECS
        })
    }

    /// The card to publish now. For as long as the newest seal key is young and outranks `published`, its card is published
    /// again, under a new date: however often an earlier one was not found, or did not get out, no further key is made, each
    /// of which would have to be kept and tried for months. Otherwise [a new one is made](Self::make_card).
    ///
    /// # Errors
    /// What [`make_card`](Self::make_card) gives.
    pub fn card_to_publish(
        &mut self,
        of: Account,
        now: Time,
        published: Option<&Card>,
        draft: &Draft,
        rng: &mut dyn CryptoRng,
    ) -> Result<Unstamped, WalletError> {
        let own = self.own_of(of);
        let newest = own.seal_keys.last().filter(|key| self.is_young(own.account, key.id(), now));
        match newest.filter(|key| published.is_none_or(|card| card.sequence() <= key.id())) {
            Some(key) => Ok(Card::sign(&self.network, &own.keys, key).publish(&self.network, draft, rng)?),
            None => self.make_card(of, now, published, draft, rng),
        }
    }

    /// Makes a card with a new seal key. The key is on disk when this returns; then the card may be published. Its sequence
    /// number is `now`, or one more than the greatest that is known, so that it outranks `published`. The key is destroyed
    /// [`card::SEAL_KEY_KEPT_SECS`] from now.
    ///
    /// # Errors
    /// [`WalletError::Rule`] when the draft breaks a rule of form, or what writing gives.
    pub fn make_card(
        &mut self,
        of: Account,
        now: Time,
        published: Option<&Card>,
        draft: &Draft,
        rng: &mut dyn CryptoRng,
    ) -> Result<Unstamped, WalletError> {
        self.clock.tick(now);
        let own = self.own_of(of);
        let account = own.account;
        let last = own.seal_keys.last().map(SealKey::id).max(published.map(Card::sequence));
        let id = last.map_or(0, |last| last.get().saturating_add(1)).max(now.secs());
        let seal_key = SealKey::generate(SealKeyId::new(id), rng);
        let unstamped = Card::sign(&self.network, &own.keys, &seal_key).publish(&self.network, draft, rng)?;
        let mut changes = Changes::default();
        let number = self.last_number(Numbers::SealKeys)?.saturating_add(1);
        self.put_last_number(&mut changes, Numbers::SealKeys, number)?;
        let until = self.clock.arrival().plus(card::SEAL_KEY_KEPT_SECS);
        let row = SealKeyRow { until: until.secs(), account: account.get(), id, secret: *seal_key.secret() };
        self.vault.put(&mut changes, &Vault::counted_key(Class::SealKey, number), &row)?;
        self.vault.commit(changes)?;
        self.index.seal_keys.insert(number, OwnSealKey { account, id: seal_key.id(), until });
        if let Some(own) = self.own_mut().find(|own| own.account == account) {
            own.seal_keys.push(seal_key);
        }
        Ok(unstamped)
    }

    /// Names of an identity's seal keys, oldest first.
    pub fn seal_keys(&self, of: Account) -> impl Iterator<Item = SealKeyId> {
        self.own_of(of).seal_keys.iter().map(SealKey::id)
    }

    /// Keeps someone's card, unless one that is as new is kept already, and says what is odd about it. Of several give the oldest
    /// first, or a card that came too early would hide behind the next. What is odd about a contact's card stays with the
    /// contact until their safety number is compared.
    ///
    /// # Errors
    /// What reading and writing give.
    pub fn remember_card(&mut self, card: &Card, now: Time) -> Result<CardNews, WalletError> {
        let known = self.card_of(&card.address())?;
        if known.as_ref().is_some_and(|known| !card.is_newer_than(known)) {
            return Ok(CardNews::Known);
        }
        let odd = known.as_ref().and_then(|known| oddity(known, card));
        let mut changes = Changes::default();
        let key = self.vault.named_key(Class::Card, card.address().as_bytes());
        self.vault.put(&mut changes, &key, &CardRow { card: card.to_bytes() })?;
        if let Some(warning) = odd {
            self.warn_of(&mut changes, &card.address(), warning, now)?;
        }
        self.vault.commit(changes)?;
        Ok(odd.map_or(CardNews::New, CardNews::Odd))
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

/// What is odd when `new` follows `known`.
fn oddity(known: &Card, new: &Card) -> Option<KeyWarning> {
    if new.scan() != known.scan() {
        return Some(KeyWarning::OtherScanKey);
    }
    let after = new.sequence().get().saturating_sub(known.sequence().get());
    (after < card::RENEW_AFTER_SECS.saturating_sub(EARLY_SLACK_SECS)).then_some(KeyWarning::EarlyCard)
}
