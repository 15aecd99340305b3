//! Where this node listens: what was asked for, what the system gave, and what it refused.

use std::{
    error::Error,
    io,
    net::{IpAddr, TcpListener},
};

use libp2p::{Multiaddr, core::transport::ListenerId, multiaddr::Protocol};

use super::DriverError;
use crate::transport;

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// No address yet: the system may still have to bring an interface up.
    Pending,
    Open,
    Refused(String),
}

#[derive(Debug)]
struct Listener {
    id: Option<ListenerId>,
    asked: Multiaddr,
    addresses: Vec<Multiaddr>,
    state: State,
}

/// All listeners that were asked for. Their number is the configuration's.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<Listener>);

impl Listeners {
    /// A listener was asked for; the system took it or refused it at once.
    pub(super) fn asked(&mut self, asked: Multiaddr, outcome: Result<ListenerId, &(dyn Error + 'static)>) {
        let (id, state) = match outcome {
            Ok(id) => (Some(id), State::Pending),
            Err(error) => (None, State::Refused(reason(error))),
        };
        self.0.push(Listener { id, asked, addresses: Vec::new(), state });
    }

    pub(super) fn opened(&mut self, id: ListenerId, address: Multiaddr) {
        if let Some(listener) = self.get(id) {
            listener.state = State::Open;
            listener.addresses.push(address);
        }
    }

    pub(super) fn expired(&mut self, id: ListenerId, address: &Multiaddr) {
        if let Some(listener) = self.get(id) {
            listener.addresses.retain(|other| other != address);
        }
    }

    pub(super) fn closed(&mut self, id: ListenerId, result: &Result<(), io::Error>) {
        if let Some(listener) = self.get(id) {
            listener.addresses.clear();
            listener.state = State::Refused(match result {
                Ok(()) => "closed".to_owned(),
                Err(error) => reason(error),
            });
        }
    }

    fn get(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.0.iter_mut().find(|listener| listener.id == Some(id))
    }

    /// Whether some have neither an address nor a refusal yet.
    pub(super) fn is_pending(&self) -> bool {
        self.0.iter().any(|listener| listener.state == State::Pending)
    }

    /// The addresses of all listeners.
    pub(super) fn addresses(&self) -> Vec<Multiaddr> {
        self.0.iter().flat_map(|listener| listener.addresses.iter().cloned()).collect()
    }

    /// What was refused, when enough was not.
    ///
    /// # Errors
    /// The first refusal of a TCP address when no TCP address works, since nothing else reaches everyone; the first
    /// refusal at all when nothing works.
    pub(super) fn refused(&self) -> Result<Vec<DriverError>, DriverError> {
        let refusal = |listener: &Listener| match &listener.state {
            State::Refused(reason) => {
                Some(DriverError::Listen { address: listener.asked.clone(), reason: reason.clone() })
            }
            State::Pending | State::Open => None,
        };
        let tcp = || self.0.iter().filter(|listener| !transport::is_quic(&listener.asked));
        let none_of_tcp = tcp().all(|listener| refusal(listener).is_some());
        let none_at_all = self.0.iter().all(|listener| refusal(listener).is_some());
        let fatal = if none_of_tcp { tcp().find_map(refusal) } else { None };
        match fatal.or_else(|| self.0.iter().find_map(refusal).filter(|_| none_at_all)) {
            Some(error) => Err(error),
            None => Ok(self.0.iter().filter_map(refusal).collect()),
        }
    }
}

/// Whether a TCP port is free. libp2p shares ports (`SO_REUSEPORT`), so that two nodes of one user would both get
/// the same port, and each about half of the connections to it. To be asked before anything listens, since a
/// listener of IPv6 asks for the port of IPv4 too.
pub(super) fn probe(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind((host, port)).map(drop),
        _ => Ok(()),
    }
}

/// The system's answer under the layers of transports that wrapped it.
fn reason(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    loop {
        // `io::Error::source` leaves out the very error that it wraps.
        let wrapped = innermost.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| innermost.source()) {
            Some(inner) => innermost = inner,
            None => break,
        }
    }
    match innermost.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::AddrInUse) => "another program uses it".to_owned(),
        _ => innermost.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listeners(outcomes: &[(&str, bool)]) -> Listeners {
        let mut listeners = Listeners::default();
        for (address, works) in outcomes {
            let error = io::Error::other(io::Error::from(io::ErrorKind::AddrInUse));
            let outcome = if *works { Ok(ListenerId::next()) } else { Err(&error as &(dyn Error + 'static)) };
            listeners.asked(address.parse().unwrap(), outcome);
        }
        listeners
    }

    #[test]
    fn without_tcp_there_is_no_start() {
        const TCP: &str = "/ip4/0.0.0.0/tcp/1";
        const TCP6: &str = "/ip6/::/tcp/1";
        const QUIC: &str = "/ip4/0.0.0.0/udp/1/quic-v1";
        assert_eq!(listeners(&[]).refused(), Ok(Vec::new()));
        assert_eq!(listeners(&[(TCP, true), (TCP6, false), (QUIC, false)]).refused().unwrap().len(), 2);
        assert_eq!(listeners(&[(QUIC, true)]).refused(), Ok(Vec::new()));
        let refused = DriverError::Listen { address: TCP.parse().unwrap(), reason: "another program uses it".into() };
        assert_eq!(listeners(&[(QUIC, true), (TCP, false), (TCP6, false)]).refused(), Err(refused));
        assert!(listeners(&[(QUIC, false)]).refused().is_err());
    }
}
