//! The stamp: proof of work that pays for size × lifetime (DESIGN §4; `docs/protocol.md`, "Stamp").
//!
//! Equi-X with the seed `challenge | nonce`; a solution counts when
//! `u128(first 8 LE bytes of H("effort", challenge, nonce, solution)) · effort < 2^64`. Integers only, so all
//! nodes agree. Solving compiles the hash program where the machine can; verifying interprets it, which is
//! faster there: nearly all of a verification is building the program.

use std::ops::ControlFlow;

use equix::{EquiXBuilder, RuntimeOption, Solution, SolverMemory};

use crate::{
    hash::{Context, hash_prefix},
    network::Network,
    transaction::Core,
};

/// Lifetime that counts a body once, in seconds (a week).
const LIFETIME_UNIT_SECS: u128 = 604_800;
/// What a header byte weighs, since headers stay for good.
const HEADER_WEIGHT: u128 = 14;

/// A stamp as it stands in a header: 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    nonce: u64,
    solution: [u8; 16],
}

impl Stamp {
    /// Any 24 bytes; whether they are worth anything is for [`meets_target`](Self::meets_target) and
    /// [`solves`](Self::solves).
    pub const fn new(nonce: u64, solution: [u8; 16]) -> Self {
        Self { nonce, solution }
    }
    /// Which seed was solved.
    pub const fn nonce(&self) -> u64 {
        self.nonce
    }
    /// The Equi-X solution.
    pub const fn solution(&self) -> &[u8; 16] {
        &self.solution
    }
    /// Whether the stamp is rare enough for `effort`. Cheap: one hash.
    pub fn meets_target(&self, challenge: &[u8; 32], effort: Effort) -> bool {
        self.luck(challenge).saturating_mul(u128::from(effort.get())) < 1 << 64
    }
    /// Whether the solution solves its Equi-X puzzle, some 80 µs. A seed for which no hash program exists has none.
    pub fn solves(&self, challenge: &[u8; 32]) -> bool {
        let Ok(solution) = Solution::try_from_bytes(&self.solution) else {
            return false;
        };
        EquiXBuilder::new()
            .runtime(RuntimeOption::InterpretOnly)
            .verify(&seed(challenge, self.nonce), &solution)
            .is_ok()
    }
    /// The highest effort that this stamp meets: its work, by which relays rank what they carry.
    pub fn work(&self, challenge: &[u8; 32]) -> Effort {
        let most = ((1u128 << 64) - 1).checked_div(self.luck(challenge)).unwrap_or(u128::MAX);
        Effort(u64::try_from(most).unwrap_or(u64::MAX))
    }
    fn luck(&self, challenge: &[u8; 32]) -> u128 {
        let first: [u8; 8] = hash_prefix(Context::Effort, &[challenge, &self.nonce.to_le_bytes(), &self.solution]);
        u128::from(u64::from_le_bytes(first))
    }
}

/// How many solutions a stamp takes on average, at least 1. One attempt finds 1.85 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effort(u64);

impl Effort {
    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }
    /// The effort that the network asks for this core's size and lifetime:
    /// `max(1, ceil(base_milli · units / 1024000))` with
    /// `units = header_len·14 + body_len·(604800 + lifetime)/604800`, division rounding down.
    pub fn required(network: &Network, core: &Core) -> Self {
        let header = (core.header_len() as u128).saturating_mul(HEADER_WEIGHT);
        let lifetime = LIFETIME_UNIT_SECS.saturating_add(u128::from(core.lifetime_secs()));
        let body = u128::from(core.body_len()).saturating_mul(lifetime) / LIFETIME_UNIT_SECS;
        let units = header.saturating_add(body);
        let effort = u128::from(network.base_milli()).saturating_mul(units).div_ceil(1_024_000);
        Self(u64::try_from(effort.max(1)).unwrap_or(u64::MAX))
    }
}

fn seed(challenge: &[u8; 32], nonce: u64) -> [u8; 40] {
    let mut seed = [0; 40];
    let (head, tail) = seed.split_at_mut(32);
    head.copy_from_slice(challenge);
    tail.copy_from_slice(&nonce.to_le_bytes());
    seed
}

/// Searches for a stamp over the given nonces, asking `go_on` before each attempt (some 9 ms each).
///
/// Several threads may search at once, each over nonces of its own. `None` when the nonces ran out or
/// `go_on` broke off.
pub fn search(
    challenge: &[u8; 32],
    effort: Effort,
    nonces: impl IntoIterator<Item = u64>,
    mut go_on: impl FnMut() -> ControlFlow<()>,
) -> Option<Stamp> {
    let mut memory = SolverMemory::new();
    for nonce in nonces {
        if go_on().is_break() {
            return None;
        }
        // A seed for which no hash program can be built is invalid by rule: go to the next.
        let Ok(puzzle) = EquiXBuilder::new().build(&seed(challenge, nonce)) else {
            continue;
        };
        let found = puzzle
            .solve_with_memory(&mut memory)
            .iter()
            .map(|solution| Stamp::new(nonce, solution.to_bytes()))
            .find(|stamp| stamp.meets_target(challenge, effort));
        if found.is_some() {
            return found;
        }
    }
    None
}
