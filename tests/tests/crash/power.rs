//! Power cuts: ext4 on a loop device is shut down without flushing anything, then mounted again, so that its journal is
//! replayed. 5 times here, 200 times with `QASEDAK_SOAK=1`. As root only.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

use rand::{SeedableRng, rngs::StdRng};

use crate::{
    child::{Acknowledged, Writer, begin_anew, check, command, command_of_many, moment},
    line::Line,
    mount::{Image, can_mount},
    support::{rounds, seed, skip},
};

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`: from now on nothing reaches the device (linux, fs/ext4/ext4.h).
/// No library of ours may call it, since that takes `unsafe`.
const SHUTDOWN: &str = "import fcntl, os, struct, sys
device = os.open(sys.argv[1], os.O_RDONLY)
print('ready', flush=True)
sys.stdin.readline()
fcntl.ioctl(device, 0x8004587d, struct.pack('I', 2))";

/// A hand on the switch: the program that cuts the power is ready and waits.
struct Switch(Child);

impl Switch {
    fn ready(mounted: &Path) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", SHUTDOWN]).arg(mounted).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        Self(process)
    }

    /// Cuts the power, and returns what the writer had said before. Only that counts: while the journal breaks off, an fsync
    /// of ext4 that runs at that moment can return success, since it finds its transaction neither running nor under way
    /// (`jbd2_complete_transaction`). No machine without power would have told of it.
    fn cut(mut self, writer: &Writer) -> Acknowledged {
        let before = writer.acknowledged.lock().unwrap().clone();
        self.0.stdin.take().unwrap().write_all(b"now\n").unwrap();
        assert!(self.0.wait().unwrap().success());
        before
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts() {
    if let Err(why) = can_mount(&["mkfs.ext4", "python3"]) {
        return skip(&why);
    }
    let cuts = rounds(200, 5);
    let mut rng = StdRng::seed_from_u64(seed());
    let line = Line::of(if cuts > 100 { 4_000 } else { 1_000 });
    let home = tempfile::tempdir().unwrap();
    let mut image = Image::ext4(home.path(), 64);
    let mut acknowledged = Acknowledged::default();
    for cut in 1..=cuts {
        let switch = Switch::ready(image.mounted());
        let command = if cut % 5 == 3 { command_of_many } else { command };
        let writer = Writer::spawn(command(image.mounted(), &line, &acknowledged), acknowledged);
        // The random moment itself, not a wait for anything.
        std::thread::sleep(moment(&mut rng, 250));
        acknowledged = switch.cut(&writer);
        let after = writer.kill();
        // What it said to be letting go of it may have let go of; what it was refused, it was refused after the cut.
        acknowledged.outbox.retain(|nth| after.outbox.contains(nth));
        (acknowledged.next_kept, acknowledged.refusals) = (after.next_kept, Vec::new());
        image.mount_again();
        check(image.mounted(), &line, &acknowledged, cut % 20 == 0 || cut == cuts);
        begin_anew(image.mounted(), &line, &mut acknowledged);
    }
    println!("{cuts} power cuts, {} acknowledgements, none lost", acknowledged.total);
    assert!(acknowledged.total > cuts as u64, "the writer gets to write");
}
