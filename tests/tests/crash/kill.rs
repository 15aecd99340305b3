//! `kill -9` in the middle of writes: 20 times here, 1,000 times with `QASEDAK_SOAK=1`.

use rand::{SeedableRng, rngs::StdRng};

use crate::{
    child::{Acknowledged, Writer, begin_anew, check, command, command_of_many, moment},
    line::Line,
    support::{rounds, seed},
};

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let kills = rounds(1_000, 20);
    let mut rng = StdRng::seed_from_u64(seed());
    let line = Line::of(if kills > 100 { 4_000 } else { 1_000 });
    let home = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    for kill in 1..=kills {
        // Now and then one that writes many at once.
        let command = if kill % 10 == 5 { command_of_many } else { command };
        let writer = Writer::spawn(command(home.path(), &line, &acknowledged), acknowledged);
        // The random moment itself, not a wait for anything.
        std::thread::sleep(moment(&mut rng, 250));
        acknowledged = writer.kill();
        assert_eq!(acknowledged.refusals, [""; 0], "nothing is refused on a disk that is well");
        check(home.path(), &line, &acknowledged, kill % 100 == 0 || kill == kills);
        begin_anew(home.path(), &line, &mut acknowledged);
    }
    println!("{kills} kills, {} acknowledgements, none lost", acknowledged.total);
    assert!(acknowledged.total > kills as u64, "the writer gets to write");
}
