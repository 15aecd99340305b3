//! What must hold at every moment, and at the end.
//!
//! Throughout: an honest node stores nothing but what is sound; it lets no honest node go; its engine keeps its bounds;
//! what it acknowledged is there after every crash. At the end: every honest node holds the same set and the same blocks,
//! with every message that an honest node wrote, and its body unless its time is over there.

use std::collections::BTreeSet;

use qasedak_chain::{
    Digest, Position, TxId,
    block::Block,
    retention,
    store::{Body, Store},
};

use qasedak_engine::engine::status::BudgetStatus;

use crate::{
    node::Node,
    world::{Shown, World},
};

/// Most transactions under verification, as the engine itself has it: said here a second time on purpose.
const CHECKS_MAX: usize = 2_048;
/// Most verified transactions without parents.
const ORPHANS_MAX: usize = 2_048;
/// Most sessions at once.
const SESSIONS_MAX: usize = 4;
/// Most ids that are wanted: one page of a list and the parents of each peer.
const WANTED_MAX_EACH: usize = 8_192 + 256 + 256;
/// Most bodies that are wanted.
const BODIES_MAX: usize = 4_096;
/// Most headers whose bodies are sought.
const BARE_MAX: usize = 4_096;
/// Most bytes under verification, and of verified transactions without parents.
const CHECKS_MAX_BYTES: usize = 32 << 20;
const ORPHANS_MAX_BYTES: usize = 16 << 20;
/// Most that waits for the budget.
const HELD_MAX: usize = 4_096;
const HELD_MAX_BYTES: usize = 32 << 20;
/// Most transactions in views of peers, one view more than is kept.
const VIEWED_MAX: usize = 9 * 65_536;
/// How long a verdict takes at most: 4 s for the parents, a tick, and the time of a verification.
const VERDICT_MAX_MS: u64 = 6_000;
/// Records that are looked at in one go.
const LOOK_PAGE: usize = 1_024;

impl World {
    /// Looks at what an honest node stored since the last time, and at what its engine holds.
    pub fn look_at(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if !node.is_honest() {
            return;
        }
        while node.looked_at < node.ledger.summary().count {
            let records = node.ledger.records(Position::new(node.looked_at), LOOK_PAGE).unwrap();
            for record in &records {
                assert!(
                    self.oracle.sound().contains_key(&record.id),
                    "node {at} stores what breaks a rule: {} at position {}",
                    record.id,
                    node.looked_at
                );
                let new = Shown { first_ms: self.now_ms, holders: 0 };
                self.shown.entry(record.id).or_insert(new).holders += 1;
                node.looked_at += 1;
                self.counts.stored += 1;
            }
        }
        let status = node.engine.status();
        assert!(status.checking <= CHECKS_MAX, "node {at} checks {}", status.checking);
        assert!(status.waiting <= ORPHANS_MAX, "node {at} has {} orphans", status.waiting);
        assert!(status.wanted <= WANTED_MAX_EACH * (1 + status.peers.len()), "node {at} wants {}", status.wanted);
        assert!(status.syncing.is_none_or(|syncing| syncing.peers <= SESSIONS_MAX), "node {at} has {status:?}");
        assert!(status.repair.wanted <= BODIES_MAX, "node {at} wants {} bodies", status.repair.wanted);
        assert!(status.bare <= BARE_MAX, "node {at} seeks the bodies of {}", status.bare);
        assert!(status.checking_bytes <= CHECKS_MAX_BYTES, "node {at} checks {} bytes", status.checking_bytes);
        assert!(status.waiting_bytes <= ORPHANS_MAX_BYTES, "node {at} has {} bytes of orphans", status.waiting_bytes);
        let BudgetStatus { waiting, waiting_bytes, .. } = status.budget;
        assert!(waiting <= HELD_MAX && waiting_bytes <= HELD_MAX_BYTES, "node {at} holds back {waiting}");
        assert!(status.viewed <= VIEWED_MAX, "node {at} keeps views of {}", status.viewed);
        let slow = node.open.values().find(|(_, since_ms)| self.now_ms - since_ms > VERDICT_MAX_MS);
        assert!(slow.is_none(), "node {at} gives no verdict on a message");
        assert_eq!(status.refused, 0, "node {at} wrote what breaks a rule");
        assert!(status.peers.len() <= node.links.len(), "node {at} knows {} peers", status.peers.len());
    }

