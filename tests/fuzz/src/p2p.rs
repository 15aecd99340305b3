//! The bytes of sync. The module is taken in as a file: it needs nothing of libp2p, which would take minutes to build.

// Only what reads bytes is used of it.
#[allow(dead_code)]
#[path = "../../../p2p/src/wire.rs"]
mod wire;

use wire::{Request, Response};

/// A request: what is accepted encodes back to the same bytes.
pub fn request(data: &[u8]) {
    if let Ok(request) = Request::from_bytes(data) {
        assert_eq!(request.to_bytes().unwrap(), data);
    }
}

/// A response: what is accepted encodes back to the same bytes.
pub fn response(data: &[u8]) {
    if let Ok(response) = Response::from_bytes(data) {
        assert_eq!(response.to_bytes().unwrap(), data);
    }
}
