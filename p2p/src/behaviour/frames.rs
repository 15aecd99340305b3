//! Frames of the sync protocol: a length as little-endian `u32`, then that many bytes (`docs/protocol.md`, "Sync").
//!
//! The length is checked before anything is allocated. Bytes that are no frame are told from a connection that breaks
//! off: only a peer that breaks the protocol can cause them. In an answer they are an error of the kind
//! [`io::ErrorKind::InvalidData`]. libp2p does not report errors of requests that come in, so there they are a value.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response::Codec};
use qasedak_chain::codec::CodecError;

use crate::wire::{REQUEST_MAX_BYTES, RESPONSE_MAX_BYTES, Request, Response};

/// What came in as a request is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads and writes the frames of the sync protocol. A question that the agreed version does not know is not sent: that
/// is an error of the kind [`io::ErrorKind::Unsupported`], and nobody's fault.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    /// The first version of the protocol, which knows no checkpoints.
    pub(crate) first: StreamProtocol,
}

impl Frames {
    fn knows(&self, version: &StreamProtocol, request: &Request) -> bool {
        *version != self.first || !matches!(request, Request::Checkpoint { .. })
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
        match read_frame(io, REQUEST_MAX_BYTES).await {
            Ok(bytes) => match Request::from_bytes(&bytes) {
                Ok(request) if self.knows(version, &request) => Ok(Ok(request)),
                _ => Ok(Err(Malformed)),
            },
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Err(Malformed)),
            Err(error) => Err(error),
        }
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Response> {
        Response::from_bytes(&read_frame(io, RESPONSE_MAX_BYTES).await?).map_err(malformed)
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
        write_frame(io, &request.to_bytes().map_err(too_long)?).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()> {
        let bytes = response.to_bytes().map_err(too_long)?;
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

async fn read_frame<T: AsyncRead + Unpin>(io: &mut T, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    match usize::try_from(u32::from_le_bytes(length)) {
        Ok(length) if length <= max_bytes => {
            let mut bytes = vec![0; length];
            io.read_exact(&mut bytes).await?;
            Ok(bytes)
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "longer than a frame may be")),
    }
}

async fn write_frame<T: AsyncWrite + Unpin>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    io.write_all(&length.to_le_bytes()).await?;
    io.write_all(bytes).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        block_on(read_frame(&mut Cursor::new(bytes), 8))
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        block_on(write_frame(&mut bytes, b"abcdefgh")).unwrap();
        assert_eq!(bytes, b"\x08\0\0\0abcdefgh");
        assert_eq!(read(&bytes).unwrap(), b"abcdefgh");
    }

    #[test]
    fn a_broken_protocol_is_told_from_a_broken_connection() {
        assert_eq!(read(b"\x09\0\0\0abcdefghi").unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(b"\xff\xff\xff\xff").unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(b"\x08\0\0\0abc").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(b"\x08\0").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        for request in [&b"\x01\0\0\0\xff"[..], b"\xff\xff\xff\xff"] {
            let request = block_on(frames().read_request(&StreamProtocol::new("/2"), &mut Cursor::new(request)));
            assert_eq!(request.unwrap(), Err(Malformed));
        }
        let broken_off = block_on(frames().read_request(&StreamProtocol::new("/2"), &mut Cursor::new(b"\x01\0\0")));
        assert_eq!(broken_off.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    fn frames() -> Frames {
        Frames { first: StreamProtocol::new("/1") }
    }

    #[test]
    fn the_first_version_is_not_asked_for_checkpoints() {
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
    }
}
