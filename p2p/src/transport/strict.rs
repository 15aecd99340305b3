//! Yamux that ends a connection when the other side breaks it.
//!
//! On a broken frame, or one stream too many, yamux says so with a *go away* and goes on reading, in the belief that the
//! other side will close. A hostile one need not. So what yamux writes is watched, and behind a go away that names an
//! error nothing more is read.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, FutureExt, TryFutureExt, future::BoxFuture};
use libp2p::{
    core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
    yamux,
};

/// Most streams on one connection at a time, both sides' together. A window of 256 KiB belongs to each, which a peer can
/// fill unread: 24 MiB a connection at most. Sync takes up to 20 of them, the rest a handful.
const STREAMS_MAX: usize = 96;

/// Yamux within this node's bounds.
#[derive(Clone)]
pub(super) struct Strict(yamux::Config);

impl Strict {
    pub(super) fn new() -> Self {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS_MAX);
        Self(config)
    }
}

impl UpgradeInfo for Strict {
    type Info = <yamux::Config as UpgradeInfo>::Info;
    type InfoIter = <yamux::Config as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Strict {
    type Output = yamux::Muxer<Watched<C>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, io: C, info: Self::Info) -> Self::Future {
        self.0.upgrade_inbound(Watched::new(io), info).err_into().boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Strict {
    type Output = yamux::Muxer<Watched<C>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, io: C, info: Self::Info) -> Self::Future {
        self.0.upgrade_outbound(Watched::new(io), info).err_into().boxed()
    }
}

/// Bytes of a frame's header: version, kind, flags (2), stream (4), length (4), big-endian.
const HEADER_BYTES: usize = 12;
const DATA: u8 = 0;
const GO_AWAY: u8 = 3;

/// Where in the written frames the next byte stands.
#[derive(Debug, Default)]
struct Frames {
    header: Vec<u8>,
    body_left: usize,
    accuses: bool,
}

impl Frames {
    fn written(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = if self.body_left > 0 {
                let taken = self.body_left.min(bytes.len());
                self.body_left = self.body_left.saturating_sub(taken);
                taken
            } else {
                let taken = HEADER_BYTES.saturating_sub(self.header.len()).min(bytes.len());
                self.header.extend(bytes.iter().take(taken));
                taken
            };
            if let [_, kind, _, _, _, _, _, _, length @ ..] = self.header.as_slice()
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                let length = u32::from_be_bytes(length);
                match *kind {
                    DATA => self.body_left = usize::try_from(length).unwrap_or(usize::MAX),
                    // There the length is the reason, and 0 an ordinary end.
                    GO_AWAY => self.accuses |= length != 0,
                    _ => {}
                }
                self.header.clear();
            }
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }
}

/// A connection below Yamux, ended once Yamux has told the other side off.
pub(crate) struct Watched<C> {
    io: C,
    frames: Frames,
}

impl<C> Watched<C> {
    fn new(io: C) -> Self {
        Self { io, frames: Frames::default() }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.frames.accuses {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the peer broke the rules of Yamux")));
        }
        Pin::new(&mut this.io).poll_read(cx, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Watched<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = result {
            this.frames.written(bytes.get(..written).unwrap_or_default());
        }
        result
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u8, length: u32) -> Vec<u8> {
        let mut header = vec![0; 8];
        header[1] = kind;
        header.extend(length.to_be_bytes());
        header
    }

    /// Whether these frames, written so many bytes at a time, accuse.
    fn accuses(frames: &[Vec<u8>], at_a_time: usize) -> bool {
        let mut seen = Frames::default();
        frames.concat().chunks(at_a_time).for_each(|chunk| seen.written(chunk));
        seen.accuses
    }

    #[test]
    fn only_a_go_away_with_a_reason_accuses_however_it_is_written() {
        let innocent = [header(DATA, 30), header(GO_AWAY, 1).repeat(3)[..30].to_vec(), header(1, 9), header(2, 7)];
        for at_a_time in [1, 5, 12, 13, 1_000] {
            assert!(!accuses(&innocent, at_a_time), "bytes of a body are no header");
            assert!(!accuses(&[&innocent[..], &[header(GO_AWAY, 0)]].concat(), at_a_time), "an ordinary end");
            for reason in [1, 2] {
                assert!(accuses(&[&innocent[..], &[header(GO_AWAY, reason)]].concat(), at_a_time));
            }
        }
    }
}