    /// How many transactions the node that lacks most of them lacks.
    pub fn backlog(&self) -> u64 {
        let all = self.oracle.sound().len() as u64;
        self.honest().map(|node| all.saturating_sub(node.ledger.summary().count)).max().unwrap_or_default()
    }

    /// Nothing acknowledged is lost: what a node's outbox took is in it, or durably in the log; and what was durable is
    /// in the log where it was.
    pub fn nothing_is_lost(&self) -> Result<(), String> {
        for node in self.honest() {
            let count = node.ledger.summary().count;
            if count < node.durable.len() as u64 {
                return Err(format!("node {} acknowledged {} and holds {count}", node.number, node.durable.len()));
            }
        }
        Ok(())
    }

    /// Whether all honest nodes hold the same.
    pub fn is_even(&self) -> bool {
        let digests: BTreeSet<Digest> = self.honest().map(|node| node.ledger.summary().digest).collect();
        digests.len() == 1
    }

    /// Whether something that an honest node stored is not everywhere yet: whether it is on its way, since it was first
    /// stored less than `within_ms` ago. One that takes longer is an error, and so is a difference that nothing explains.
    pub fn is_under_way(&self, within_ms: u64) -> Result<bool, String> {
        if self.is_even() {
            return Ok(false);
        }
        let honest = self.honest().count();
        let missing = self.shown.values().filter(|shown| shown.holders < honest);
        let unseen = || self.honest().any(|node| node.looked_at < node.ledger.summary().count);
        match missing.map(|shown| shown.first_ms).min() {
            Some(first_ms) if first_ms + within_ms > self.now_ms => Ok(true),
            None if unseen() => Ok(true),
            _ => Err(self.difference()),
        }
    }

    /// Forgets what was seen, and looks at everything that honest nodes hold.
    pub fn look_anew(&mut self) {
        self.shown.clear();
        let stored = self.counts.stored;
        for at in 0..self.nodes.len() {
            self.nodes[at].looked_at = 0;
            self.look_at(at);
        }
        self.counts.stored = stored;
    }

    /// Whether all honest nodes have everything that honest nodes wrote.
    pub fn have_every_message(&self) -> Result<(), String> {
        for node in self.honest() {
            if !node.outbox.is_empty() {
                let where_they_are: String = node.outbox.keys().map(|id| self.whereabouts(id)).collect();
                return Err(format!(
                    "node {} still has {} in its outbox{where_they_are}",
                    node.number,
                    node.outbox.len()
                ));
            }
            self.has_every_message(node)?;
        }
        Ok(())
    }

    /// The first transaction that one honest node has and another one lacks, and what is known of it.
    fn difference(&self) -> String {
        let holds = |node: &Node, id| node.ledger.position(id).unwrap();
        for (id, sound) in self.oracle.sound() {
            let (with, without): (Vec<&Node>, Vec<&Node>) = self.honest().partition(|node| holds(node, id).is_some());
            if with.is_empty() || without.is_empty() {
                continue;
            }
            let has_body = |node: &&&Node| {
                let body = holds(node, id).map(|position| node.ledger.store().body(position).unwrap());
                matches!(body, Some(Body::Present(_)))
            };
            let liars = without[0]
                .links
                .iter()
                .filter(|link| !self.nodes[self.links[**link].other(without[0].number)].is_honest());
            let liars: Vec<_> = liars.map(|link| self.links[*link].peer_of(without[0].number)).collect();
            return format!(
                "{id} (honest: {}, dated {}) is at {} nodes, {} with its body; not at {:?}; the first of them says {:?}, of whom {liars:?} lie",
                sound.honest,
                sound.transaction.core().time(),
                with.len(),
                with.iter().filter(has_body).count(),
                without.iter().map(|node| (node.number, node.clock)).collect::<Vec<_>>(),
                without[0].engine.status(),
            );
        }
        "other digests over the same transactions".to_owned()
    }

