//! Framing: the file header that every file of the store begins with, and records with their checks
//! (`docs/storage.md`, "Files" and "Records").
//!
//! A record is `len u32 | kind u8 | payload | check [8]`; the check covers the file's identity, the record's offset
//! in it, and every byte of the record, so that no byte can change and no record can be moved unseen. It tells what a disk
//! did. What somebody changed who can write a check as well, ids, links and signatures tell (decision 0052).

use twox_hash::XxHash64;

pub(crate) use self::entry::{Entry, Place, TransactionEntry};
use crate::{
    hash::{Beginning, Context, hash_prefix},
    ids::{LedgerId, Link, TxId},
    store::StoreError,
    transaction::{HEADER_MAX_BYTES, body_hash_in as body_hash},
};

mod entry;

/// Format of these files but for those below. A file of a later format is left alone.
pub(crate) const FORMAT: u32 = 1;
/// Format of header segments. Those of format 1, whose records have another check, are read, and written to, as they are.
const HEADERS_FORMAT: u32 = 2;
/// Format of files of bodies. Those of formats 1 and 2 are read, and written to, as they are.
const BODIES_FORMAT: u32 = 3;
/// In which the check of a body is a hash, over the body's hash.
const HASHED_BODIES_FORMAT: u32 = 2;
/// Format of runs. Those of earlier formats are made anew from the log when the store is opened.
const RUN_FORMAT: u32 = 3;
/// Format of what is kept of blocks. What has another one is made anew when it is asked for.
const BLOCK_FORMAT: u32 = 2;
/// What is wrong with a file in a form that is not read any more.
pub(super) const EARLIER: &str = "the file is in the form of an earlier version";
/// Bytes of a file header.
pub(crate) const FILE_HEADER_BYTES: usize = 128;
/// Bytes of a record beside its payload: len, kind and check.
pub(crate) const FRAME_BYTES: usize = 13;
/// Bytes of a check.
pub(crate) const CHECK_BYTES: usize = 8;
/// Magic of the scan column before its entries had checks. The next start makes it anew.
const EARLIER_SCAN: [u8; 8] = *b"qasedaks";
/// Bytes of a file header that identify the file: all up to and with its number.
pub(crate) const IDENTITY_BYTES: usize = 68;

/// Kinds of records in header segments, of the one kind in body files, and of the one kind in `dropped`.
pub(crate) const KIND_TRANSACTION: u8 = 1;
pub(crate) const KIND_LATE_BODY: u8 = 2;
pub(crate) const KIND_COMMIT: u8 = 3;
pub(crate) const KIND_BODY: u8 = 4;
pub(crate) const KIND_EARLY: u8 = 5;
/// The one kind of record in `mark`.
pub(crate) const KIND_MARK: u8 = 6;

/// Bytes of a transaction record's payload before its header.
pub(crate) const TRANSACTION_FIXED_BYTES: usize = 68;
/// Bytes of a commit marker's payload.
pub(crate) const COMMIT_BYTES: usize = 48;
/// Bytes of a whole commit marker.
pub(crate) const COMMIT_RECORD_BYTES: usize = COMMIT_BYTES + FRAME_BYTES;
/// Bytes of the longest payload in a header segment.
pub(crate) const PAYLOAD_MAX_BYTES: usize = TRANSACTION_FIXED_BYTES + HEADER_MAX_BYTES;

/// Bytes of a body's record before the body: len, kind and id.
pub(crate) const BODY_HEAD_BYTES: usize = 37;

/// What stands before a body in its record.
pub(crate) fn body_head(id: &TxId, body: &[u8]) -> [u8; BODY_HEAD_BYTES] {
    let len = u32::try_from(body.len().saturating_add(id.as_bytes().len())).unwrap_or(u32::MAX);
    joined(&[&len.to_le_bytes(), &[KIND_BODY], id.as_bytes()])
}

