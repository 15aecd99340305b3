//! How bytes travel: TCP with Noise and Yamux, and QUIC, each also by DNS name (DESIGN §7, Transports).
//!
//! Every transport ends in the same boxed type: an authenticated peer and a multiplexed connection. WebSocket, TLS
//! and SOCKS5 are to be joined here. Nothing depends on UDP or IPv6: where the system lacks them, only their
//! listen addresses fail.

use std::time::Duration;

use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, timeout::TransportTimeout},
        upgrade::Version,
    },
    dns,
    identity::Keypair,
    multiaddr::Protocol,
    noise, quic, tcp,
};

mod strict;

/// How long a connection may take until peer and multiplexer are agreed upon.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// All transports, joined.
///
/// # Errors
/// The reason why the Noise keys could not be set up.
pub(crate) fn build(key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    // A system without a resolver configuration has no names to dial, but can dial addresses.
    match dns::tokio::Transport::system(direct(key)?) {
        Ok(transport) => Ok(TransportTimeout::new(transport, HANDSHAKE_TIMEOUT).boxed()),
        Err(error) => {
            tracing::warn!(%error, "no DNS: peers are reached by IP address only");
            Ok(TransportTimeout::new(direct(key)?, HANDSHAKE_TIMEOUT).boxed())
        }
    }
}

/// The transports that need no name resolved.
fn direct(key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(strict::Strict::new())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = quic::tokio::Transport::new(quic::Config::new(key))
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    Ok(tcp.or_transport(quic).map(|either, _| either.into_inner()).boxed())
}

/// Whether an address has a form that one of the transports takes: IP address or name, then TCP or QUIC, then at
/// most the peer's id.
pub(crate) fn is_supported(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let has_host = matches!(
        parts.next(),
        Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))
    );
    let has_transport = match parts.next() {
        Some(Protocol::Tcp(_)) => true,
        Some(Protocol::Udp(_)) => matches!(parts.next(), Some(Protocol::QuicV1)),
        _ => false,
    };
    has_host && has_transport && matches!(parts.next(), None | Some(Protocol::P2p(_))) && parts.next().is_none()
}

/// Whether an address is one of QUIC.
pub(crate) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::QuicV1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_a_transport_are_told_apart() {
        let id = PeerId::random();
        for address in ["/ip4/1.2.3.4/tcp/5", "/ip6/::1/udp/5/quic-v1", "/dns4/a.example/tcp/5"] {
            let address: Multiaddr = address.parse().unwrap();
            assert!(is_supported(&address), "{address}");
            assert!(is_supported(&address.with_p2p(id).unwrap()));
        }
        for address in
            ["/ip4/1.2.3.4", "/ip4/1.2.3.4/udp/5", "/ip4/1.2.3.4/udp/5/quic", "/ip4/1.2.3.4/tcp/5/ws", "/tcp/5"]
        {
            assert!(!is_supported(&address.parse().unwrap()), "{address}");
        }
    }
}
