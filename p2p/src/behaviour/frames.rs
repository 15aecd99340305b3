//! Questions and answers of the sync protocol as libp2p hands them over, one to a frame ([`frame`](super::frame)).
//!
//! Bytes that are no frame are told from a connection that breaks off: only a peer that breaks the protocol can cause them.
//! In an answer they are an error of the kind [`io::ErrorKind::InvalidData`]. libp2p does not report errors of requests
//! that come in, so there they are a value.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{StreamProtocol, request_response::Codec};
use qasedak_chain::codec::CodecError;

use super::frame::{LENGTH_BYTES, read_frame, write_frame};
use crate::wire::{OLD_REQUEST_MAX_BYTES, REQUEST_MAX_BYTES, RESPONSE_MAX_BYTES, Request, Response};

/// What came in as a request is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Bytes of the sync protocol since the start, frames with their lengths.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    fn add(counter: &AtomicU64, frame: &[u8]) {
        counter.fetch_add((LENGTH_BYTES as u64).saturating_add(frame.len() as u64), Ordering::Relaxed);
    }
    /// Sent and received.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

/// Reads and writes the frames of the sync protocol. A question that the agreed version does not know is not sent: that
/// is an error of the kind [`io::ErrorKind::Unsupported`], and nobody's fault.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    /// The first version of the protocol, which knows no checkpoints.
    pub(crate) first: StreamProtocol,
    /// The second, which knows no reconciliation.
    pub(crate) second: StreamProtocol,
    /// What went over the wire.
    pub(crate) traffic: Arc<Traffic>,
}

impl Frames {
    fn knows(&self, version: &StreamProtocol, request: &Request) -> bool {
        match request {
            Request::Checkpoint { .. } => *version != self.first,
            Request::Reconcile { .. } | Request::Aliased { .. } => *version != self.first && *version != self.second,
            Request::Digest { .. } | Request::Days { .. } | Request::Day { .. } | Request::Transactions { .. } => true,
        }
    }

    fn request_max_bytes(&self, version: &StreamProtocol) -> usize {
        if *version == self.first || *version == self.second { OLD_REQUEST_MAX_BYTES } else { REQUEST_MAX_BYTES }
    }
}

impl Codec for Frames {
    type Protocol = StreamProtocol;
    type Request = Result<Request, Malformed>;
    type Response = Response;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        version: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Result<Request, Malformed>> {
        match read_frame(io, self.request_max_bytes(version)).await {
            Ok(bytes) => {
                Traffic::add(&self.traffic.received, &bytes);
                match Request::from_bytes(&bytes) {
                    Ok(request) if self.knows(version, &request) => Ok(Ok(request)),
                    _ => Ok(Err(Malformed)),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Err(Malformed)),
            Err(error) => Err(error),
        }
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Response> {
        let bytes = read_frame(io, RESPONSE_MAX_BYTES).await?;
        Traffic::add(&self.traffic.received, &bytes);
        Response::from_bytes(&bytes).map_err(malformed)
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        version: &StreamProtocol,
        io: &mut T,
        request: Result<Request, Malformed>,
    ) -> io::Result<()> {
        let request = request.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        if !self.knows(version, &request) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let bytes = request.to_bytes().map_err(too_long)?;
        Traffic::add(&self.traffic.sent, &bytes);
        write_frame(io, &bytes).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()> {
        let bytes = response.to_bytes().map_err(too_long)?;
        Traffic::add(&self.traffic.sent, &bytes);
        // Whoever reads slowly is not to hold a page twice.
        drop(response);
        write_frame(io, &bytes).await
    }
}

fn malformed(error: CodecError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

fn too_long(error: CodecError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};

    use super::*;

    #[test]
    fn a_broken_protocol_is_told_from_a_broken_connection() {
        for request in [&b"\x01\0\0\0\xff"[..], b"\xff\xff\xff\xff"] {
            let request = block_on(frames().read_request(&StreamProtocol::new("/2"), &mut Cursor::new(request)));
            assert_eq!(request.unwrap(), Err(Malformed));
        }
        let broken_off = block_on(frames().read_request(&StreamProtocol::new("/2"), &mut Cursor::new(b"\x01\0\0")));
        assert_eq!(broken_off.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    fn frames() -> Frames {
        let [first, second] = ["/1", "/2"].map(StreamProtocol::new);
        Frames { first, second, traffic: Arc::default() }
    }

    #[test]
    fn an_older_version_is_not_asked_what_it_does_not_know() {
        let write = |version, request| {
            let mut bytes = Vec::new();
            block_on(frames().write_request(&StreamProtocol::new(version), &mut bytes, Ok(request))).map(|()| bytes)
        };
        let read = |version, bytes: &[u8]| {
            block_on(frames().read_request(&StreamProtocol::new(version), &mut Cursor::new(bytes))).unwrap()
        };
        let (old, new) = (Request::Days { from: 1 }, Request::Checkpoint { known: None });
        assert_eq!(read("/1", &write("/1", old.clone()).unwrap()), Ok(old));
        let bytes = write("/2", new.clone()).unwrap();
        assert_eq!((read("/2", &bytes), read("/1", &bytes)), (Ok(new.clone()), Err(Malformed)));
        assert_eq!(write("/1", new).unwrap_err().kind(), io::ErrorKind::Unsupported);
        let newest = Request::Reconcile { salt: [1; 16], from: 0, to: 60, message: vec![0x61; 20_000] };
        let bytes = write("/3", newest.clone()).unwrap();
        assert_eq!((read("/3", &bytes), read("/2", &bytes)), (Ok(newest.clone()), Err(Malformed)));
        for old in ["/1", "/2"] {
            assert_eq!(write(old, newest.clone()).unwrap_err().kind(), io::ErrorKind::Unsupported);
        }
    }
}
