//! Who is to be connected: configured peers for good, peers found on the local network while they are announced.
//!
//! Each is dialled again with a pause that doubles from one second to a minute, with jitter, so that nodes which lost
//! the same peer do not all come back at once.

use std::time::{Duration, Instant};

use libp2p::{
    Multiaddr, PeerId,
    multiaddr::Protocol,
    swarm::{ConnectionId, DialError, dial_opts::DialOpts},
};
use rand::{SeedableRng, rngs::StdRng};
use rand_core::Rng;

/// First pause between two dials, in milliseconds.
const PAUSE_MIN_MS: u64 = 1_000;
/// Longest pause between two dials, in milliseconds, before jitter.
const PAUSE_MAX_MS: u64 = 60_000;
/// Most peers of the local network that are dialled.
const FOUND_MAX: usize = 64;
/// After so many failures a peer that was found on the local network is forgotten until it is announced again.
const FOUND_FAILURES_MAX: u32 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting(Instant),
    Dialing(ConnectionId),
    Connected(PeerId),
    /// It is this node itself.
    Never,
}

#[derive(Debug)]
struct Target {
    address: Multiaddr,
    /// Found on the local network, not configured.
    found: bool,
    state: State,
    failures: u32,
}

impl Target {
    fn peer(&self) -> Option<PeerId> {
        peer_of(&self.address)
    }
}

/// All targets and when they are due.
#[derive(Debug)]
pub(super) struct Dialer {
    targets: Vec<Target>,
    rng: StdRng,
}

impl Dialer {
    pub(super) fn new(configured: Vec<Multiaddr>, seed: [u8; 32], now: Instant) -> Self {
        let target = |address| Target { address, found: false, state: State::Waiting(now), failures: 0 };
        Self { targets: configured.into_iter().map(target).collect(), rng: StdRng::from_seed(seed) }
    }

    /// A peer announced itself on the local network.
    pub(super) fn found(&mut self, peer: PeerId, address: Multiaddr, now: Instant) {
        let Ok(address) = address.with_p2p(peer) else {
            return;
        };
        let found = self.targets.iter().filter(|target| target.found).count();
        if found < FOUND_MAX && !self.targets.iter().any(|target| target.peer() == Some(peer)) {
            self.targets.push(Target { address, found: true, state: State::Waiting(now), failures: 0 });
        }
    }

    /// A peer's announcement on the local network ran out.
    pub(super) fn lost(&mut self, peer: &PeerId) {
        self.targets.retain(|target| !target.found || target.peer() != Some(*peer));
    }

    /// What is to be dialled now.
    pub(super) fn due(&mut self, now: Instant, is_connected: impl Fn(&PeerId) -> bool) -> Vec<DialOpts> {
        let mut due = Vec::new();
        for target in &mut self.targets {
            if !matches!(target.state, State::Waiting(at) if at <= now) {
                continue;
            }
            if let Some(peer) = target.peer().filter(&is_connected) {
                target.state = State::Connected(peer);
                continue;
            }
            let opts = options(&target.address);
            target.state = State::Dialing(opts.connection_id());
            due.push(opts);
        }
        due
    }

    pub(super) fn connected(&mut self, connection: ConnectionId, peer: PeerId) {
        for target in &mut self.targets {
            if target.state == State::Dialing(connection) {
                target.state = State::Connected(peer);
            }
        }
    }

    /// A dial failed.
    pub(super) fn failed(&mut self, connection: ConnectionId, error: &DialError, now: Instant) {
        for target in &mut self.targets {
            if target.state == State::Dialing(connection) {
                target.failures = target.failures.saturating_add(1);
                target.state = match error {
                    DialError::LocalPeerId { .. } => State::Never,
                    _ => State::Waiting(now + pause(&mut self.rng, target.failures)),
                };
            }
        }
        self.targets.retain(|target| !target.found || target.failures < FOUND_FAILURES_MAX);
    }

    /// A peer proved to be of this network: the next pause is short again.
    pub(super) fn welcome(&mut self, peer: &PeerId) {
        for target in self.targets.iter_mut().filter(|target| target.state == State::Connected(*peer)) {
            target.failures = 0;
        }
    }

