//! Cards of a wallet: its own, whose seal keys are on disk before anyone can seal to them, and those of others.

use qasedak_chain::Time;
use rand_core::CryptoRng;

use super::{
    Numbers, Wallet, WalletError,
    contacts::{CardNews, KeyWarning},
    rows::{CardRow, SealKeyRow},
    vault::{Changes, Class, Vault},
};
use crate::{
    address::Address,
    card::{self, Card},
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
            self.index.seal_keys.insert(number, (account, id));
            if let Some(own) = self.own_mut().find(|own| own.account == account) {
                own.seal_keys.push(key);
                own.seal_keys.sort_by_key(SealKey::id);
            }
        }
        Ok(())
    }

    /// The tags under which an identity's own card would be found now, newest week first.
    pub fn own_card_tags(&self, of: Account, now: Time) -> Vec<[u8; 16]> {
        card::tags(&self.network, &self.own_of(of).keys.address(), now)
    }

    /// Whether an identity's card should be published: there is none in the ledger, this wallet lacks its seal key (it was
    /// restored from the words), or it is older than 25 days. `published` is the newest own card in the ledger or the outbox.
    pub fn own_card_due(&self, of: Account, now: Time, published: Option<&Card>) -> bool {
        published.is_none_or(|card| {
            let made = card.sequence();
            let known = self.own_of(of).seal_keys.iter().any(|key| key.id() == made);
            !known || now.since(Time::from_secs(made.get())) >= card::RENEW_AFTER_SECS
        })
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
        self.index.seal_keys.insert(number, (account, seal_key.id()));
        if let Some(own) = self.own_mut().find(|own| own.account == account) {
            own.seal_keys.push(seal_key);
        }
        Ok(unstamped)
    }

    /// Names of an identity's seal keys, oldest first.
    pub fn seal_keys(&self, of: Account) -> impl Iterator<Item = SealKeyId> {
        self.own_of(of).seal_keys.iter().map(SealKey::id)
    }

    /// Keeps someone's card, unless one that is as new is kept already, and says what is odd about it. What is odd about a
    /// contact's card stays with the contact until their safety number is compared.
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
