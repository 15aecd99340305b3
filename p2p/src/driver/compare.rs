//! Comparisons with peers on an operator's behalf: from a peer's id as text to the engine, and back.

use qasedak_chain::store::Store;
use tokio::sync::oneshot;

use super::{handle::Comparison, task::Task};
use crate::engine::{
    Input, Token,
    comparison::{CompareError, report::Report},
};

/// Where an answer goes.
pub(super) type Answer = oneshot::Sender<Result<Comparison, CompareError>>;

/// With whom, and who waits for it.
pub(super) struct Comparing {
    peer: String,
    answer: Answer,
}

impl<S: Store + Send + Sync + 'static> Task<S> {
    pub(super) fn compare(&mut self, begins: &str, from: u64, answer: Answer) {
        match self.peers.beginning_with(begins) {
            Ok((number, id)) => {
                let token = self.token();
                self.comparing.insert(token, Comparing { peer: id.to_string(), answer });
                self.feed(Input::Compare { peer: number, from, token });
            }
            // An asker that no longer waits needs no answer.
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    pub(super) fn compared(&mut self, token: Token, result: Result<Box<Report>, CompareError>) {
        if let Some(Comparing { peer, answer }) = self.comparing.remove(&token) {
            drop(answer.send(result.map(|report| Comparison { peer, report: *report })));
        }
    }
}