    /// For whoever looks for what went wrong: which nodes have a transaction, and which of them its parents.
    fn whereabouts(&self, id: &TxId) -> String {
        let at = |id: &TxId| {
            let has = |node: &&Node| node.ledger.position(id).unwrap().is_some();
            let name = |node: &Node| format!("{}{}", if node.is_honest() { "" } else { "liar " }, node.number);
            self.nodes.iter().filter(has).map(name).collect::<Vec<_>>()
        };
        let waits = |node: &&Node| node.outbox.contains_key(id);
        let outboxes: Vec<usize> = self.nodes.iter().filter(waits).map(|node| node.number).collect();
        let parents = self.oracle.sound().get(id).map_or(&[][..], |sound| sound.transaction.core().parents());
        let parents = parents.iter().filter(|parent| **parent != self.network.genesis());
        let parents: String = parents.map(|parent| format!("; its parent {parent} is at {:?}", at(parent))).collect();
        format!(", which is at {:?}, in the outboxes of {outboxes:?}{parents}", at(id))
    }

    fn has_every_message(&self, node: &Node) -> Result<(), String> {
        let now = node.ledger.clock(node.now(self.now_ms).system);
        for (id, sound) in self.oracle.sound() {
            if !sound.honest {
                continue;
            }
            let Some(position) = node.ledger.position(id).unwrap() else {
                return Err(format!("node {} lacks the message {id}{}", node.number, self.whereabouts(id)));
            };
            let record = node.ledger.record(position).unwrap().unwrap();
            let body_day = retention::body_day(record.header.core(), record.arrival);
            match node.ledger.store().body(position).unwrap() {
                Body::Present(body) if Some(&*body) == sound.transaction.body() => {}
                // Its day had come when this node let it go.
                Body::Dropped { .. } if body_day <= node.pruned_day => {}
                Body::Absent if body_day <= now.day() || self.is_out_of_reach(id, node) => {}
                Body::Absent => {
                    return Err(format!("node {} lacks the body of {id}: {:?}", node.number, node.engine.status()));
                }
                other => return Err(format!("node {} has another body of {id}: {other:?}", node.number)),
            }
        }
        Ok(())
    }

    /// Whether no body of a transaction can reach a node any more: it goes from one to the next, and those who let it go, or for
    /// whom its lifetime is over, pass nothing on: by clocks that differ, its time is not over for all at once. Where none of
    /// these stands between, it must come; one that is nowhere although nobody let it go is lost.
    fn is_out_of_reach(&self, id: &TxId, node: &Node) -> bool {
        let mut reached = BTreeSet::from([node.number]);
        let (mut queue, mut let_go) = (vec![node.number], false);
        while let Some(at) = queue.pop() {
            let links = self.nodes[at].links.iter().map(|link| self.links[*link].other(at));
            let honest: Vec<usize> = links.filter(|other| self.nodes[*other].is_honest()).collect();
            for other in honest.into_iter().filter(|other| reached.insert(*other)) {
                let ledger = &self.nodes[other].ledger;
                let now = ledger.clock(self.nodes[other].now(self.now_ms).system);
                let expires = self.oracle.sound()[id].transaction.core().expires();
                match ledger.position(id).unwrap().map(|position| ledger.store().body(position).unwrap()) {
                    Some(Body::Present(_)) => return false,
                    Some(Body::Dropped { .. }) => let_go = true,
                    _ if now >= expires => let_go = true,
                    _ => queue.push(other),
                }
            }
        }
        let_go
    }

    /// Every honest node derives the same blocks.
    pub fn same_blocks(&mut self) {
        let mut first: Option<Vec<Block>> = None;
        for node in self.nodes.iter_mut().filter(|node| node.is_honest()) {
            let blocks = node.ledger.blocks(0, usize::MAX).unwrap();
            match &first {
                None => first = Some(blocks),
                Some(first) => assert!(*first == blocks, "node {} derives other blocks", node.number),
            }
        }
    }
}
