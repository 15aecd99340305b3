//! Sent messages of a wallet, what became of them, and receipts: those that came, and those that are owed.
//!
//! What a message says goes when it ends; that it was sent, to whom and whether it arrived, is kept four days longer.

use std::{collections::BTreeMap, fmt};

use qasedak_chain::{Time, TxId};
use rand_core::CryptoRng;

use super::{
    Numbers, Wallet, WalletError,
    index::Entry,
    messages::{COPIES_FOR_SECS, reply_of},
    rows::{PostingRow, ReceiptRow, SentRow, SentTextRow},
    vault::{Changes, Class, Vault},
};
use crate::{
    address::Address,
    card::Card,
    contact::ContactName,
    envelope::Draft,
    inner::{Content, InnerId, Message, RECEIPT_IDS_MAX},
    keys::{Account, EncapsulationSeed, SealPublic},
    seal::{self, SealError, SealedMessage, SentRecord},
};

/// What the wallet knows of the fate of a sent message. Whether it is still in the outbox, and who holds it, the node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentState {
    /// On its way, or arrived without a receipt.
    Sent,
    /// The recipient's wallet has opened it and said so, then.
    Delivered(Time),
    /// It has ended without a receipt: its text is gone here, and from the recipient's wallet too.
    Expired,
}

/// A message that was sent from here.
#[derive(Clone, PartialEq, Eq)]
pub struct SentMessage {
    /// Its number in this wallet, in order of opening and sending.
    pub seq: u64,
    /// The transaction that carries it.
    pub tx_id: TxId,
    /// The message's identity.
    pub inner_id: InnerId,
    /// By which of the wallet's identities.
    pub account: Account,
    /// To whom.
    pub recipient: Address,
    /// The recipient's name, if they are a contact now.
    pub contact: Option<ContactName>,
    /// When it was written, in milliseconds since 1970.
    pub time_ms: u64,
    /// When it ends.
    pub ends: Time,
    /// What became of it.
    pub state: SentState,
    /// Whether nobody [said](Wallet::posted) that its transaction reached the outbox: if it is neither there nor in the ledger,
    /// the work broke off, and it was never sent.
    pub posting: bool,
    /// What was kept of it when it was sealed; `None` once it has ended.
    pub record: Option<Box<SentRecord>>,
}

impl fmt::Debug for SentMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SentMessage({}, {}, …)", self.seq, self.tx_id)
    }
}

/// A receipt to be sealed and sent: to whom, by which identity, for which messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwedReceipt {
    /// To whom.
    pub to: Address,
    /// By which of the wallet's identities.
    pub account: Account,
    /// The content to be sealed.
    pub content: Content,
    /// What [`Wallet::record_receipt`] is told.
    pub numbers: Vec<u64>,
}

impl Wallet {
    /// Keeps a sent message. To be called before its transaction is let out, so that no message goes unrecorded; once that is
    /// in the outbox, say so by [`posted`](Self::posted). What its recipient had sent as a stranger moves to the inbox: whom one
    /// writes to is a stranger no more. Returns its number.
    ///
    /// # Errors
    /// What writing gives; the transaction should not be let out then.
    pub fn record_sent(&mut self, tx_id: TxId, record: &SentRecord) -> Result<u64, WalletError> {
        let ends = self.end_of(record.time, record.lifetime_secs);
        let mut changes = Changes::default();
        let seq = self.last_number(Numbers::Messages)?.saturating_add(1);
        self.put_last_number(&mut changes, Numbers::Messages, seq)?;
        let row = SentRow {
            until: ends.plus(COPIES_FOR_SECS).secs(),
            ends: ends.secs(),
            account: self.account_of(&record.sender).get(),
            tx_id: *tx_id.as_bytes(),
            inner_id: *record.inner_id.as_bytes(),
            recipient: *record.recipient.as_bytes(),
            time_ms: record.message.time_ms,
            delivered: 0,
        };
        let text = SentTextRow {
            until: ends.secs(),
            reply: record.message.reply_to.map_or([0; 32], |reply| *reply.as_bytes()),
            kind: record.message.content.kind(),
            content: record.message.content.as_bytes().to_vec(),
            time: record.time.secs(),
            lifetime_secs: record.lifetime_secs,
            seal: record.seal.as_bytes().to_vec(),
            encapsulation_seed: *record.encapsulation_seed.as_bytes(),
        };
        self.vault.put(&mut changes, &Vault::counted_key(Class::Sent, seq), &row)?;
        self.vault.put(&mut changes, &Vault::counted_key(Class::SentText, seq), &text)?;
        let posting = PostingRow { until: ends.secs() };
        self.vault.put(&mut changes, &Vault::counted_key(Class::Posting, seq), &posting)?;
        self.vault.commit(changes)?;
        self.index.posting.insert(seq);
        let entry = Entry { peer: record.recipient, sent: true, ends };
        self.index.insert_sent(seq, entry, tx_id, record.inner_id);
        self.accept_requests(&record.recipient)?;
        Ok(seq)
    }

