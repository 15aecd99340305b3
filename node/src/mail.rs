//! What a node does for its wallet: finds and opens what is for it, keeps its card published, sends.
//!
//! The wallet and the ledger have a lock each, and neither is taken while the other is held. Both are touched on
//! blocking threads only. Received messages and the scan cursor are one commit, so a crash loses and repeats nothing;
//! only durable positions are scanned, so the cursor never runs ahead of the log.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use qasedak_chain::{
    Network, Position, Time, Transaction, TxId,
    store::{Outbox, StoreError, disk::DiskOutbox},
};
use qasedak_p2p::driver::{DriverError, Handle};
use qasedak_wallet::{
    Address, Content, Draft, InnerId, Message, SentRecord, Wallet, WalletError,
    wallet::{DiscloseError, OwedReceipt, StoredMessage},
};
use tokio::sync::watch;

use cards::Published;
use outbox::Stampings;

use crate::{
    node::{DiskLedger, now, rng, write},
    pace::Pace,
    stamping::{Stamped, Stamper, StampingError},
};

mod cards;
mod outbox;
mod people;
mod receipts;
mod scan;

pub use outbox::{Fate, Out};
pub use people::{Change, Known, Unheard, Verification, warning_text};
pub use scan::Scanning;
pub(crate) use scan::{Envelope, envelope_at};

#[cfg(test)]
mod tests;

/// How soon a scan that failed is tried again.
const SCAN_RETRY_AFTER: Duration = Duration::from_secs(10);
/// How often a log is scanned again for what was given up.
pub(crate) const LOOK_BACK_EVERY: Duration = Duration::from_secs(3_600);
/// How often the wallet lets go what has expired.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// How often the node looks whether its card is due.
const CARD_LOOK_EVERY: Duration = Duration::from_secs(3_600);
/// How soon it looks again when publishing failed.
const CARD_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Why something could not be done for the wallet.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The wallet's own reason.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The ledger's or outbox' own reason.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no stamp.
    #[error(transparent)]
    Stamping(#[from] StampingError),
    /// The network has stopped.
    #[error(transparent)]
    Network(#[from] DriverError),
    /// The message cannot be disclosed.
    #[error(transparent)]
    Disclose(#[from] DiscloseError),
    /// The recipient's card is not here.
    #[error(
        "no card of that address has reached this node yet, so nothing can be sealed to it; its owner's node must have \
         run in the last 30 days and this node must have a peer: try again in a minute"
    )]
    NoCard,
    /// The recipient's keys are odd.
    #[error(
        "not sent: {0}. Then compare the safety number (qasedak contact verify NAME), which settles it; or send all the \
         same with --despite-key-change"
    )]
    OddKeys(String),
    /// There is nothing to send.
    #[error("the text is empty; nothing was sent")]
    Empty,
    /// There is no such message with them.
    #[error("there is no message of that number with them any more; `qasedak history WHO` shows the numbers")]
    NoSuchMessage,
    /// Nobody has written so.
    #[error("no message request is from there; `qasedak request list` shows all")]
    NoRequest,
    /// The system gives no randomness.
    #[error("the system gives no randomness; nothing was sent")]
    Randomness,
    /// The work broke off.
    #[error("the work broke off; try again, and report this if it comes back")]
    Broken,
}

/// A message that was accepted: in the outbox, on disk.
#[derive(Debug, Clone, Copy)]
pub struct Accepted {
    /// The transaction's id.
    pub id: TxId,
    /// How long its stamp took, in milliseconds.
    pub stamping_ms: u64,
}

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct NewLetter {
    /// A contact's name, or an address.
    pub to: String,
    /// What it says.
    pub text: String,
    /// How long it lives, in seconds: then it is gone from both wallets.
    pub lifetime_secs: u32,
    /// The number of the message that it answers.
    pub reply_to: Option<u64>,
    /// Whether it goes although something is odd about the recipient's keys.
    pub despite_key_change: bool,
}

/// What is posted: it says what the wallet notes about it, and when.
enum Posted {
    /// An own card, of which it notes nothing.
    Card,
    /// A message: noted before it is in the outbox, so that nothing goes out that its history does not show.
    Message(Box<SentRecord>),
    /// A receipt: owed until it is in the outbox. One that goes twice does no harm.
    Receipt(OwedReceipt),
}

/// A message of the inbox.
#[derive(Debug, Clone)]
pub struct Letter {
    /// As the wallet keeps it.
    pub stored: StoredMessage,
    /// Its text, or what stands for content that this version does not know.
    pub text: String,
}

/// The wallet of a running node.
pub struct Mail {
    network: Network,
    address: Address,
    wallet: Arc<Mutex<Wallet>>,
    ledger: Arc<RwLock<DiskLedger>>,
    outbox: Arc<DiskOutbox>,
    p2p: Handle,
    stamper: Stamper,
    /// To whom messages are being stamped.
    stamping: Stampings,
    published: Published,
    /// The number of the newest received message.
    received: watch::Sender<u64>,
    /// How far a long scan is.
    scanning: watch::Sender<Option<Scanning>>,
    looking_back: Mutex<Pace>,
}

