//! Point 2: five nodes in a line, each knowing only its neighbour.

use std::time::{Duration, Instant};

use crate::harness::{Node, wait_for_agreement};

/// A message opens at the far end within this of its stamp being done.
const DELIVERY: Duration = Duration::from_secs(3);

#[test]
fn a_message_crosses_four_hops_and_only_its_recipient_opens_it() {
    let home = tempfile::tempdir().unwrap();
    let mut nodes: Vec<Node> =
        ["a", "b", "c", "d", "e"].iter().map(|name| Node::with_wallet(home.path(), name)).collect();
    for at in 0..nodes.len() {
        let (before, rest) = nodes.split_at_mut(at);
        let neighbour: Vec<&Node> = before.last().into_iter().collect();
        rest[0].start(&neighbour);
    }
    let [a, b, c, d, e] = nodes.as_slice() else { unreachable!() };
    for text in ["first over the line", "second over the line", "قاصدک خبر آورد"] {
        a.send(&e.address, text);
        let stamped = Instant::now();
        e.wait_for_text(text, DELIVERY);
        println!("opened {} ms after the stamp was done", stamped.elapsed().as_millis());
    }
    let (_, _, count) = wait_for_agreement(&[a, b, c, d, e], Duration::from_secs(30));
    assert_eq!(count, 8, "five cards and three messages");
    for relay in [b, c, d] {
        assert_eq!(relay.texts(), Vec::<String>::new(), "a relay opened something");
    }
    assert_eq!(e.texts().len(), 3);
}
