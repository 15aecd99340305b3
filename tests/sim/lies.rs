//! What nodes that lie answer (see `byzantine`).

use qasedak_chain::{Transaction, time::DAY_SECS};
use qasedak_engine::wire::{DayDigest, Place, Response};
use rand::RngExt;

use crate::{
    byzantine::Vice,
    stamped,
    world::{World, start},
};

/// The version byte of a message of a reconciliation.
const NEGENTROPY_V1: u8 = 0x61;
/// The mode of a range that lists what is in it.
const ID_LIST: u8 = 2;

impl World {
    /// What it answers instead; `None` when it keeps silent.
    pub fn twist(&mut self, at: usize, response: Response, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let liar = self.nodes[at].liar.as_ref()?;
        let vice = liar.vices[self.rng.random_range(0..liar.vices.len())];
        let twisted = match vice {
            Vice::Withhold => match (self.rng.random_range(0..4), &response) {
                (0, _) => return None,
                (1, _) => Response::Busy,
                (_, Response::Transactions(_)) => Response::Transactions(Vec::new()),
                _ => return Some(bytes),
            },
            Vice::Lie if self.rng.random_range(0..2) == 0 => self.lie(response),
            Vice::Garbage if self.rng.random_range(0..3) == 0 => self.spoil(response)?,
            Vice::WrongBody => self.without_bodies(response),
            Vice::Resign => Self::list_resigned(response),
            Vice::Drip => match response {
                Response::Transactions(list) => Response::Transactions(list.into_iter().take(1).collect()),
                _ => return Some(bytes),
            },
            _ => return Some(bytes),
        };
        Some(twisted.to_bytes().unwrap_or_else(|_| vec![0xff; 40]))
    }

    fn lie(&mut self, response: Response) -> Response {
        let day = start().day();
        let number = self.rng.random_range(0..40);
        let (id, digest): ([u8; 32], [u8; 32]) = (self.rng.random(), self.rng.random());
        match (self.rng.random_range(0..5), response) {
            (0, Response::Digest { .. }) => Response::Days(Vec::new()),
            (_, Response::Digest { count, .. }) => Response::Digest { count: count + number, digest },
            (0, Response::Days(_)) => Response::Digest { count: number, digest },
            (_, Response::Days(mut days)) => {
                days.iter_mut().for_each(|day| day.digest[0] ^= 1);
                let last = days.last().map_or(day, |last| last.day);
                days.push(DayDigest { day: last + 1 + number, count: number + 1, digest });
                Response::Days(days)
            }
            (0, Response::Day(_)) => Response::Day(Vec::new()),
            (1, Response::Day(_)) => Response::Transactions(Vec::new()),
            (_, Response::Day(mut places)) => {
                let time = places.last().map_or(day * DAY_SECS, |last| last.time);
                let depth = places.last().map_or(1, |last| last.depth + 1);
                places.push(Place { time, depth, id });
                Response::Day(places)
            }
            (0, Response::Transactions(mut list)) => {
                list.reverse();
                Response::Transactions(list)
            }
            (1, Response::Transactions(mut list)) => {
                list.extend(stamped::all().sound.iter().map(Transaction::to_bytes));
                Response::Transactions(list)
            }
            (_, Response::Transactions(_)) => Response::Transactions(Vec::new()),
            (what, Response::Reconciled(message)) => Response::Reconciled(self.misreconcile(what, message)),
            (_, other) => other,
        }
    }

    /// A message of a reconciliation that is changed, says that nothing differs, names what is not there, or is none.
    fn misreconcile(&mut self, what: u32, message: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let mut message = message?;
        match what {
            0 => message[..1].to_vec().into(),
            1 => {
                let at = self.rng.random_range(0..message.len());
                message[at] ^= 1 << self.rng.random_range(0..8);
                Some(message)
            }
            2 => {
                let count = self.rng.random_range(1..100_u8);
                let mut made_up = vec![NEGENTROPY_V1, 0, 0, ID_LIST, count];
                made_up.extend((0..usize::from(count) * 8).map(|_| self.rng.random::<u8>()));
                Some(made_up)
            }
            3 => {
                message.truncate(self.rng.random_range(0..message.len()));
                Some(message)
            }
            _ => None,
        }
    }

    /// Lists transactions that stand under another one's stamp, on the day of that.
    fn list_resigned(response: Response) -> Response {
        let Response::Day(mut places) = response else {
            return response;
        };
        let of_day = places.first().map(|place| place.time / DAY_SECS);
        for one in &stamped::all().resigned {
            let time = one.core().time().secs();
            if Some(time / DAY_SECS) == of_day {
                places.push(Place { time, depth: 1, id: *one.id().as_bytes() });
            }
        }
        places.sort();
        Response::Day(places)
    }

    /// One transaction of a page is broken, or the whole answer is.
    fn spoil(&mut self, response: Response) -> Option<Response> {
        let broken = &stamped::all().broken;
        let bytes = broken[self.rng.random_range(0..broken.len())].clone();
        match response {
            Response::Transactions(mut list) if !list.is_empty() => {
                let at = self.rng.random_range(0..list.len());
                list[at] = bytes;
                Some(Response::Transactions(list))
            }
            other => Some(other),
        }
    }

    /// Right headers, and no bodies or wrong ones.
    fn without_bodies(&mut self, response: Response) -> Response {
        let Response::Transactions(mut list) = response else {
            return response;
        };
        let wrong = self.rng.random_range(0..8) == 0;
        for bytes in &mut list {
            let Ok(transaction) = Transaction::from_bytes(&self.network, bytes) else {
                continue;
            };
            if wrong {
                *bytes.last_mut().unwrap() ^= 1;
            } else if transaction.body().is_some() {
                bytes.truncate(bytes.len() - 512);
            }
        }
        Response::Transactions(list)
    }
}
