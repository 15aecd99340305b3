//! Messages of negentropy as they go over the wire: those of its protocol V1, with [`Alias`]es of 8 bytes where V1 has
//! ids of 32 (`docs/protocol.md`, "Reconciliation").
//!
//! The `negentropy` crate speaks V1 with ids that end in 24 zeros. [`shrink`] leaves the zeros out, [`expand`] puts them
//! back. What a peer sends is parsed here, strictly, before the crate sees it: every integer in its shortest form, no
//! list that claims more than there is, nothing behind the last range.

use std::collections::BTreeMap;

use negentropy::ID_SIZE;

use crate::wire::{ALIAS_BYTES, Alias};

/// The first byte of every message.
const VERSION: u8 = 0x61;
/// Bytes of a fingerprint.
const FINGERPRINT_BYTES: usize = negentropy::FINGERPRINT_SIZE;
/// Modes of a range.
const SKIP: u64 = 0;
const FINGERPRINT: u64 = 1;
const ID_LIST: u64 = 2;

/// Where an alias was listed: the upper bound of its range, and its number there. Ranges ascend and do not overlap, and
/// lists follow the order of [`rank`](super::view::rank): so this orders what was listed, parents before children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListedAt {
    upper: (u64, [u8; ALIAS_BYTES]),
    nth: usize,
}

/// What a peer sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    /// The message as the crate takes it.
    pub(super) message: Vec<u8>,
    /// What its lists name.
    pub(super) listed: BTreeMap<Alias, ListedAt>,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn alias(&mut self) -> Option<[u8; ALIAS_BYTES]> {
        self.take(ALIAS_BYTES)?.try_into().ok()
    }

    /// Base 128, highest digit first, all but the last byte with the high bit; in the shortest form only.
    fn integer(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        let mut first = true;
        loop {
            let byte = self.take(1)?.first().copied()?;
            if value >> 57 != 0 || (first && byte == 0x80) {
                return None;
            }
            first = false;
            value = value << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    }

    /// A bound: the step from the last one, and the beginning of an id.
    fn bound(&mut self) -> Option<(u64, &'a [u8])> {
        let step = self.integer()?;
        let length = usize::try_from(self.integer()?).ok()?;
        Some((step, self.take(length)?))
    }
}

fn put_integer(out: &mut Vec<u8>, value: u64) {
    let digits = (u64::BITS.saturating_sub(value.leading_zeros())).div_ceil(7).max(1);
    for digit in (0..digits).rev() {
        let byte = (value >> digit.saturating_mul(7)) as u8 & 0x7f;
        out.push(if digit == 0 { byte } else { byte | 0x80 });
    }
}

fn put_bound(out: &mut Vec<u8>, step: u64, prefix: &[u8]) {
    put_integer(out, step);
    put_integer(out, prefix.len() as u64);
    out.extend_from_slice(prefix);
}

/// Leaves out what is always zero. `None` when this is no message of the crate's over aliases.
pub(super) fn shrink(message: &[u8]) -> Option<Vec<u8>> {
    let mut input = Reader(message);
    let mut out = input.take(1)?.to_vec();
    while !input.0.is_empty() {
        let (step, prefix) = input.bound()?;
        put_bound(&mut out, step, prefix.get(..ALIAS_BYTES).unwrap_or(prefix));
        let mode = input.integer()?;
        put_integer(&mut out, mode);
        match mode {
            SKIP => {}
            FINGERPRINT => out.extend_from_slice(input.take(FINGERPRINT_BYTES)?),
            ID_LIST => {
                let count = input.integer()?;
                put_integer(&mut out, count);
                for _ in 0..count {
                    out.extend_from_slice(input.take(ID_SIZE)?.get(..ALIAS_BYTES)?);
                }
            }
            _ => return None,
        }
    }
    Some(out)
}

/// Reads what a peer sent. `None` when it is malformed.
pub(super) fn expand(bytes: &[u8]) -> Option<Expanded> {
    let mut input = Reader(bytes);
    if input.take(1)? != [VERSION] {
        return None;
    }
    let mut message = vec![VERSION];
    let mut listed = BTreeMap::new();
    let mut rank = 0_u64;
    while !input.0.is_empty() {
        let (step, prefix) = input.bound()?;
        put_bound(&mut message, step, prefix);
        // A step of 0 is the end of everything; else it is one more than the way from the last bound.
        rank = step.checked_sub(1).map_or(u64::MAX, |step| rank.saturating_add(step));
        let mut upper = (rank, [0; ALIAS_BYTES]);
        upper.1.get_mut(..prefix.len())?.copy_from_slice(prefix);
        let mode = input.integer()?;
        put_integer(&mut message, mode);
        match mode {
            SKIP => {}
            FINGERPRINT => message.extend_from_slice(input.take(FINGERPRINT_BYTES)?),
            ID_LIST => {
                let count = usize::try_from(input.integer()?).ok()?;
                if count > input.0.len() / ALIAS_BYTES {
                    return None;
                }
                put_integer(&mut message, count as u64);
                for nth in 0..count {
                    let alias = input.alias()?;
                    message.extend_from_slice(&alias);
                    message.resize(message.len().saturating_add(ID_SIZE - ALIAS_BYTES), 0);
                    listed.entry(Alias::from_bytes(alias)).or_insert(ListedAt { upper, nth });
                }
            }
            _ => return None,
        }
    }
    Some(Expanded { message, listed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_have_one_form() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_integer(&mut bytes, value);
            let mut reader = Reader(&bytes);
            assert_eq!((reader.integer(), reader.0.len()), (Some(value), 0));
        }
        let longest = [[0xff; 8].as_slice(), &[0x7f]].concat();
        for bytes in [
            &[0x80, 0x01][..],
            &[0x81],
            &[],
            &[0xff; 12],
            &[0x83, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ] {
            assert_eq!(Reader(bytes).integer(), None, "{bytes:?}");
        }
        assert_eq!(Reader(&longest).integer(), Some(u64::MAX >> 1));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let fingerprint = [&[VERSION, 0, 0, 1][..], &[9; 16]].concat();
        let list = [&[VERSION, 0, 0, 2, 1][..], &[9; 8]].concat();
        assert!(expand(&fingerprint).is_some() && expand(&list).is_some() && expand(&[VERSION]).is_some());
        let nine = [&[VERSION, 5, 9][..], &[1; 9], &[0]].concat();
        let greedy = [&[VERSION, 0, 0, 2, 2][..], &[9; 8]].concat();
        let huge = [VERSION, 0, 0, 2, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
        for bytes in [&[][..], &[0x60], &[VERSION, 0], &[VERSION, 0, 0, 3], &nine, &greedy, &huge, &fingerprint[..19]] {
            assert_eq!(expand(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        /// Whatever bytes come: what is accepted comes back byte for byte.
        #[test]
        fn what_is_read_is_written_again(bytes in proptest::collection::vec(any::<u8>(), 0..200), small in any::<bool>()) {
            let mut bytes = bytes;
            if small {
                bytes.iter_mut().for_each(|byte| *byte &= 3);
            }
            bytes.insert(0, VERSION);
            if let Some(expanded) = expand(&bytes) {
                prop_assert_eq!(shrink(&expanded.message), Some(bytes));
            }
        }
    }
}
