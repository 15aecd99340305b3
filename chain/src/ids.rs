//! Newtypes for hashes and counters, so that no two of them can be mixed up.

use std::{cmp::Ordering, fmt, str::FromStr};

macro_rules! hash_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps 32 bytes as they stand on the wire.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
            /// The 32 bytes as they stand on the wire.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }
        // The order of the bytes. Hashes mostly differ in the first eight.
        impl Ord for $name {
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                words(&self.0).cmp(words(&other.0))
            }
        }
        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
        impl FromStr for $name {
            type Err = ParseHashError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseHashError)?;
                Ok(Self(bytes))
            }
        }
    };
}

/// The bytes of a hash as numbers that are ordered as they are.
#[inline]
fn words(bytes: &[u8; 32]) -> impl Iterator<Item = u64> + '_ {
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_be_bytes(*word))
}

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits; copy the whole value")]
pub struct ParseHashError;

hash_newtype!(
    /// A transaction's id: `H("id", ledger, header)`.
    TxId
);
hash_newtype!(
    /// A network's identity: the hash of its genesis record. Mixed into every hash, never sent.
    LedgerId
);
hash_newtype!(
    /// Value of a node's log chain after some position: `H("link", previous link, id)`.
    Link
);
hash_newtype!(
    /// Root of a Merkle tree in the shape of RFC 9162.
    Root
);
hash_newtype!(
    /// Order-independent digest of a set of transactions: `H("digest", LtHash state)`.
    Digest
);
hash_newtype!(
    /// Value of the chain over derived blocks.
    Chain
);

macro_rules! counter_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a plain number.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }
            /// The plain number.
            pub const fn get(self) -> u64 {
                self.0
            }
            /// The next one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter_newtype!(
    /// Index of a transaction in one node's log, from 0; parents always come first.
    Position
);
counter_newtype!(
    /// 1 + the greatest depth among the parents; genesis has 0.
    Depth
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Ids are ordered as their bytes are, whichever is the first that differs.
        #[test]
        fn the_order_is_that_of_the_bytes(one: [u8; 32], alike in 0..33usize, other: [u8; 32]) {
            let mut near = one;
            near.iter_mut().zip(other).skip(alike).for_each(|(to, from)| *to = from);
            prop_assert_eq!(TxId(one).cmp(&TxId(near)), one.cmp(&near));
            prop_assert_eq!(TxId(one).partial_cmp(&TxId(near)), one.partial_cmp(&near));
        }
    }
}