/// What a file of the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Header segment; its number is its first position.
    Headers,
    /// The same in format 1, in which a check is a hash.
    EarlierHeaders,
    /// Offsets of the records of one header segment; its number is that segment's first position.
    Offsets,
    /// A part of the bodies that go on one day; its number is day and part (`bodies::Part::number`).
    Bodies,
    /// The same in format 2, in which a check is a hash.
    HashedBodies,
    /// The same in format 1, in which that covers a body's bytes and not its hash.
    EarlierBodies,
    /// How far bodies have been dropped; its number is that of the first part that has not been.
    Dropped,
    /// Scan column; its number is 0.
    Scan,
    /// Run of the index; its number is its first position.
    Run,
    /// Tree column; its number is 0.
    Tree,
    /// What is kept of a block; its number is the block's.
    Block,
    /// How far a header segment was checked; its number is that segment's first position.
    Mark,
    /// Checkpoints and evidence; its number is 0, and so is its log id: it belongs to no log.
    Checkpoints,
    /// Journal of the outbox; its number is its generation, its log id 0: it belongs to no log.
    Outbox,
    /// Journal of a wallet, likewise.
    Wallet,
    /// Journal of what was found for a scan key, likewise.
    Found,
}

impl FileKind {
    const fn magic(self) -> [u8; 8] {
        match self {
            FileKind::Headers | FileKind::EarlierHeaders => *b"qasedakh",
            FileKind::Offsets => *b"qasedako",
            FileKind::Bodies | FileKind::HashedBodies | FileKind::EarlierBodies => *b"qasedakb",
            FileKind::Dropped => *b"qasedakd",
            FileKind::Scan => *b"qasedakc",
            FileKind::Run => *b"qasedakr",
            FileKind::Tree => *b"qasedakt",
            FileKind::Block => *b"qasedakm",
            FileKind::Mark => *b"qasedakk",
            FileKind::Checkpoints => *b"qasedakw",
            FileKind::Outbox => *b"qasedakp",
            FileKind::Wallet => *b"qasedakv",
            FileKind::Found => *b"qasedakf",
        }
    }

    const fn format(self) -> u32 {
        match self {
            FileKind::Headers => HEADERS_FORMAT,
            FileKind::Bodies => BODIES_FORMAT,
            FileKind::HashedBodies => HASHED_BODIES_FORMAT,
            FileKind::Run => RUN_FORMAT,
            FileKind::Block => BLOCK_FORMAT,
            _ => FORMAT,
        }
    }

    /// The kind that a file of this kind is in another format, if there ever was that.
    fn in_format(self, format: u32) -> Option<Self> {
        let earlier: &[Self] = match self {
            FileKind::Headers => &[FileKind::EarlierHeaders],
            FileKind::Bodies => &[FileKind::HashedBodies, FileKind::EarlierBodies],
            _ => &[],
        };
        [self].iter().chain(earlier).find(|kind| kind.format() == format).copied()
    }
}

/// What a file header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) kind: FileKind,
    pub(crate) ledger: LedgerId,
    pub(crate) log_id: [u8; 16],
    pub(crate) number: u64,
    /// The link before the first record of a header segment; the ledger id in other files.
    pub(crate) link: Link,
}

/// What is wrong with a file header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Its bytes are not what was written.
    Damaged(String),
    /// It belongs to something else.
    Foreign(String),
    /// A later version wrote it.
    Newer(String),
    /// An earlier version wrote it, in a form that is not read any more.
    Earlier,
}

impl HeaderFault {
    pub(crate) fn into_error(self, path: &std::path::Path) -> StoreError {
        let path = path.display().to_string();
        match self {
            Self::Damaged(what) => StoreError::Damaged { path, offset: 0, what },
            Self::Earlier => StoreError::Damaged { path, offset: 0, what: EARLIER.to_owned() },
            Self::Foreign(what) | Self::Newer(what) => StoreError::Foreign { path, what },
        }
    }
}

impl FileHeader {
    pub(crate) fn identity(&self) -> [u8; IDENTITY_BYTES] {
        joined(&[
            &self.kind.magic(),
            &self.kind.format().to_le_bytes(),
            self.ledger.as_bytes(),
            &self.log_id,
            &self.number.to_le_bytes(),
        ])
    }

