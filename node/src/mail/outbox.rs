//! What became of each sent message: stamping, waiting, on N peers, delivered, expired; and why something is not out yet.
//!
//! Who holds a message the network counts, in memory and by the peers' own word; after a start it is told which of the
//! wallet's messages to count again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use qasedak_chain::{TxId, store::Outbox};
use qasedak_p2p::engine::holders::{FOLLOWED_MAX, Followed};
use qasedak_wallet::wallet::{HistoryEntry, SentMessage, SentState};

use super::{Mail, MailError};
use crate::node::read;

/// Where a sent message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// In the outbox: no peer has taken it yet.
    Waiting,
    /// In the ledger, and known to be on so many peers; `None` when that is not counted.
    Out(Option<usize>),
    /// The recipient's wallet has opened it and said so, at that second.
    Delivered(u64),
    /// It has ended without a receipt.
    Expired,
    /// It is neither in the outbox nor in the ledger: the work broke off before it was kept, and it never goes out.
    Unsent,
}

/// Something that is not out yet.
#[derive(Debug, Clone)]
pub struct Out {
    /// Its transaction; none while it is being stamped.
    pub id: Option<TxId>,
    /// To whom, as it was typed or as their name or address stands; none for what is no message, like a card.
    pub to: Option<String>,
    /// `stamping`, `waiting`, `out` or `unsent`.
    pub state: &'static str,
    /// How many peers are known to hold it; none while that is not counted.
    pub peers: Option<usize>,
    /// Why it stands here, in a sentence.
    pub reason: &'static str,
}

/// What is said of a message that never went out.
const UNSENT: &str = "it was never sent: this computer stopped, or its disk failed, before it was kept; send it again";

/// To whom a message was sent, by name if they have one.
fn told(sent: &SentMessage) -> String {
    sent.contact.as_ref().map_or_else(|| sent.recipient.to_string(), ToString::to_string)
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
    /// All that is not out yet: being stamped, or in the outbox; and what is out, and not durably in the ledger yet.
    ///
    /// # Errors
    /// What reading gives.
    pub async fn not_out(self: &Arc<Self>) -> Result<Vec<Out>, MailError> {
        let mut all = self.off_thread(Self::outs).await?;
        let ids = all.iter().filter(|out| out.state == "out").filter_map(|out| out.id).collect();
        let on = self.on_peers(ids).await;
        for out in &mut all {
            out.peers = out.id.and_then(|id| on.get(&id).copied());
        }
        Ok(all)
    }

    fn outs(&self) -> Result<Vec<Out>, MailError> {
        let stamping = locked(&self.stamping.0).values().cloned().collect::<Vec<_>>();
        let mut all: Vec<Out> = stamping
            .into_iter()
            .map(|to| Out {
                id: None,
                to: Some(to),
                state: "stamping",
                peers: None,
                reason: "this computer is working for its postage",
            })
            .collect();
        for transaction in self.outbox.all()? {
            let id = transaction.id();
            let sent = self.wallet().sent_by(&id)?;
            let to = sent.as_ref().map(told);
            let (state, reason) = if self.is_in_ledger(&id)? {
                ("out", "it was sent, and is being written to this computer's disk")
            } else {
                ("waiting", "no peer has taken it yet; it goes as soon as one is connected")
            };
            all.push(Out { id: Some(id), to, state, peers: None, reason });
        }
        let posting = self.wallet().posting();
        for id in posting {
            let sent = self.wallet().sent_by(&id)?;
            if let Some(sent) = sent
                && self.fate(&sent)? == Fate::Unsent
            {
                all.push(Out { id: Some(id), to: Some(told(&sent)), state: "unsent", peers: None, reason: UNSENT });
            }
        }
        Ok(all)
    }

    /// Notes of which messages it is sure that they were put into the outbox. What is said of the others is where they are
    /// not: one whose transaction a broken write left on the disk all the same may turn up there at the next start.
    pub(super) fn note_posted(&self) -> Result<(), MailError> {
        let posting = self.wallet().posting();
        let mut posted = Vec::new();
        for id in posting {
            if self.outbox.contains(&id) || self.is_in_ledger(&id)? {
                posted.push(id);
            }
        }
        Ok(self.wallet().posted(&posted)?)
    }

    pub(super) fn is_in_ledger(&self, id: &TxId) -> Result<bool, MailError> {
        Ok(read(&self.ledger, |ledger| ledger.position(id))?.is_some())
    }

    /// How many peers are known to hold each of these, but for those that are not counted. When the network has stopped,
    /// none is.
    async fn on_peers(&self, ids: Vec<TxId>) -> BTreeMap<TxId, usize> {
        if ids.is_empty() {
            return BTreeMap::new();
        }
        let counts = self.p2p.holders(ids.clone()).await.unwrap_or_default();
        ids.into_iter().zip(counts).filter_map(|(id, count)| count.map(|count| (id, count))).collect()
    }

    /// After a start: has the holders counted again of the newest messages that have not ended.
    pub(super) async fn follow_sent(self: &Arc<Self>) -> Result<(), MailError> {
        let own = self.off_thread(|mail| {
            let sent = mail.wallet().sent_newest(FOLLOWED_MAX)?;
            let follow = |sent: SentMessage| {
                let time = sent.record.filter(|_| sent.state == SentState::Sent)?.time;
                Some(Followed { id: sent.tx_id, time, ends: sent.ends })
            };
            Ok(sent.into_iter().filter_map(follow).collect::<Vec<_>>())
        });
        Ok(self.p2p.follow(own.await?).await?)
    }

    /// Where a sent message stands; on how many peers it is, is left open.
    fn fate(&self, sent: &SentMessage) -> Result<Fate, MailError> {
        Ok(match sent.state {
            SentState::Delivered(at) => Fate::Delivered(at.secs()),
            SentState::Expired => Fate::Expired,
            // In this order: what is let go of by the outbox is in the ledger before.
            SentState::Sent => match (self.outbox.contains(&sent.tx_id), self.is_in_ledger(&sent.tx_id)?) {
                (_, true) => Fate::Out(None),
                (false, false) if sent.posting => Fate::Unsent,
                (_, false) => Fate::Waiting,
            },
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
        let mut page = self
            .off_thread(move |mail| {
                let address = mail.wallet().resolve(&who)?;
                let page = mail.wallet().history(&address, before, limit, search.as_deref())?;
                let with_fate = |entry| {
                    let fate = match &entry {
                        HistoryEntry::Sent(sent) => Some(mail.fate(sent)?),
                        HistoryEntry::Received(_) => None,
                    };
                    Ok::<_, MailError>((entry, fate))
                };
                page.into_iter().map(with_fate).collect::<Result<Vec<_>, _>>()
            })
            .await?;
        let out_id = |(entry, fate): &(HistoryEntry, Option<Fate>)| match (entry, fate) {
            (HistoryEntry::Sent(sent), Some(Fate::Out(_))) => Some(sent.tx_id),
            _ => None,
        };
        let on = self.on_peers(page.iter().filter_map(out_id).collect()).await;
        for told in &mut page {
            if let Some(id) = out_id(told) {
                told.1 = Some(Fate::Out(on.get(&id).copied()));
            }
        }
        Ok(page)
    }
}
