//! A frame of the sync protocol: a length as little-endian `u32`, then that many bytes (`docs/protocol.md`, "Sync").
//!
//! The length is checked before anything is allocated. Nothing of libp2p is needed here, so that it can be fuzzed alone.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a frame's length.
pub(super) const LENGTH_BYTES: usize = 4;

/// Reads a frame of at most `max_bytes`.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for a longer one, [`io::ErrorKind::UnexpectedEof`] when it breaks off.
pub(super) async fn read_frame<T: AsyncRead + Unpin>(io: &mut T, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; LENGTH_BYTES];
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

/// Writes a frame, all of it.
///
/// # Errors
/// What writing gives.
pub(super) async fn write_frame<T: AsyncWrite + Unpin>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
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
    fn too_long_is_told_from_broken_off() {
        assert_eq!(read(b"\x09\0\0\0abcdefghi").unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(b"\xff\xff\xff\xff").unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(b"\x08\0\0\0abc").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(b"\x08\0").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
