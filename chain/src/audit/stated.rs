//! What the node itself has signed about this log, held against what the audit finds: a log that was set back to an older
//! copy, or written anew with everything that follows from it, agrees with itself and not with that.

use std::collections::BTreeMap;

use super::{OwnWord, Problem, tally::Tally};
use crate::{
    checkpoint::{SignedCheckpoint, Statement},
    ledger::public_log_id,
};

/// The node's own checkpoints of this log that were not compared yet, by count.
pub(super) struct Stated {
    waiting: BTreeMap<u64, Vec<Statement>>,
    word: OwnWord,
    differs: bool,
}

impl Stated {
    /// Of all own checkpoints, those that are about the log with this id on disk.
    pub(super) fn new(own: &[SignedCheckpoint], log_id: Option<[u8; 16]>) -> Self {
        let mut stated = Self { waiting: BTreeMap::new(), word: OwnWord::default(), differs: false };
        for checkpoint in own {
            let statement = *checkpoint.statement();
            if log_id.is_some_and(|id| public_log_id(&id, checkpoint.signer()) == statement.log) {
                stated.waiting.entry(statement.count).or_default().push(statement);
            } else {
                stated.word.of_other_logs = stated.word.of_other_logs.saturating_add(1);
            }
        }
        stated
    }

    /// Compares what was stated of the records counted so far. Only the first difference is told: all behind it differ too.
    pub(super) fn compare(&mut self, tally: &Tally) -> Option<Problem> {
        let count = tally.count();
        if self.waiting.first_key_value().is_none_or(|(next, _)| *next > count) {
            return None;
        }
        let mut found = None;
        for statement in self.waiting.remove(&count).unwrap_or_default() {
            // What stands in a gap, and what follows from it, was told already.
            let Some(link) = tally.link() else {
                continue;
            };
            let known = tally.summary();
            let same = link == statement.link
                && (tally.has_gaps() || (known.root, known.digest) == (statement.root, statement.digest));
            self.word.compared = self.word.compared.saturating_add(1);
            self.word.newest = Some((count, statement.time));
            if !same && !self.differs {
                self.differs = true;
                found = Some(Problem::Rewritten { count, time: statement.time });
            }
        }
        found
    }

    /// What was stated of more records than there are.
    pub(super) fn end(mut self, count: u64) -> (OwnWord, Option<Problem>) {
        let beyond = self.waiting.split_off(&count.saturating_add(1));
        let last = beyond.last_key_value().and_then(|(stated, of)| Some((*stated, of.last()?.time)));
        let problem = last.map(|(stated, time)| Problem::RolledBack { stated, time, count });
        (self.word, problem)
    }
}
