//! `status`: how the running node is, and what takes its disk.

use qasedak_chain::Time;

use super::{
    Context,
    client::Client,
    output::{Output, bytes, fields},
};
use crate::{
    api::types::{Disk, Intake, NextEarly, Retention, Status, Sync},
    failure::Outcome,
    harden::KEYS_NOT_LOCKED,
};

pub(super) fn show(context: &Context, client: &Client) -> Outcome {
    let status: Status = client.get("/v1/status")?;
    context.output.show(&status, |status| text(context.output, status))
}

fn text(output: Output, status: &Status) -> String {
    let block = status.newest_block.as_ref();
    let mut rows = vec![
        ("network", status.network.clone()),
        ("address", status.address.clone().unwrap_or_else(|| "none: this is a relay".to_owned())),
        ("transactions", status.transactions.to_string()),
        ("digest", status.digest.clone()),
        ("root", status.root.clone()),
        ("link", status.link.clone()),
        ("newest block", block.map_or("none".to_owned(), |block| format!("{} ({})", block.number, block.state))),
        ("chain", block.map_or("none".to_owned(), |block| block.chain.clone())),
        ("frontier", status.frontier.to_string()),
        ("outbox", status.outbox.to_string()),
        ("waiting", status.waiting.to_string()),
        ("bodies wanted", format!("{}, {} fetched again", status.bodies_wanted, status.bodies_repaired)),
        ("peers", format!("{}{}", status.peers, status.sync.as_ref().map_or(String::new(), catching_up))),
        ("daily budget", intake(&status.intake)),
        ("disk", disk(&status.disk)),
        ("bodies", bodies(&status.disk, &status.retention)),
    ];
    rows.extend(
        status
            .keys_locked
            .map(|locked| ("keys", if locked { "locked in memory".to_owned() } else { output.bad(KEYS_NOT_LOCKED) })),
    );
    rows.extend(status.key_warnings.filter(|count| *count > 0).map(|count| {
        let text = format!("WARNING: something is odd about those of {count} contacts; see qasedak contact list");
        ("their keys", output.bad(&text))
    }));
    rows.extend(status.disk_failing.iter().map(|failing| {
        let since = Time::from_secs(failing.since);
        let text = format!("failing since {since}: {}; nothing new is taken in until it is well", failing.reason);
        ("disk", output.bad(&text))
    }));
    let next = status.retention.next.as_ref();
    rows.extend(next.map(|next| ("next to go", format!("{} of bodies, on {}", bytes(next.bytes), day(next.day)))));
    rows.extend(status.retention.next_early.as_ref().map(|next| ("next early", next_early(next))));
    let early = status.retention.early_until;
    rows.extend(early.map(|until| ("dropped early", format!("bodies that were to go up to {}", day(until)))));
    rows.extend(status.listen.iter().map(|address| ("listens on", address.clone())));
    fields(&rows)
}

fn catching_up(sync: &Sync) -> String {
    format!(", catching up from {}: {} came, at least {} to come", sync.peers, sync.gained, sync.left)
}

fn intake(intake: &Intake) -> String {
    let waiting = match intake.waiting {
        0 => String::new(),
        count => format!("; {count} transactions wait for it, {}", bytes(intake.waiting_bytes as u64)),
    };
    format!("{} of others' transactions{waiting}", bytes(intake.daily_bytes))
}

fn disk(disk: &Disk) -> String {
    let parts = [
        ("headers", disk.headers),
        ("bodies", disk.bodies),
        ("scan column", disk.scan),
        ("index", disk.index),
        ("outbox", disk.outbox),
        ("checkpoints", disk.checkpoints),
        ("wallet", disk.wallet),
        ("other", disk.other),
    ];
    let all = parts.iter().map(|(_, count)| *count).fold(0, u64::saturating_add);
    let each = parts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {}", bytes(*count)));
    let each: Vec<String> = each.collect();
    format!("{}: {}", bytes(all), each.join(", "))
}

fn bodies(disk: &Disk, retention: &Retention) -> String {
    let used = bytes(disk.bodies);
    match retention.budget {
        Some(budget) => format!("{used} of at most {}", bytes(budget)),
        None if retention.archive => format!("{used}, kept for good: this is an archive"),
        None => used,
    }
}

/// What goes first when the budget is used up, and when that is.
fn next_early(next: &NextEarly) -> String {
    format!(
        "{} more fit; then {} go first, part {} of what would go on {}",
        bytes(next.left),
        bytes(next.bytes),
        next.part,
        day(next.day)
    )
}

/// The UTC day of a moment: YYYY-MM-DD.
fn day(secs: u64) -> String {
    let time = Time::from_secs(secs).to_string();
    time.split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::NextDrop;

    fn retention(archive: bool, budget: Option<u64>) -> Retention {
        Retention {
            archive,
            budget,
            next: Some(NextDrop { day: 86_400, bytes: 1_536 }),
            next_early: None,
            early_until: None,
        }
    }

    #[test]
    fn the_disk_is_told_by_part() {
        let disk_use =
            Disk { headers: 1_024, bodies: 2_048, scan: 64, index: 0, outbox: 1, checkpoints: 0, wallet: 5, other: 2 };
        let told = disk(&disk_use);
        assert_eq!(
            told,
            "3.1 KiB: headers 1.0 KiB, bodies 2.0 KiB, scan column 64 B, outbox 1 B, wallet 5 B, other 2 B"
        );
        assert_eq!(bodies(&disk_use, &retention(false, Some(20 << 30))), "2.0 KiB of at most 20.0 GiB");
        assert!(bodies(&disk_use, &retention(true, None)).contains("archive"));
        let held = |waiting| Intake { daily_bytes: 4 << 30, waiting, waiting_bytes: 2_048 };
        assert_eq!(intake(&held(0)), "4.0 GiB of others' transactions");
        assert_eq!(intake(&held(3)), "4.0 GiB of others' transactions; 3 transactions wait for it, 2.0 KiB");
        let sync = Sync { peers: 2, gained: 5, left: 7 };
        assert_eq!(catching_up(&sync), ", catching up from 2: 5 came, at least 7 to come");
        let early = NextEarly { day: 86_400 * 20_000, part: 2, bytes: 64 << 20, left: 1_536 };
        assert_eq!(
            next_early(&early),
            "1.5 KiB more fit; then 64.0 MiB go first, part 2 of what would go on 2024-10-04"
        );
        assert_eq!(day(86_400 * 20_000 + 5), "2024-10-04");
    }
}