    /// The 128 bytes: identity | link | 20 zero bytes | check.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = [&self.identity()[..], self.link.as_bytes(), &[0; 20]].concat();
        let check: [u8; CHECK_BYTES] = hash_prefix(Context::Record, &[&bytes]);
        bytes.extend_from_slice(&check);
        bytes
    }

    /// Reads a file header at the start of `bytes`.
    pub(crate) fn parse(kind: FileKind, ledger: LedgerId, bytes: &[u8]) -> Result<Self, HeaderFault> {
        let damaged = |what: &str| HeaderFault::Damaged(what.to_owned());
        let bytes = bytes.get(..FILE_HEADER_BYTES).ok_or_else(|| damaged("the file header is cut short"))?;
        let Some(covered) = checked(bytes) else {
            return Err(damaged("the file header fails its check"));
        };
        let mut rest = Fields(covered);
        let (Some(magic), Some(format), Some(found), Some(log_id), Some(number), Some(link)) =
            (rest.take(), rest.u32(), rest.take(), rest.take(), rest.u64(), rest.take())
        else {
            return Err(damaged("the file header is cut short"));
        };
        // First of all: what a later version means by the rest is not known here.
        if format > kind.format() {
            return Err(HeaderFault::Newer(newer_format(format, kind.format())));
        }
        if magic != kind.magic() {
            return Err(damaged("the file is of another kind"));
        }
        let Some(kind) = kind.in_format(format) else {
            return Err(if format == 0 {
                damaged("the file has a format that never was")
            } else {
                HeaderFault::Earlier
            });
        };
        if LedgerId::from_bytes(found) != ledger {
            let what = "belongs to another network; choose that one with --network, or another directory with --data";
            return Err(HeaderFault::Foreign(what.to_owned()));
        }
        Ok(Self { kind, ledger, log_id, number, link: Link::from_bytes(link) })
    }

    /// The framing of this file's records.
    pub(crate) fn framing(&self) -> Framing {
        let identity = self.identity();
        let checks = match self.kind {
            FileKind::Headers | FileKind::Bodies => Checks::Sums(identity),
            _ => Checks::Hashes(Box::new(Beginning::new(Context::Record, &identity))),
        };
        Framing { checks, ledger: self.ledger, kind: self.kind }
    }
}

/// How the checks of a file's records are made; both begin with the file's identity.
#[derive(Clone)]
enum Checks {
    /// The first 8 bytes of a hash.
    Hashes(Box<Beginning>),
    /// XXH64 (xxHash's specification, "XXH64 algorithm description"), little-endian, with a seed that follows from
    /// identity and offset.
    Sums([u8; IDENTITY_BYTES]),
}

impl Checks {
    /// The check over the identity, an offset, and bytes that stand there.
    fn over(&self, offset: u64, covered: &[u8]) -> [u8; CHECK_BYTES] {
        match self {
            Self::Hashes(identity) => identity.hash_prefix(&[&offset.to_le_bytes(), covered]),
            Self::Sums(identity) => XxHash64::oneshot(XxHash64::oneshot(offset, identity), covered).to_le_bytes(),
        }
    }
}

/// What the check at the end of a file header covers, if it is right.
fn checked(header: &[u8]) -> Option<&[u8]> {
    let (covered, check) = header.split_last_chunk::<CHECK_BYTES>()?;
    (hash_prefix::<CHECK_BYTES>(Context::Record, &[covered]) == *check).then_some(covered)
}

/// Whether a scan column is of the earlier layout. Its magic alone does not say so: it is one bit away from that of now.
pub(crate) fn is_earlier_scan(header: &[u8]) -> bool {
    let header = header.get(..FILE_HEADER_BYTES).and_then(checked);
    header.is_some_and(|covered| covered.starts_with(&EARLIER_SCAN))
}

/// What is said of a file that a later version wrote.
pub(super) fn newer_format(format: u32, known: u32) -> String {
    format!("written by a newer version (format {format}, this one knows {known}); use that one")
}

/// Byte strings one behind the other, which have `N` bytes together.
#[inline]
pub(crate) fn joined<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    let mut rest = &mut bytes[..];
    for part in parts {
        if let Some((to, left)) = std::mem::take(&mut rest).split_at_mut_checked(part.len()) {
            to.copy_from_slice(part);
            rest = left;
        }
    }
    bytes
}

/// Takes fixed-size little-endian fields off the front of a byte string.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// Writes and reads records of one file.
#[derive(Clone)]
pub(crate) struct Framing {
    checks: Checks,
    ledger: LedgerId,
    kind: FileKind,
}

/// A record whose check is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes of the whole record.
    pub(crate) fn len(&self) -> usize {
        self.payload.len().saturating_add(FRAME_BYTES)
    }
}

impl Framing {
    /// The check over the identity, an offset, and bytes that stand there.
    pub(crate) fn check(&self, offset: u64, covered: &[u8]) -> [u8; CHECK_BYTES] {
        self.checks.over(offset, covered)
    }

