//! Power cuts: ext4 on a loop device is shut down without flushing anything, then mounted again, so that its journal is
//! replayed. 5 times here, 200 times with `QASEDAK_SOAK=1`. As root only.

use std::path::Path;

use rand::{SeedableRng, rngs::StdRng};

use crate::{
    child::{Acknowledged, Writer, begin_anew, check, command, moment},
    line::Line,
    mount::{Image, can_mount, run},
    support::{rounds, seed, skip},
};

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`: from now on nothing reaches the device (linux, fs/ext4/ext4.h).
/// No library of ours may call it, since that takes `unsafe`.
const SHUTDOWN: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

fn cut_power(mounted: &Path) {
    run("python3", &["-c".as_ref(), SHUTDOWN.as_ref(), mounted.as_os_str()]);
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
        let writer = Writer::spawn(command(image.mounted(), &line, &acknowledged), acknowledged);
        // The random moment itself, not a wait for anything.
        std::thread::sleep(moment(&mut rng, 250));
        cut_power(image.mounted());
        acknowledged = writer.kill();
        // What was refused was refused after the cut.
        acknowledged.refusals.clear();
        image.mount_again();
        check(image.mounted(), &line, &acknowledged, cut % 20 == 0 || cut == cuts);
        begin_anew(image.mounted(), &line, &mut acknowledged);
    }
    println!("{cuts} power cuts, {} acknowledgements, none lost", acknowledged.total);
    assert!(acknowledged.total > cuts as u64, "the writer gets to write");
}