    /// Transactions of messages that are not known to have reached the outbox, and that have not ended.
    pub fn posting(&self) -> Vec<TxId> {
        self.index.posting.iter().filter_map(|number| self.index.tx_of(*number)).collect()
    }

    /// Notes that the transactions of these messages are in the outbox, or further.
    ///
    /// # Errors
    /// What writing gives.
    pub fn posted(&mut self, ids: &[TxId]) -> Result<(), WalletError> {
        let numbers = ids.iter().filter_map(|id| self.index.sent_by_tx(id));
        let numbers: Vec<u64> = numbers.filter(|number| self.index.posting.contains(number)).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let mut changes = Changes::default();
        numbers.iter().for_each(|number| changes.remove(&Vault::counted_key(Class::Posting, *number)));
        self.vault.commit(changes)?;
        self.index.posting.retain(|number| !numbers.contains(number));
        Ok(())
    }

    /// A sent message by its number.
    pub(super) fn sent_message(&self, seq: u64) -> Result<Option<SentMessage>, WalletError> {
        let Some(row) = self.vault.get::<SentRow>(&Vault::counted_key(Class::Sent, seq))? else {
            return Ok(None);
        };
        let text = self.vault.get::<SentTextRow>(&Vault::counted_key(Class::SentText, seq));
        let ends = Time::from_secs(row.ends);
        let text = if self.shows(ends) { text? } else { None };
        let recipient = Address::from_bytes(row.recipient)?;
        let state = match row.delivered {
            0 if self.shows(ends) => SentState::Sent,
            0 => SentState::Expired,
            at => SentState::Delivered(Time::from_secs(at)),
        };
        let record = text.map(|text| self.sent_record(&row, recipient, &text)).transpose()?;
        Ok(Some(SentMessage {
            seq,
            tx_id: TxId::from_bytes(row.tx_id),
            inner_id: InnerId::from_bytes(row.inner_id),
            account: Account::new(row.account),
            recipient,
            contact: self.name_of(&recipient).cloned(),
            time_ms: row.time_ms,
            ends,
            state,
            posting: self.index.posting.contains(&seq),
            record,
        }))
    }

    fn sent_record(
        &self,
        row: &SentRow,
        recipient: Address,
        text: &SentTextRow,
    ) -> Result<Box<SentRecord>, WalletError> {
        let seal = text.seal.as_slice().try_into().ok().and_then(SealPublic::from_bytes);
        Ok(Box::new(SentRecord {
            inner_id: InnerId::from_bytes(row.inner_id),
            sender: self.own_of(Account::new(row.account)).keys.address(),
            recipient,
            message: Message {
                content: self.content(text.kind, &text.content)?,
                time_ms: row.time_ms,
                reply_to: reply_of(text.reply),
            },
            time: Time::from_secs(text.time),
            lifetime_secs: text.lifetime_secs,
            seal: seal.ok_or_else(|| self.vault.damaged())?,
            encapsulation_seed: EncapsulationSeed::from_bytes(&text.encapsulation_seed),
        }))
    }

    /// At most `limit` sent messages behind the number `after`, in order of sending.
    ///
    /// # Errors
    /// What reading gives.
    pub fn sent(&self, after: Option<u64>, limit: usize) -> Result<Vec<SentMessage>, WalletError> {
        let numbers = self.index.behind(after.unwrap_or(0), true).take(limit);
        numbers.filter_map(|(number, _)| self.sent_message(number).transpose()).collect()
    }

