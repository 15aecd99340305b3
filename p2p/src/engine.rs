//! The engine: a pure state machine that decides everything that this node says to its peers (DESIGN §7).
//!
//! [`Engine::handle`] takes one [`Input`], the time and the ledger, and returns what is to be done. No async, no
//! sockets, no clock, no randomness but the seed's, no map whose order depends on the process: the same inputs give the
//! same outputs, so that a simulator can drive thousands of engines and repeat every failure.
//!
//! | module | holds |
//! |---|---|
//! | [`io`] | inputs and outputs: the whole contact with the world |
//! | `gossip` | transactions that peers relay, and the verdicts on them |
//! | `intake` | the one way into the ledger: check, parents, append; blame for what breaks a rule |
//! | `checks`, `orphans` | transactions under verification, and verified ones whose parents are not here yet |
//! | `bare` | verified headers whose bodies are being looked for |
//! | `outbox` | own transactions on their way into the ledger |
//! | [`holders`] | who is known to hold them then |
//! | `sync`, `session`, `fetch` | finding out what a peer has and this node lacks, and fetching it |
//! | `reconcile` | finding out what differs within days, both sides of it |
//! | `quota`, `budget` | shares that time fills; how much of others' transactions is taken in |
//! | [`comparison`] | `audit compare`: what a peer and this node differ in |
//! | `exchange` | checkpoints of peers: asked for, judged, kept |
//! | `repair` | bodies that are missing or damaged here, fetched again |
//! | `serve` | answers to the questions of peers |
//! | `peers` | what is remembered of each connected peer |
//! | `status` | what an operator is shown |
//!
//! Invariants: everything that a stranger can make grow has a bound; a peer is let go only for what it provably
//! did; when the store fails, nobody is blamed, the input is dropped, and the driver is told.

use std::collections::BTreeMap;

use crate::wire::Alias;
use qasedak_chain::{Ledger, Network, Time, book::Book, checkpoint::SignedCheckpoint, store::Store};
use rand::{Rng, SeedableRng, rngs::StdRng};

mod bare;
mod budget;
mod checks;
pub mod comparison;
mod exchange;
mod fetch;
pub mod gossip;
pub mod holders;
mod intake;
pub mod io;
mod orphans;
mod outbox;
mod pace;
mod peers;
mod quota;
mod reconcile;
mod repair;
mod serve;
mod session;
pub mod status;
mod sync;

#[cfg(test)]
pub(crate) mod tests;

pub use budget::DAILY_BYTES;
pub use io::{Fault, Input, Output, Peer, Token, Verdict};
pub use status::Status;

/// What time it is, twice over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The system clock, by which the ledger's rules go.
    pub system: Time,
    /// Milliseconds since any fixed moment, by a clock that never runs back: for time-outs.
    pub elapsed_ms: u64,
}

/// The state machine of one node on one network. See the module's page.
#[derive(Debug)]
pub struct Engine {
    network: Network,
    rng: StdRng,
    next_token: u64,
    peers: peers::Peers,
    checks: checks::Checks,
    orphans: orphans::Orphans,
    bare: bare::Bare,
    outbox: outbox::Outbox,
    /// Questions that are open.
    asked: BTreeMap<Token, sync::Asked>,
    /// Transactions that are asked for in one of them. Each is asked of one peer at a time.
    in_flight: BTreeMap<Alias, Token>,
    /// The salt by which transactions are named in sessions.
    aliases: reconcile::Aliases,
    /// Reconciliations that peers ask for.
    views: reconcile::answer::Views,
    /// What enters the ledger, and what waits to.
    budget: budget::Budget,
    /// How many questions for transactions were closed: changes whenever something may be asked of another peer.
    landed: u64,
    /// Whether the ledger grew otherwise than by gossip and the peers were not told.
    untold: bool,
    /// When they were told last.
    told_ms: u64,
    /// The one comparison that an operator may have asked for.
    comparison: Option<Box<comparison::Comparison>>,
    /// Bodies to be fetched again.
    repair: repair::Repair,
    /// Checkpoints and evidence.
    book: Book,
    /// The newest own checkpoint that others may see.
    own_checkpoint: Option<SignedCheckpoint>,
    failures: status::Failures,
}

/// One call of [`Engine::handle`]: what it reads, and what it has to say so far.
struct Turn<'a, S> {
    now: Now,
    ledger: &'a mut Ledger<S>,
    out: Vec<Output>,
    grown: bool,
    /// Whether something else than a transaction was stored: to be flushed too.
    stored: bool,
}

impl Engine {
    /// An engine without peers. `seed` is its only source of randomness.
    pub fn new(network: Network, seed: [u8; 32]) -> Self {
        Self {
            network,
            rng: StdRng::from_seed(seed),
            next_token: 0,
            peers: peers::Peers::default(),
            checks: checks::Checks::default(),
            orphans: orphans::Orphans::default(),
            bare: bare::Bare::default(),
            outbox: outbox::Outbox::default(),
            asked: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            aliases: reconcile::Aliases::default(),
            views: reconcile::answer::Views::default(),
            budget: budget::Budget::new(DAILY_BYTES),
            landed: 0,
            untold: false,
            told_ms: 0,
            comparison: None,
            repair: repair::Repair::default(),
            book: Book::new(),
            own_checkpoint: None,
            failures: status::Failures::default(),
        }
    }

