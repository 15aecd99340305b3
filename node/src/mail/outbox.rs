//! What became of each sent message: stamping, waiting, out, delivered, expired; and why something is not out yet.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use qasedak_chain::{TxId, store::Outbox};
use qasedak_wallet::wallet::{HistoryEntry, SentMessage, SentState};

use super::{Mail, MailError};
use crate::node::read;

/// Where a sent message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// In the outbox: no peer has taken it yet.
    Waiting,
    /// In the ledger, which this node and its peers share.
    Out,
    /// The recipient's wallet has opened it and said so, at that second.
    Delivered(u64),
    /// It has ended without a receipt.
    Expired,
}

/// Something that is not out yet.
#[derive(Debug, Clone)]
pub struct Out {
    /// Its transaction; none while it is being stamped.
    pub id: Option<TxId>,
    /// To whom, as it was typed or as their name or address stands; none for what is no message, like a card.
    pub to: Option<String>,
    /// `stamping` or `waiting`.
    pub state: &'static str,
    /// Why it is not out yet, in a sentence.
    pub reason: &'static str,
}

/// Messages that are being stamped.
#[derive(Debug, Default)]
pub(super) struct Stampings(Arc<Mutex<BTreeMap<u64, String>>>);

/// One of them, until it is dropped.
pub(super) struct Stamping {
    all: Arc<Mutex<BTreeMap<u64, String>>>,
    number: u64,
}

fn locked(all: &Mutex<BTreeMap<u64, String>>) -> MutexGuard<'_, BTreeMap<u64, String>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stampings {
    pub(super) fn begin(&self, to: String) -> Stamping {
        let mut all = locked(&self.0);
        let number = all.last_key_value().map_or(0, |(number, _)| number.saturating_add(1));
        all.insert(number, to);
        Stamping { all: Arc::clone(&self.0), number }
    }
}

impl Drop for Stamping {
    fn drop(&mut self) {
        locked(&self.all).remove(&self.number);
    }
}

impl Mail {
    /// All that is not out yet: being stamped, or in the outbox.
    ///
    /// # Errors
    /// What reading gives.
    pub async fn not_out(self: &Arc<Self>) -> Result<Vec<Out>, MailError> {
        self.off_thread(|mail| {
            let stamping = locked(&mail.stamping.0).values().cloned().collect::<Vec<_>>();
            let mut all: Vec<Out> = stamping
                .into_iter()
                .map(|to| Out {
                    id: None,
                    to: Some(to),
                    state: "stamping",
                    reason: "this computer is working for its postage",
                })
                .collect();
            for transaction in mail.outbox.all()? {
                let sent = mail.wallet().sent_by(&transaction.id())?;
                let to = sent.map(|sent| sent.contact.map_or(sent.recipient.to_string(), |name| name.to_string()));
                all.push(Out {
                    id: Some(transaction.id()),
                    to,
                    state: "waiting",
                    reason: "no peer has taken it yet; it goes as soon as one is connected",
                });
            }
            Ok(all)
        })
        .await
    }

    /// Where a sent message stands.
    pub(super) fn fate(&self, sent: &SentMessage) -> Result<Fate, MailError> {
        Ok(match sent.state {
            SentState::Delivered(at) => Fate::Delivered(at.secs()),
            SentState::Expired => Fate::Expired,
            SentState::Sent if read(&self.ledger, |ledger| ledger.position(&sent.tx_id))?.is_some() => Fate::Out,
            SentState::Sent => Fate::Waiting,
        })
    }

    /// The newest messages with someone, each with where it stands if it was sent.
    ///
    /// # Errors
    /// [`MailError::Wallet`] when WHO is nobody, or what reading gives.
    pub async fn history(
        self: &Arc<Self>,
        who: String,
        before: Option<u64>,
        limit: usize,
        search: Option<String>,
    ) -> Result<Vec<(HistoryEntry, Option<Fate>)>, MailError> {
        self.off_thread(move |mail| {
            let address = mail.wallet().resolve(&who)?;
            let page = mail.wallet().history(&address, before, limit, search.as_deref())?;
            let with_fate = |entry| {
                let fate = match &entry {
                    HistoryEntry::Sent(sent) => Some(mail.fate(sent)?),
                    HistoryEntry::Received(_) => None,
                };
                Ok((entry, fate))
            };
            page.into_iter().map(with_fate).collect()
        })
        .await
    }
}
