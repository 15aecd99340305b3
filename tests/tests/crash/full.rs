//! No more space: a file system that is full, and a limit on the size of files. Ledger, outbox and wallet refuse with a
//! sentence, lose nothing, and go on in the same process when there is space again.

use std::{
    fs::File,
    io::Write,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    child::{Acknowledged, Writer, check, command, in_child},
    line::Line,
    mount::{Image, can_mount},
    support::skip,
};

const PATIENCE: Duration = Duration::from_secs(60);
const PARTS: [&str; 3] = ["ledger", "outbox", "wallet"];

fn wait_for(what: &str, writer: &mut Writer, look: impl Fn(&Acknowledged) -> bool) {
    let until = Instant::now() + PATIENCE;
    while !look(&writer.acknowledged.lock().unwrap()) {
        let ended = writer.process.try_wait().unwrap();
        let said = writer.acknowledged.lock().unwrap().clone();
        assert!(ended.is_none(), "the writer ended by itself, {ended:?}: {said:?}");
        assert!(Instant::now() < until, "no {what}: {said:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Lets the writer run into a lack of space and out of it again, twice.
fn squeezed(
    mut writer: Writer,
    dir: &Path,
    line: &Line,
    squeeze: &dyn Fn(u32),
    relieve: &dyn Fn(u32),
    causes: &[&str],
) {
    for _ in 0..2 {
        let before = writer.acknowledged.lock().unwrap().clone();
        let further = |now: &Acknowledged| now.ledger > before.ledger + 3 && now.wallet > before.wallet + 3;
        wait_for("progress", &mut writer, further);
        squeeze(writer.process.id());
        wait_for("refusals", &mut writer, |now| {
            PARTS.iter().all(|part| now.refusals.iter().any(|refusal| refusal.starts_with(part)))
        });
        let refused = std::mem::take(&mut writer.acknowledged.lock().unwrap().refusals);
        for refusal in &refused {
            assert!(refusal.contains(&dir.display().to_string()), "names no file: {refusal}");
        }
        for part in PARTS {
            let says =
                |refusal: &&String| refusal.starts_with(part) && causes.iter().any(|cause| refusal.contains(cause));
            assert!(refused.iter().any(|refusal| says(&refusal)), "{part} names no cause: {refused:?}");
        }
        let full = writer.acknowledged.lock().unwrap().clone();
        relieve(writer.process.id());
        let kept = full.total;
        wait_for("recovery in the same process", &mut writer, |now| {
            now.ledger > full.ledger + 3
                && now.wallet > full.wallet + 3
                && now.total > kept
                && now.next_kept > full.next_kept + 3
        });
        writer.acknowledged.lock().unwrap().refusals.clear();
    }
    check(dir, line, &writer.kill(), true);
}

/// Fills a file system to the brim.
fn fill(ballast: &Path) {
    let mut file = File::options().create(true).append(true).open(ballast).unwrap();
    for size in [1 << 20, 4_096, 512, 1] {
        while file.write_all(&vec![0xbb; size]).is_ok() {}
    }
}

fn on_full(image: &Image) {
    let dir = image.mounted().join("data");
    std::fs::create_dir(&dir).unwrap();
    let line = Line::of(4_000);
    let writer = Writer::spawn(command(&dir, &line, &Acknowledged::default()), Acknowledged::default());
    let ballast = image.mounted().join("ballast");
    let squeeze = |_| fill(&ballast);
    let relieve = |_| std::fs::remove_file(&ballast).unwrap();
    squeezed(writer, &dir, &line, &squeeze, &relieve, &["No space left"]);
}

#[test]
fn a_full_memory_file_system_is_survived() {
    if let Err(why) = can_mount(&[]) {
        return skip(&why);
    }
    let home = tempfile::tempdir().unwrap();
    on_full(&Image::tmpfs(home.path(), 24));
}

#[test]
fn a_full_ext4_is_survived() {
    if let Err(why) = can_mount(&["mkfs.ext4"]) {
        return skip(&why);
    }
    let home = tempfile::tempdir().unwrap();
    on_full(&Image::ext4(home.path(), 48));
}

/// A writer whose files can be limited in size while it runs.
fn limited(dir: &Path, line: &Line) -> Writer {
    // A write beyond the limit sends SIGXFSZ, which would end the process; ignored, the write fails with EFBIG. The shell
    // hands that on to the program in its place.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    in_child(&mut command, dir, line, &Acknowledged::default());
    Writer::spawn(command, Acknowledged::default())
}

/// Limits the size of a process's files, from its next write on.
fn limit(process: u32, bytes: &str) {
    let done = Command::new("prlimit").arg(format!("--pid={process}")).arg(format!("--fsize={bytes}")).status();
    assert!(done.unwrap().success());
}

fn lacks_prlimit() -> bool {
    Command::new("prlimit").arg("--version").output().is_err()
}

#[test]
fn a_limit_on_the_size_of_files_is_survived() {
    if lacks_prlimit() {
        return skip("prlimit is missing");
    }
    let home = tempfile::tempdir().unwrap();
    let line = Line::of(4_000);
    let writer = limited(home.path(), &line);
    let (squeeze, relieve) = (|process| limit(process, "1024:unlimited"), |process| limit(process, "unlimited"));
    squeezed(writer, home.path(), &line, &squeeze, &relieve, &["File too large"]);
}

/// The log can be written and the index cannot: what is in the log is acknowledged, the trouble is told, and when there
/// is space again, the same store writes the index.
#[test]
fn an_index_that_cannot_grow_holds_nothing_up() {
    if lacks_prlimit() {
        return skip("prlimit is missing");
    }
    let home = tempfile::tempdir().unwrap();
    let line = Line::of(4_000);
    let mut writer = limited(home.path(), &line);
    wait_for("progress", &mut writer, |now| now.ledger > 3 && now.index > 3);
    // More than a header segment or a part of bodies has, and less than the first segment of sled.
    limit(writer.process.id(), "55000:unlimited");
    let index = home.path().join("ledger").join("index").display().to_string();
    let tells = |now: &Acknowledged| {
        now.refusals.iter().any(|refusal| refusal.starts_with("index") && refusal.contains(&index))
    };
    wait_for("trouble of the index", &mut writer, tells);
    let before = writer.acknowledged.lock().unwrap().clone();
    wait_for("acknowledgements all the same", &mut writer, |now| now.ledger > before.ledger + 5);
    let during = writer.acknowledged.lock().unwrap().clone();
    let of_the_ledger = during.refusals.iter().find(|refusal| refusal.starts_with("ledger"));
    assert_eq!(of_the_ledger, None, "the log had space");
    assert!(during.index < during.ledger);
    limit(writer.process.id(), "unlimited");
    wait_for("an index that is well", &mut writer, |now| now.index > during.ledger + 5);
    check(home.path(), &line, &writer.kill(), true);
}
