//! People: contacts, their safety numbers, strangers who asked to be heard, and those who are blocked.

use std::sync::Arc;

use qasedak_chain::Time;
use qasedak_wallet::{
    Address, WalletError,
    wallet::{Identity, KeyWarning},
};

use super::{Letter, Mail, MailError};
use crate::node::now;

/// A contact as it is shown.
#[derive(Debug, Clone)]
pub struct Known {
    /// The name.
    pub name: String,
    /// The address.
    pub address: Address,
    /// When the newest card that was found was made, in seconds since 1970.
    pub card: Option<u64>,
    /// When their safety number was compared, in seconds since 1970.
    pub verified: Option<u64>,
    /// Whether receipts are sent to them.
    pub receipts: bool,
    /// What is odd about their keys, in a sentence.
    pub warning: Option<String>,
    /// Whether they are blocked.
    pub blocked: bool,
}

/// Someone whose messages are dropped.
#[derive(Debug, Clone)]
pub struct Unheard {
    /// The address.
    pub address: Address,
    /// The name, if they are a contact.
    pub name: Option<String>,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

/// A contact's safety number.
#[derive(Debug, Clone)]
pub struct Verification {
    /// The contact's name.
    pub name: String,
    /// The 60 digits.
    pub digits: String,
    /// Whether what was typed was compared, and is right.
    pub matches: Option<bool>,
}

/// What is changed about a contact.
#[derive(Debug, Clone)]
pub enum Change {
    /// Another address.
    Address(String),
    /// Whether receipts are sent to them.
    Receipts(bool),
    /// By which of the wallet's identities they are written to: its name or address.
    Identity(String),
}

/// What is odd about somebody's keys, and since when, in a sentence.
pub fn warning_text((warning, since): (KeyWarning, Time)) -> String {
    format!("since {since}: {warning}")
}

impl Mail {
    fn known(&self, name: &str, with_card: bool) -> Result<Known, MailError> {
        let (contact, blocked) = {
            let wallet = self.wallet();
            let contact = wallet.contact(name).cloned().ok_or(WalletError::UnknownContact)?;
            let blocked = wallet.blocked().any(|(blocked, _)| *blocked == contact.address);
            (contact, blocked)
        };
        let card = if with_card { self.card_of(&contact.address)?.map(|card| card.sequence().get()) } else { None };
        // Looking for the card may have brought a warning.
        let warning = self.wallet().contact(name).and_then(|contact| contact.warning);
        Ok(Known {
            name: contact.name.to_string(),
            address: contact.address,
            card,
            verified: contact.verified.filter(|_| warning.is_none()).map(|at| at.secs()),
            receipts: contact.receipts,
            warning: warning.map(warning_text),
            blocked,
        })
    }

    /// All contacts, each with the newest card that is found.
    ///
    /// # Errors
    /// What reading gives.
    pub async fn contacts(self: &Arc<Self>) -> Result<Vec<Known>, MailError> {
        self.off_thread(|mail| {
            let names: Vec<String> = mail.wallet().contacts().map(|contact| contact.name.to_string()).collect();
            names.iter().map(|name| mail.known(name, true)).collect()
        })
        .await
    }

    /// Gives an address a name.
    ///
    /// # Errors
    /// [`MailError::Wallet`] when name or address are not acceptable.
    pub async fn add_contact(self: &Arc<Self>, name: &str, address: &str) -> Result<Known, MailError> {
        let (name, address) = (name.to_owned(), address.to_owned());
        self.off_thread(move |mail| {
            let address: Address = address.parse().map_err(WalletError::from)?;
            mail.wallet().add_contact(&name, address)?;
            mail.tell_received();
            mail.known(&name, true)
        })
        .await
    }

    /// Changes something about a contact.
    ///
    /// # Errors
    /// [`MailError::Wallet`] when there is no such name, or it cannot be.
    pub async fn change_contact(self: &Arc<Self>, name: String, change: Change) -> Result<Known, MailError> {
        self.off_thread(move |mail| {
            match change {
                Change::Address(address) => {
                    let address: Address = address.parse().map_err(WalletError::from)?;
                    mail.wallet().change_address(&name, address, now())?;
                    mail.tell_received();
                }
                Change::Receipts(on) => mail.wallet().set_receipts(&name, on)?,
                Change::Identity(identity) => mail.wallet().set_identity(&name, &identity)?,
            }
            mail.known(&name, true)
        })
        .await
    }

    /// Forgets a name; messages stay.
    ///
    /// # Errors
    /// [`MailError::Wallet`] when there is no such name.
    pub async fn remove_contact(self: &Arc<Self>, name: &str) -> Result<Known, MailError> {
        let name = name.to_owned();
        self.off_thread(move |mail| {
            let known = mail.known(&name, false)?;
            mail.wallet().remove_contact(&name)?;
            Ok(known)
        })
        .await
    }