    /// A peer proved to be of another network, or to be at fault. Returns whether it is a configured one.
    pub(super) fn unwelcome(&mut self, peer: &PeerId) -> bool {
        let mut configured = false;
        for target in self.targets.iter_mut().filter(|target| target.state == State::Connected(*peer)) {
            target.failures = u32::MAX;
            configured |= !target.found;
        }
        configured
    }

    /// The last connection to a peer ended.
    pub(super) fn gone(&mut self, peer: &PeerId, now: Instant) {
        for target in &mut self.targets {
            if target.state == State::Connected(*peer) {
                target.state = State::Waiting(now + pause(&mut self.rng, target.failures));
                target.failures = target.failures.saturating_add(1);
            }
        }
    }
}

/// The peer id at the end of an address.
fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// Outgoing connections use a port of their own: two nodes that dial each other from their listen ports would meet in
/// a simultaneous open of TCP.
fn options(address: &Multiaddr) -> DialOpts {
    match peer_of(address) {
        Some(peer) => DialOpts::peer_id(peer).addresses(vec![address.clone()]).allocate_new_port().build(),
        None => DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build(),
    }
}

/// Three to five quarters of the doubled pause.
fn pause(rng: &mut StdRng, failures: u32) -> Duration {
    let doubled = PAUSE_MIN_MS.checked_shl(failures.min(16)).unwrap_or(PAUSE_MAX_MS).min(PAUSE_MAX_MS);
    let jitter = rng.next_u64().checked_rem(doubled / 2).unwrap_or(0);
    Duration::from_millis((doubled / 4 * 3).saturating_add(jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "/ip4/127.0.0.1/tcp/9";

    fn dialer(now: Instant) -> Dialer {
        Dialer::new(vec![ADDRESS.parse().unwrap()], [1; 32], now)
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let mut now = Instant::now();
        let mut dialer = dialer(now);
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let due = dialer.due(now, |_| false);
            assert_eq!(due.len(), 1);
            assert!(dialer.due(now, |_| false).is_empty(), "dialled twice at once");
            dialer.failed(due[0].connection_id(), &DialError::Aborted, now);
            assert!(dialer.due(now + Duration::from_millis(749), |_| false).is_empty());
            let State::Waiting(next) = dialer.targets[0].state else { panic!("not waiting") };
            longest = longest.max(next - now);
            now = next;
        }
        assert!(longest > Duration::from_secs(40) && longest <= Duration::from_secs(76), "{longest:?}");
    }

    #[test]
    fn who_is_gone_is_dialled_again() {
        let now = Instant::now();
        let (mut dialer, peer) = (dialer(now), PeerId::random());
        let due = dialer.due(now, |_| false);
        dialer.connected(due[0].connection_id(), peer);
        dialer.welcome(&peer);
        let later = now + Duration::from_secs(3_600);
        assert!(dialer.due(later, |_| false).is_empty());
        dialer.gone(&peer, later);
        assert!(dialer.due(later, |_| false).is_empty());
        assert_eq!(dialer.due(later + Duration::from_secs(2), |_| false).len(), 1);
    }

    #[test]
    fn peers_of_the_local_network_are_bounded_and_forgotten() {
        let now = Instant::now();
        let mut dialer = Dialer::new(Vec::new(), [1; 32], now);
        let first = PeerId::random();
        for peer in std::iter::once(first).chain((0..2 * FOUND_MAX).map(|_| PeerId::random())) {
            dialer.found(peer, ADDRESS.parse().unwrap(), now);
            dialer.found(peer, ADDRESS.parse().unwrap(), now);
        }
        assert_eq!(dialer.targets.len(), FOUND_MAX);
        dialer.lost(&first);
        assert_eq!(dialer.targets.len(), FOUND_MAX - 1);
        let mut at = now;
        for _ in 0..FOUND_FAILURES_MAX {
            for opts in dialer.due(at, |_| false) {
                dialer.failed(opts.connection_id(), &DialError::Aborted, at);
            }
            at += Duration::from_secs(120);
        }
        assert!(dialer.targets.is_empty());
    }
}