    /// The bytes of a record that will stand at `offset` of the file.
    pub(crate) fn frame(&self, offset: u64, kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(payload.len().saturating_add(FRAME_BYTES));
        self.frame_into(&mut bytes, offset, kind, &[payload]);
        bytes
    }

    /// Appends the bytes of a record that will stand at `offset` of the file and whose payload comes in parts.
    pub(crate) fn frame_into(&self, bytes: &mut Vec<u8>, offset: u64, kind: u8, payload: &[&[u8]]) {
        let start = bytes.len();
        let len = payload.iter().map(|part| part.len()).fold(0, usize::saturating_add);
        bytes.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        bytes.push(kind);
        payload.iter().for_each(|part| bytes.extend_from_slice(part));
        let check = self.check(offset, bytes.get(start..).unwrap_or_default());
        bytes.extend_from_slice(&check);
    }

    /// The check of the record of a body that will stand at `offset` of the file; `head` is what stands before the body.
    /// `body_hash` is the one that its header names: it was checked when the body came, so that nothing of the body is
    /// hashed here.
    pub(crate) fn body_check(
        &self,
        offset: u64,
        head: &[u8; BODY_HEAD_BYTES],
        body: &[u8],
        body_hash: &[u8; 32],
    ) -> [u8; CHECK_BYTES] {
        match self.kind {
            FileKind::EarlierBodies => self.check(offset, &[head, body].concat()),
            _ => self.check_by_hash(offset, head, body_hash),
        }
    }

    /// The check of a body's record: over what stands before the body, and the body's hash.
    fn check_by_hash(&self, offset: u64, head: &[u8; BODY_HEAD_BYTES], body_hash: &[u8; 32]) -> [u8; CHECK_BYTES] {
        self.checks.over(offset, &joined::<{ BODY_HEAD_BYTES + 32 }>(&[head, body_hash]))
    }

    /// Reads the record of a body of `len` bytes, which is all of `bytes` and stands at `offset` of the file. Gives the id
    /// and the body.
    pub(crate) fn read_body<'a>(
        &self,
        offset: u64,
        bytes: &'a [u8],
        len: usize,
    ) -> Result<([u8; 32], &'a [u8]), &'static str> {
        const OTHER: &str = "there is no body of this length here";
        let max = len.saturating_add(32);
        if self.kind == FileKind::EarlierBodies {
            let frame = self.read(offset, bytes, max)?;
            let (id, body) = frame.payload.split_first_chunk().filter(|_| frame.kind == KIND_BODY).ok_or(OTHER)?;
            return Ok((*id, body));
        }
        let (head, rest) = bytes.split_first_chunk::<BODY_HEAD_BYTES>().ok_or("a record is cut short")?;
        let mut fields = Fields(head);
        let is_body =
            fields.u32().is_some_and(|found| u32::try_from(max) == Ok(found)) && fields.u8() == Some(KIND_BODY);
        let id = fields.take::<32>().filter(|_| is_body).ok_or(OTHER)?;
        let (body, check) = rest.split_at_checked(len).ok_or("a record is cut short")?;
        if self.check_by_hash(offset, head, &body_hash(self.ledger, body)) != check {
            return Err("a record fails its check");
        }
        Ok((id, body))
    }

    /// Reads the record at the start of `bytes`, which stands at `offset` of the file.
    pub(crate) fn read<'a>(&self, offset: u64, bytes: &'a [u8], max: usize) -> Result<Frame<'a>, &'static str> {
        const SHORT: &str = "a record is cut short";
        let mut fields = Fields(bytes);
        let len = fields.u32().ok_or(SHORT)?;
        let kind = fields.u8().ok_or(SHORT)?;
        let len = usize::try_from(len).ok().filter(|len| *len <= max).ok_or("a record has an impossible length")?;
        let end = len.saturating_add(FRAME_BYTES);
        let (covered, check) =
            bytes.get(..end).and_then(|whole| whole.split_at_checked(end.saturating_sub(CHECK_BYTES))).ok_or(SHORT)?;
        if self.check(offset, covered) != check {
            return Err("a record fails its check");
        }
        Ok(Frame { kind, payload: covered.get(5..).unwrap_or_default() })
    }
}

#[cfg(test)]
#[path = "segment/tests.rs"]
mod tests;
