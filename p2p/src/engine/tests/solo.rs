//! One engine, its ledger, and the test as the rest of the world.

use qasedak_chain::{
    Ledger, Network, Transaction,
    rules::{self, RuleError, Verified},
    store::memory::MemoryStore,
};

use super::make;
use crate::{
    engine::{Engine, Fault, Input, Now, Output, Peer, Token, Verdict},
    wire::{Request, Response},
};

pub(super) struct Solo {
    pub(super) engine: Engine,
    pub(super) ledger: Ledger<MemoryStore>,
    pub(super) network: Network,
    pub(super) now: Now,
    next_token: u64,
}

impl Solo {
    pub(super) fn new() -> Self {
        Self::on(Network::dev())
    }

    pub(super) fn on(network: Network) -> Self {
        Self {
            engine: Engine::new(network.clone(), [7; 32]),
            ledger: Ledger::open(network.clone(), MemoryStore::new()).unwrap(),
            network,
            now: Now { system: make::noon(), elapsed_ms: 1_000 },
            next_token: 1_000_000,
        }
    }

    /// A node that holds these.
    pub(super) fn holding(transactions: &[Transaction]) -> Self {
        let mut solo = Self::new();
        for transaction in transactions {
            let verified = make::verified(&solo.network, transaction);
            solo.ledger.append(verified, solo.now.system, false).unwrap();
        }
        solo.ledger.flush_now(solo.now.system).unwrap();
        solo
    }

    pub(super) fn tell(&mut self, input: Input) -> Vec<Output> {
        self.engine.handle(input, self.now, &mut self.ledger)
    }

    pub(super) fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    /// A peer connects and subscribes.
    pub(super) fn meet(&mut self, peer: u64) -> Vec<Output> {
        let mut out = self.tell(make::connected(peer));
        out.extend(self.tell(Input::Subscribed(Peer(peer))));
        out
    }

    pub(super) fn gossip(&mut self, from: u64, bytes: Vec<u8>) -> (Token, Vec<Output>) {
        let token = self.token();
        let out = self.tell(Input::Gossip { from: Peer(from), token, bytes });
        (token, out)
    }

    pub(super) fn ask(&mut self, from: u64, request: Request) -> Vec<Output> {
        let token = self.token();
        self.tell(Input::Asked { from: Peer(from), token, request })
    }

    pub(super) fn answer(&mut self, from: u64, token: Token, response: Response) -> Vec<Output> {
        self.tell(Input::Answered { from: Peer(from), token, response })
    }

    /// Lets time go by, a tick each second.
    pub(super) fn wait(&mut self, ms: u64) -> Vec<Output> {
        let mut out = Vec::new();
        let end = self.now.elapsed_ms + ms;
        while self.now.elapsed_ms < end {
            self.now.elapsed_ms += 1_000.min(end - self.now.elapsed_ms);
            out.extend(self.tell(Input::Tick));
        }
        out
    }

    /// Verifies for real all that `out` asks to be verified, and all that follows from it; returns everything.
    pub(super) fn check_all(&mut self, mut out: Vec<Output>) -> Vec<Output> {
        let mut at = 0;
        while at < out.len() {
            if let Output::Check { token, transaction } = &out[at] {
                let verdict = rules::verify(&self.network, (**transaction).clone()).map(Box::new);
                let more = self.tell(Input::Checked { token: *token, verdict });
                out.extend(more);
            }
            at += 1;
        }
        out
    }

    pub(super) fn checked(&mut self, token: Token, verdict: Result<Verified, RuleError>) -> Vec<Output> {
        self.tell(Input::Checked { token, verdict: verdict.map(Box::new) })
    }

    pub(super) fn holds(&self, transaction: &Transaction) -> bool {
        self.ledger.position(&transaction.id()).unwrap().is_some()
    }
}

/// The questions in `out`, but those for checkpoints.
pub(super) fn asks(out: &[Output]) -> Vec<(Peer, Token, Request)> {
    all_asks(out).into_iter().filter(|(_, _, request)| !matches!(request, Request::Checkpoint { .. })).collect()
}

/// The questions for checkpoints in `out`.
pub(super) fn checkpoint_asks(out: &[Output]) -> Vec<(Peer, Token, Request)> {
    all_asks(out).into_iter().filter(|(_, _, request)| matches!(request, Request::Checkpoint { .. })).collect()
}

fn all_asks(out: &[Output]) -> Vec<(Peer, Token, Request)> {
    out.iter()
        .filter_map(|output| match output {
            Output::Ask { peer, token, request } => Some((*peer, *token, request.clone())),
            _ => None,
        })
        .collect()
}

/// The one question in `out`.
pub(super) fn the_ask(out: &[Output]) -> (Token, Request) {
    match asks(out).as_slice() {
        [(_, token, request)] => (*token, request.clone()),
        other => panic!("expected one question, got {other:?}"),
    }
}

pub(super) fn verdicts(out: &[Output]) -> Vec<(Token, Verdict)> {
    out.iter()
        .filter_map(|output| match output {
            Output::Judge { token, verdict, .. } => Some((*token, *verdict)),
            _ => None,
        })
        .collect()
}

pub(super) fn faults(out: &[Output]) -> Vec<(Peer, Fault)> {
    out.iter()
        .filter_map(|output| match output {
            Output::Disconnect { peer, fault } => Some((*peer, *fault)),
            _ => None,
        })
        .collect()
}

pub(super) fn answers(out: &[Output]) -> Vec<Response> {
    out.iter()
        .filter_map(|output| match output {
            Output::Answer { response, .. } => Some(response.clone()),
            _ => None,
        })
        .collect()
}

pub(super) fn check_tokens(out: &[Output]) -> Vec<Token> {
    out.iter()
        .filter_map(|output| match output {
            Output::Check { token, .. } => Some(*token),
            _ => None,
        })
        .collect()
}
