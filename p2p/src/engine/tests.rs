//! The engine under test: many engines in one deterministic network ([`net`]), and one engine in the hands of the test
//! ([`solo`]), over real transactions with real stamps ([`make`]).

mod bare;
mod budget;
mod chaos;
mod comparison;
mod drip;
mod exchange;
mod faults;
mod gossip;
mod islands;
pub(crate) mod make;
mod net;
mod outbox;
mod pruned;
mod reconcile;
mod repair;
mod serve;
mod solo;
mod sync;