    /// Takes one input and returns what is to be done, in order.
    pub fn handle<S: Store>(&mut self, input: Input, now: Now, ledger: &mut Ledger<S>) -> Vec<Output> {
        let mut turn = Turn { now, ledger, out: Vec::new(), grown: false, stored: false };
        self.resume_counting(&mut turn);
        self.dispatch(input, &mut turn);
        if turn.grown {
            self.own_may_have_parents(&mut turn);
        }
        self.run(&mut turn);
        if turn.grown || turn.stored {
            turn.out.push(Output::Grown);
        }
        turn.out.extend(self.failures.take_fatal().map(Output::StoreFailed));
        turn.out
    }

    fn dispatch<S: Store>(&mut self, input: Input, turn: &mut Turn<'_, S>) {
        match input {
            Input::Connected { peer, key } => self.peers.connected(peer, key, turn.now.elapsed_ms),
            Input::Disconnected(peer) => drop(self.forget(peer)),
            Input::Subscribed(peer) => {
                if let Some(state) = self.peers.get_mut(peer) {
                    state.subscribed = true;
                }
                self.publish(turn);
            }
            Input::Gossip { from, token, bytes } => self.on_gossip(turn, from, token, &bytes),
            Input::Unheard(peer) => self.tell_one(turn.now, peer),
            Input::Asked { from, token, request } => self.on_asked(turn, from, token, &request),
            Input::Answered { from, token, response } => self.on_answered(turn, from, token, response),
            Input::Failed { peer, token, fault } => self.on_failed(turn, peer, token, fault),
            Input::Unsupported { peer, token } => self.on_unsupported(turn, peer, token),
            Input::Checked { token, verdict } => self.on_checked(turn, token, verdict),
            Input::Own(verified) => self.on_own(turn, *verified),
            Input::Published { id, sent } => self.on_published(turn, &id, sent),
            Input::Durable(position) => self.on_durable(turn, position),
            Input::Signed(checkpoint) => self.on_signed(turn, *checkpoint),
            Input::Compare { peer, from, token } => self.on_compare(turn, peer, from, token),
            Input::Follow(all) => self.follow(turn, &all),
            Input::Tick => self.on_tick(turn),
        }
    }

    fn on_tick<S: Store>(&mut self, turn: &mut Turn<'_, S>) {
        self.time_out(turn);
        for checks::Waiter { token, from, .. } in self.orphans.expire(turn.now.elapsed_ms) {
            turn.out.push(Output::Judge { token, from, verdict: Verdict::Ignore });
        }
        self.views.expire(turn.now.elapsed_ms);
        self.expire_holders(turn);
        self.release_ended(turn);
        self.publish(turn);
        self.bare_come_of_age(turn);
        self.walk(turn);
    }

    /// Forgets a peer; what was asked of it is free for others. `false` when it was not known.
    fn forget(&mut self, peer: Peer) -> bool {
        let open: Vec<Token> =
            self.asked.iter().filter(|(_, asked)| asked.peer == peer).map(|(token, _)| *token).collect();
        open.into_iter().for_each(|token| drop(self.close(token)));
        self.views.forget(peer);
        self.peers.remove(peer).is_some()
    }

    fn fresh_token(&mut self) -> Token {
        self.next_token = self.next_token.saturating_add(1);
        Token(self.next_token)
    }

    /// A number below `bound`, for times that should not coincide among nodes; its bias is nothing here.
    fn chance(&mut self, bound: u64) -> u64 {
        self.rng.next_u64().checked_rem(bound).unwrap_or_default()
    }

    /// What an operator is shown.
    pub fn status(&self) -> Status {
        let peers = self.peers.iter().map(|(peer, state)| status::PeerStatus {
            peer,
            subscribed: state.subscribed,
            same: state.same,
            syncing: state.session.is_some(),
        });
        let sessions: Vec<_> = self.peers.iter().filter_map(|(_, state)| state.session.as_ref()).collect();
        // Sessions share what is to be fetched.
        let listed = sessions.iter().map(|session| session.left()).max().unwrap_or_default();
        let parents: usize = self.peers.iter().map(|(_, state)| state.parents.len()).sum();
        let listed_here = usize::try_from(listed).unwrap_or(usize::MAX);
        let wanted = listed_here.saturating_add(parents).saturating_add(self.in_flight.len());
        let syncing = (!sessions.is_empty()).then(|| status::Syncing {
            peers: sessions.len(),
            gained: sessions.iter().map(|session| session.gained).sum(),
            left: listed,
        });
        Status {
            peers: peers.collect(),
            syncing,
            checking: self.checks.len(),
            waiting: self.orphans.len(),
            checking_bytes: self.checks.bytes(),
            waiting_bytes: self.orphans.bytes(),
            viewed: self.views.len(),
            bare: self.bare.len(),
            outbox: self.outbox.len(),
            refused: self.outbox.refused_count(),
            repair: self.repair.status(),
            budget: self.budget.status(),
            wanted,
            failures: self.failures.clone(),
        }
    }
}
