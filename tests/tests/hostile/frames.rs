//! Bytes of the protocols, written by hand, so that they can be written wrongly: multistream-select, the protobuf of
//! gossipsub and identify, frames of sync and of Yamux.

use libp2p::identity::PublicKey;

/// An unsigned LEB128 number, as multistream-select and protobuf have it.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// `bytes` behind their length.
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    [&varint(bytes.len() as u64), bytes].concat()
}

/// A protobuf field that holds bytes.
pub fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), framed(bytes)].concat()
}

/// A protobuf field that holds a number.
pub fn number(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

/// A line of multistream-select.
pub fn line(text: &str) -> Vec<u8> {
    framed(format!("{text}\n").as_bytes())
}

/// A frame of sync: the length as little-endian `u32`, and the value.
pub fn sync(value: &[u8]) -> Vec<u8> {
    [&(value.len() as u32).to_le_bytes(), value].concat()
}

/// A header of Yamux: version 0, then kind, flags, stream, length, all big-endian.
pub fn yamux(kind: u8, flags: u16, stream: u32, length: u32) -> [u8; 12] {
    let mut header = [0; 12];
    header[1] = kind;
    header[2..4].copy_from_slice(&flags.to_be_bytes());
    header[4..8].copy_from_slice(&stream.to_be_bytes());
    header[8..].copy_from_slice(&length.to_be_bytes());
    header
}

/// What a node says of itself to identify.
pub fn identify(version: &str, key: &PublicKey) -> Vec<u8> {
    let key = key.encode_protobuf();
    [field(5, version.as_bytes()), field(6, b"rogue"), field(1, &key)].concat()
}

/// Parts of gossipsub's RPC. A frame is [`framed`] over any number of them.
pub mod gossip {
    use super::{field, number};

    /// Subscribes to a topic, or unsubscribes.
    pub fn subscribe(topic: &str, on: bool) -> Vec<u8> {
        field(1, &[number(1, u64::from(on)), field(2, topic.as_bytes())].concat())
    }
    /// Publishes anonymously.
    pub fn publish(topic: &str, data: &[u8]) -> Vec<u8> {
        field(2, &[field(2, data), field(4, topic.as_bytes())].concat())
    }
    /// Publishes with an author, a number and a signature, none of which may be there.
    pub fn publish_signed(topic: &str, data: &[u8]) -> Vec<u8> {
        let author = [field(1, b"someone"), field(3, &[7; 8]), field(5, &[9; 64])].concat();
        field(2, &[author, field(2, data), field(4, topic.as_bytes())].concat())
    }
    /// "I have these."
    pub fn ihave(topic: &str, ids: &[[u8; 32]]) -> Vec<u8> {
        let ids: Vec<u8> = ids.iter().flat_map(|id| field(2, id)).collect();
        field(3, &field(1, &[field(1, topic.as_bytes()), ids].concat()))
    }
    /// "Send me these."
    pub fn iwant(ids: &[[u8; 32]]) -> Vec<u8> {
        field(3, &field(2, &ids.iter().flat_map(|id| field(1, id)).collect::<Vec<u8>>()))
    }
    /// "Take me into your mesh."
    pub fn graft(topic: &str) -> Vec<u8> {
        field(3, &field(3, &field(1, topic.as_bytes())))
    }
    /// "I take you out of mine, and do not come back for so many seconds; try these peers."
    pub fn prune(topic: &str, backoff_secs: u64, peers: &[Vec<u8>]) -> Vec<u8> {
        let peers: Vec<u8> = peers.iter().flat_map(|peer| field(2, &field(1, peer))).collect();
        field(3, &field(4, &[field(1, topic.as_bytes()), peers, number(3, backoff_secs)].concat()))
    }
    /// "Do not send me these."
    pub fn idontwant(ids: &[[u8; 32]]) -> Vec<u8> {
        field(3, &field(5, &ids.iter().flat_map(|id| field(1, id)).collect::<Vec<u8>>()))
    }
}