    /// A contact's safety number. With `typed` it is compared, and if it is right the contact is verified.
    ///
    /// # Errors
    /// [`MailError::Wallet`] when there is no such name.
    pub async fn verify(self: &Arc<Self>, name: String, typed: Option<String>) -> Result<Verification, MailError> {
        self.off_thread(move |mail| {
            let mut wallet = mail.wallet();
            let number = wallet.safety_number(&name)?;
            let matches = typed.map(|typed| number.matches(&typed));
            if matches == Some(true) {
                wallet.set_verified(&name, now())?;
            }
            Ok(Verification { name, digits: number.digits().to_owned(), matches })
        })
        .await
    }

    /// Drops what someone sends, from now on, or takes it again. WHO is a contact's name or an address.
    ///
    /// # Errors
    /// [`MailError::Wallet`] when WHO is nobody.
    pub async fn block(self: &Arc<Self>, who: String, blocked: bool) -> Result<Address, MailError> {
        self.off_thread(move |mail| {
            let mut wallet = mail.wallet();
            let address = wallet.resolve(&who)?;
            if blocked {
                wallet.block(&address, now())?;
            } else {
                wallet.unblock(&address)?;
            }
            Ok(address)
        })
        .await
    }

    /// Everyone whose messages are dropped, the last one first.
    ///
    /// # Errors
    /// What the work gives when it breaks off.
    pub async fn blocked(self: &Arc<Self>) -> Result<Vec<Unheard>, MailError> {
        self.off_thread(|mail| {
            let wallet = mail.wallet();
            let unheard = |(address, since): (&Address, Time)| Unheard {
                address: *address,
                name: wallet.name_of(address).map(ToString::to_string),
                since: since.secs(),
            };
            let mut all: Vec<Unheard> = wallet.blocked().map(unheard).collect();
            all.sort_by_key(|one| std::cmp::Reverse(one.since));
            Ok(all)
        })
        .await
    }

    /// What is odd about the keys of WHO, in a sentence, if they are a contact.
    ///
    /// # Errors
    /// What the work gives when it breaks off.
    pub async fn warning_of(self: &Arc<Self>, who: String) -> Result<Option<String>, MailError> {
        self.off_thread(move |mail| {
            let address = mail.wallet().resolve(&who);
            Ok(address.ok().and_then(|address| mail.warning_at(&address)))
        })
        .await
    }

    pub(super) fn warning_at(&self, address: &Address) -> Option<String> {
        self.wallet().contact_at(address).and_then(|contact| contact.warning).map(warning_text)
    }

    /// About how many contacts' keys something is odd.
    ///
    /// # Errors
    /// What the work gives when it breaks off.
    pub async fn key_warnings(self: &Arc<Self>) -> Result<usize, MailError> {
        self.off_thread(|mail| Ok(mail.wallet().contacts().filter(|contact| contact.warning.is_some()).count())).await
    }

    /// Messages of strangers that wait.
    ///
    /// # Errors
    /// What reading gives.
    pub async fn requests(self: &Arc<Self>) -> Result<Vec<Letter>, MailError> {
        self.off_thread(|mail| Ok(mail.wallet().requests()?.into_iter().map(Letter::new).collect())).await
    }

    /// How many messages of strangers wait.
    pub async fn requests_waiting(self: &Arc<Self>) -> Result<usize, MailError> {
        self.off_thread(|mail| Ok(mail.wallet().requests_waiting())).await
    }

    /// Removes what a stranger sent, who stays one. Returns how many messages.
    ///
    /// # Errors
    /// [`MailError::NoRequest`] when there were none.
    pub async fn decline(self: &Arc<Self>, address: &str) -> Result<usize, MailError> {
        let address: Address = address.parse().map_err(WalletError::from)?;
        self.off_thread(move |mail| match mail.wallet().decline_requests(&address)? {
            0 => Err(MailError::NoRequest),
            count => Ok(count),
        })
        .await
    }

    /// Makes a further identity of the same words, and publishes its card.
    ///
    /// # Errors
    /// [`MailError::Wallet`] when the name is not acceptable.
    pub async fn add_identity(self: &Arc<Self>, name: String) -> Result<Identity, MailError> {
        let made = self.off_thread(move |mail| Ok(mail.wallet().add_identity(&name)?)).await?;
        let mail = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = mail.publish_cards(now()).await {
                tracing::warn!("cannot publish the card of the new identity yet: {error}");
            }
        });
        Ok(made)
    }

    /// Wakes whoever waits for new messages: some moved from the requests to the inbox.
    fn tell_received(&self) {
        let last = self.wallet().last_received();
        self.received.send_if_modified(|known| std::mem::replace(known, last) != last);
    }
}