    /// At most `limit` sent messages that have not ended, the newest first.
    ///
    /// # Errors
    /// What reading gives.
    pub fn sent_newest(&self, limit: usize) -> Result<Vec<SentMessage>, WalletError> {
        let alive = self.index.behind(0, true).filter(|(_, entry)| self.shows(entry.ends));
        let mut numbers: Vec<u64> = alive.map(|(number, _)| number).collect();
        numbers.reverse();
        numbers.into_iter().take(limit).filter_map(|number| self.sent_message(number).transpose()).collect()
    }

    /// The sent message that this transaction carries.
    ///
    /// # Errors
    /// What reading gives.
    pub fn sent_by(&self, tx_id: &TxId) -> Result<Option<SentMessage>, WalletError> {
        self.index.sent_by_tx(tx_id).map_or(Ok(None), |number| self.sent_message(number))
    }

    /// Notes what a receipt says, of messages that were sent to its author. Returns how many are news.
    pub(super) fn take_receipt(
        &mut self,
        from: &Address,
        ids: &[[u8; 32]],
        changes: &mut Changes,
    ) -> Result<usize, WalletError> {
        let mut news = 0;
        for id in ids {
            let number = self.index.sent_by_inner(&InnerId::from_bytes(*id));
            let to_them = |number: &u64| self.index.get(*number).is_some_and(|entry| entry.peer == *from);
            let Some(number) = number.filter(to_them) else {
                continue;
            };
            let key = Vault::counted_key(Class::Sent, number);
            if let Some(row) = self.vault.get::<SentRow>(&key)?.filter(|row| row.delivered == 0) {
                self.vault.put(changes, &key, &SentRow { delivered: self.clock.arrival().secs().max(1), ..row })?;
                news += 1;
            }
        }
        Ok(news)
    }

    pub(super) fn put_owed(
        &mut self,
        changes: &mut Changes,
        number: u64,
        owed: (Account, Address, InnerId),
        ends: Time,
    ) -> Result<(), WalletError> {
        let (account, to, inner_id) = owed;
        let row = ReceiptRow {
            until: ends.secs(),
            account: account.get(),
            to: *to.as_bytes(),
            inner_id: *inner_id.as_bytes(),
        };
        self.vault.put(changes, &Vault::counted_key(Class::Receipt, number), &row)
    }

    /// Receipts that are owed: one for each contact and identity, each for at most [`RECEIPT_IDS_MAX`] messages. Only to
    /// contacts for whom they are still on, and who are not blocked.
    pub fn receipts_owed(&self) -> Vec<OwedReceipt> {
        let mut owed = BTreeMap::<(Address, Account), Vec<(u64, InnerId)>>::new();
        for (number, (account, to, inner_id)) in &self.index.receipts {
            let on = self.contact_at(to).is_some_and(|contact| contact.receipts) && !self.blocked.contains_key(to);
            let list = owed.entry((*to, *account)).or_default();
            if on && list.len() < RECEIPT_IDS_MAX {
                list.push((*number, *inner_id));
            }
        }
        owed.into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|((to, account), list)| OwedReceipt {
                to,
                account,
                content: Content::Receipt(list.iter().map(|(_, id)| *id.as_bytes()).collect()),
                numbers: list.into_iter().map(|(number, _)| number).collect(),
            })
            .collect()
    }

    /// Seals a receipt that is owed, by the identity to which the messages came: from another it would not be believed.
    ///
    /// # Errors
    /// [`SealError`] when the card is too old or the draft breaks a rule of form.
    pub fn seal_receipt(
        &self,
        owed: &OwedReceipt,
        card: &Card,
        time_ms: u64,
        draft: &Draft,
        rng: &mut dyn CryptoRng,
    ) -> Result<SealedMessage, SealError> {
        let message = Message::new(owed.content.clone(), time_ms);
        seal::seal(&self.network, &self.own_of(owed.account).keys, card, message, draft, rng)
    }

    /// Notes that a receipt is about to be let out. It is owed no more.
    ///
    /// # Errors
    /// What writing gives; the receipt should not be let out then.
    pub fn record_receipt(&mut self, owed: &OwedReceipt) -> Result<(), WalletError> {
        let mut changes = Changes::default();
        for number in &owed.numbers {
            changes.remove(&Vault::counted_key(Class::Receipt, *number));
        }
        self.vault.commit(changes)?;
        self.index.receipts.retain(|number, _| !owed.numbers.contains(number));
        Ok(())
    }
}
