//! What the records of a header segment say (`docs/storage.md`, "Records").

use super::{COMMIT_BYTES, Fields, KIND_COMMIT, KIND_LATE_BODY, KIND_TRANSACTION, TRANSACTION_FIXED_BYTES};
use crate::{
    ids::{Depth, Link, TxId},
    store::CommitPoint,
    time::Time,
};

/// Bytes of the payload of a body that came later.
const LATE_BODY_BYTES: usize = 20;
/// `body_day` of a record without a body.
const NO_BODY: u32 = u32::MAX;

/// Where a body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The day that names the file.
    pub(crate) day: u32,
    /// The day's part in the upper 24 bits, the offset of its record in that in the lower 40.
    pub(crate) offset: u64,
}

/// A transaction record of a header segment, its header not yet decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransactionEntry<'a> {
    pub(crate) position: u64,
    pub(crate) id: TxId,
    pub(crate) arrival: Time,
    pub(crate) depth: Depth,
    pub(crate) place: Option<Place>,
    pub(crate) header: &'a [u8],
}

impl TransactionEntry<'_> {
    /// The payload before the header: position | id | arrival | depth | body day | body offset.
    pub(crate) fn fixed(&self) -> [u8; TRANSACTION_FIXED_BYTES] {
        let (day, offset) = self.place.map_or((NO_BODY, 0), |place| (place.day, place.offset));
        let mut fixed = [0; TRANSACTION_FIXED_BYTES];
        let mut rest = &mut fixed[..];
        let parts: [&[u8]; 6] = [
            &self.position.to_le_bytes(),
            self.id.as_bytes(),
            &self.arrival.secs().to_le_bytes(),
            &self.depth.get().to_le_bytes(),
            &day.to_le_bytes(),
            &offset.to_le_bytes(),
        ];
        for part in parts {
            if let Some((to, left)) = std::mem::take(&mut rest).split_at_mut_checked(part.len()) {
                to.copy_from_slice(part);
                rest = left;
            }
        }
        fixed
    }
}

/// What a record of a header segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    Transaction(TransactionEntry<'a>),
    /// The body of an earlier record has come.
    LateBody {
        position: u64,
        place: Place,
    },
    Commit(CommitPoint),
}

impl<'a> Entry<'a> {
    /// Reads a payload; `None` when it is no known kind or not exactly one.
    pub(crate) fn parse(kind: u8, payload: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(payload);
        match kind {
            KIND_TRANSACTION => Self::parse_transaction(fields),
            KIND_LATE_BODY if payload.len() == LATE_BODY_BYTES => {
                let position = fields.u64()?;
                Some(Self::LateBody { position, place: Place { day: fields.u32()?, offset: fields.u64()? } })
            }
            KIND_COMMIT if payload.len() == COMMIT_BYTES => Some(Self::Commit(CommitPoint {
                count: fields.u64()?,
                link: Link::from_bytes(fields.take()?),
                time: Time::from_secs(fields.u64()?),
            })),
            _ => None,
        }
    }

    fn parse_transaction(mut fields: Fields<'a>) -> Option<Self> {
        let position = fields.u64()?;
        let id = TxId::from_bytes(fields.take()?);
        let arrival = Time::from_secs(fields.u64()?);
        let depth = Depth::new(fields.u64()?);
        let (day, offset) = (fields.u32()?, fields.u64()?);
        let place = match (day, offset) {
            (NO_BODY, 0) => None,
            (NO_BODY, _) => return None,
            (day, offset) => Some(Place { day, offset }),
        };
        Some(Self::Transaction(TransactionEntry { position, id, arrival, depth, place, header: fields.0 }))
    }

    /// Kind and payload, as [`parse`](Self::parse) reads them.
    pub(crate) fn to_payload(self) -> (u8, Vec<u8>) {
        match self {
            Self::Transaction(entry) => (KIND_TRANSACTION, [&entry.fixed()[..], entry.header].concat()),
            Self::LateBody { position, place } => {
                let parts: [&[u8]; 3] =
                    [&position.to_le_bytes(), &place.day.to_le_bytes(), &place.offset.to_le_bytes()];
                (KIND_LATE_BODY, parts.concat())
            }
            Self::Commit(point) => {
                let parts: [&[u8]; 3] =
                    [&point.count.to_le_bytes(), point.link.as_bytes(), &point.time.secs().to_le_bytes()];
                (KIND_COMMIT, parts.concat())
            }
        }
    }
}