impl Mail {
    /// Takes an opened wallet into a node.
    pub fn new(
        wallet: Wallet,
        ledger: Arc<RwLock<DiskLedger>>,
        outbox: Arc<DiskOutbox>,
        p2p: Handle,
        stamper: Stamper,
    ) -> Self {
        let received = watch::Sender::new(wallet.last_received());
        Self {
            network: wallet.network().clone(),
            address: wallet.address(),
            wallet: Arc::new(Mutex::new(wallet)),
            ledger,
            outbox,
            p2p,
            stamper,
            stamping: Stampings::default(),
            published: Published::default(),
            received,
            scanning: watch::Sender::new(None),
            looking_back: Mutex::new(Pace::at_once(LOOK_BACK_EVERY)),
        }
    }

    /// The wallet's own address.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the system keeps all of the wallet's keys out of swap.
    ///
    /// # Errors
    /// [`MailError::Broken`].
    pub async fn keys_locked(self: &Arc<Self>) -> Result<bool, MailError> {
        self.off_thread(|mail| Ok(mail.wallet().keys_locked())).await
    }

    /// How far the scan under way is; `None` when there is none, or only a short one.
    pub fn scanning(&self) -> Option<Scanning> {
        *self.scanning.borrow()
    }

    fn wallet(&self) -> MutexGuard<'_, Wallet> {
        // The wallet commits as a whole, so a panic of another holder leaves nothing half done.
        self.wallet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs work that touches files on a blocking thread.
    async fn off_thread<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, MailError> + Send + 'static,
    ) -> Result<T, MailError> {
        let mail = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&mail)).await.unwrap_or(Err(MailError::Broken))
    }

    /// Scans whatever becomes durable, and keeps the card published, until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let follow = async {
            if let Err(error) = self.follow_sent().await {
                tracing::warn!("cannot tell on how many peers earlier messages are: {error}");
            }
        };
        let (scan, card, time) = (Arc::clone(&self), Arc::clone(&self), Arc::clone(&self));
        tokio::join!(scan.keep_scanning(), card.keep_card(), time.keep_time(), follow);
    }

    /// Lets go what has expired, and sends the receipts that are owed.
    async fn keep_time(self: Arc<Self>) {
        let mut doubted = None;
        loop {
            match self.off_thread(|mail| Ok(mail.wallet().expire(now())?)).await {
                Ok(expired) if expired.doubted_until != doubted => {
                    doubted = expired.doubted_until;
                    if let Some(until) = doubted {
                        tracing::warn!(
                            "the clock is days away from where it was: if it is wrong, set it; messages that have ended by \
                             it are not shown, and are destroyed if it goes on until {until}"
                        );
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::error!("cannot let go what has expired: {error}"),
            }
            if let Err(error) = self.off_thread(Self::note_posted).await {
                tracing::error!("cannot note what is in the outbox: {error}");
            }
            if let Err(error) = self.send_receipts().await {
                tracing::warn!("cannot send receipts: {error}");
            }
            tokio::time::sleep(EXPIRE_EVERY).await;
        }
    }

    async fn keep_scanning(self: Arc<Self>) {
        let mut durable = self.p2p.durable();
        let mut said = None;
        loop {
            let end = Position::new(*durable.borrow_and_update());
            let failed = self.off_thread(move |mail| mail.scan_to(end)).await.err().map(|error| error.to_string());
            if let Some(error) = failed.as_ref().filter(|error| said.as_ref() != Some(*error)) {
                tracing::error!("cannot scan: {error}");
            }
            // Whether the log grows or not: what failed is tried again, and what was given up is looked for.
            let patience = if failed.is_some() { SCAN_RETRY_AFTER } else { LOOK_BACK_EVERY };
            let ended = tokio::time::timeout(patience, durable.changed()).await.is_ok_and(|grown| grown.is_err());
            if ended {
                return;
            }
            said = failed;
        }
    }

    async fn keep_card(self: Arc<Self>) {
        loop {
            let wait = match self.publish_cards(now()).await {
                Ok(()) => CARD_LOOK_EVERY,
                Err(MailError::Stamping(StampingError::Stopped) | MailError::Network(_)) => return,
                Err(error) => {
                    tracing::warn!("cannot publish the own card: {error}");
                    CARD_RETRY_AFTER
                }
            };
            if let Err(error) = self.look_at_contacts().await {
                tracing::warn!("cannot look at the keys of all contacts: {error}");
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Waits until no work holds the wallet any more, and has it note what is still to be noted.
    pub async fn finish(self: &Arc<Self>) {
        // What was posted in the last minute is noted, too, so that a wallet that is taken elsewhere knows it.
        if let Err(error) = self.off_thread(Self::note_posted).await {
            tracing::error!("cannot note what is in the outbox: {error}");
        }
    }

    /// Seals, stamps and posts a text; the transaction is in the outbox, on disk, when this returns.
    ///
    /// # Errors
    /// [`MailError`] that says why nothing was sent.
    pub async fn send(self: &Arc<Self>, letter: NewLetter) -> Result<Accepted, MailError> {
        if letter.text.trim().is_empty() {
            return Err(MailError::Empty);
        }
        let who = letter.to.clone();
        let sealed = self
            .off_thread(move |mail| {
                let address = mail.wallet().resolve(&letter.to)?;
                let card = mail.card_of(&address)?.ok_or(MailError::NoCard)?;
                if let Some(warning) = mail.warning_at(&address).filter(|_| !letter.despite_key_change) {
                    return Err(MailError::OddKeys(warning));
                }
                let mut draft = mail.draft(now())?;
                draft.lifetime_secs = letter.lifetime_secs;
                let mut rng = rng().map_err(|_| MailError::Randomness)?;
                let reply_to = letter.reply_to.map(|number| mail.answered(&address, number)).transpose()?;
                let message = Message { content: Content::Text(letter.text), time_ms: now_ms(), reply_to };
                Ok(mail.wallet().seal(&card, message, &draft, &mut rng).map_err(WalletError::from)?)
            })
            .await?;
        let _stamping = self.stamping.begin(who);
        let stamped = self.stamper.stamp(sealed.unstamped).await?;
        self.post(stamped, Posted::Message(Box::new(sealed.record))).await
    }

    /// The message with that number, if it is one of those that were exchanged with this address.
    fn answered(&self, with: &Address, number: u64) -> Result<InnerId, MailError> {
        let before = Some(number.saturating_add(1));
        let found = self.wallet().history(with, before, 1, None)?.pop().filter(|entry| entry.number() == number);
        found.map(|entry| entry.inner_id()).ok_or(MailError::NoSuchMessage)
    }

    /// Parents and time of a new transaction.
    fn draft(&self, now: Time) -> Result<Draft, MailError> {
        let mut rng = rng().map_err(|_| MailError::Randomness)?;
        let (parents, time) = write(&self.ledger, |ledger| ledger.next_place(now, &mut rng))?;
        Ok(Draft::new(parents, time))
    }

    /// Keeps a stamped transaction durably and hands it to the network. Runs to its end even when the caller is gone, so
    /// that nothing stays half posted.
    async fn post(self: &Arc<Self>, stamped: Stamped, posted: Posted) -> Result<Accepted, MailError> {
        let mail = Arc::clone(self);
        let posting = tokio::spawn(async move {
            let Stamped { verified, took_ms } = stamped;
            let id = verified.transaction().id();
            let verified = mail
                .off_thread(move |mail| {
                    // Under one lock, so that nobody sees a message between the two and takes it for one that was lost.
                    let mut wallet = mail.wallet();
                    if let Posted::Message(record) = &posted {
                        wallet.record_sent(id, record)?;
                    }
                    mail.outbox.put(verified.transaction())?;
                    if let Posted::Receipt(owed) = &posted {
                        let noted = wallet.record_receipt(owed);
                        noted.unwrap_or_else(|error| tracing::warn!("a receipt may go out again: {error}"));
                    }
                    Ok(verified)
                })
                .await?;
            // From here on it is acknowledged: even if the network has stopped, the next start sends it.
            drop(mail.p2p.submit(verified).await);
            Ok(Accepted { id, stamping_ms: took_ms })
        });
        posting.await.unwrap_or(Err(MailError::Broken))
    }

    /// At most `limit` messages behind the number `after`; when there is none, waits up to `patience` for one.
    ///
    /// # Errors
    /// What reading gives.
    pub async fn inbox(
        self: &Arc<Self>,
        after: u64,
        limit: usize,
        patience: Duration,
    ) -> Result<Vec<Letter>, MailError> {
        let mut received = self.received.subscribe();
        let arrived = received.wait_for(|last| *last > after);
        // Whether one came or the time is up, the wallet says what there is.
        drop(tokio::time::timeout(patience, arrived).await);
        self.off_thread(move |mail| {
            let stored = mail.wallet().inbox(Some(after), limit)?;
            Ok(stored.into_iter().map(Letter::new).collect())
        })
        .await
    }

    /// Makes the disclosure file of the message that a transaction carries.
    ///
    /// # Errors
    /// [`MailError::Disclose`] that says why there is none.
    pub async fn disclose(
        self: &Arc<Self>,
        transaction: Transaction,
        proof: Option<String>,
    ) -> Result<String, MailError> {
        self.off_thread(move |mail| {
            let disclosure = mail.wallet().disclose(&transaction, proof)?;
            // The file is JSON, hence text.
            Ok(String::from_utf8_lossy(&disclosure.to_bytes()).into_owned())
        })
        .await
    }
}

impl Letter {
    /// With its text, ready to be made safe and shown.
    pub fn new(stored: StoredMessage) -> Self {
        let text = shown(&stored.content);
        Self { stored, text }
    }
}

/// A text, or what stands for content that is none.
pub fn shown(content: &Content) -> String {
    match content {
        Content::Text(text) => text.clone(),
        other => format!(
            "[a message of type {}, {} bytes, that this version cannot show; a newer one may]",
            other.kind(),
            other.as_bytes().len()
        ),
    }
}

/// Milliseconds since 1970 by the system's clock.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
