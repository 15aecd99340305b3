//! Random networks: whatever was cut, linked and restarted while messages were made, once all are linked all hold the
//! same.

use super::{
    make::{WORLD, world},
    net::Net,
};

/// Numbers that follow from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

fn chaos(seed: u64) {
    let mut dice = Dice(seed);
    let nodes = 3 + dice.roll(5);
    let mut net = Net::new(nodes, seed as u8);
    net.gossip = dice.roll(4) > 0;
    for transaction in world() {
        // Without gossip it stays in the outbox until the end.
        let maker = dice.roll(nodes);
        net.own(maker, transaction);
        for _ in 0..dice.roll(4) {
            let (a, b) = (dice.roll(nodes), dice.roll(nodes));
            match dice.roll(8) {
                0 => net.restart(a),
                1 | 2 => net.cut(a, b),
                _ if a != b => net.link(a, b),
                _ => {}
            }
            net.run(dice.roll(400) as u64);
        }
    }
    net.gossip = true;
    (0..nodes).for_each(|node| net.link(node, (node + 1) % nodes));
    net.run(180_000);
    assert_eq!(net.faults, [], "seed {seed}");
    for node in 0..nodes {
        let status = net.nodes[node].engine.status();
        assert_eq!(net.count(node), WORLD as u64, "seed {seed}, node {node}: {status:?}");
        assert!(net.nodes[node].outbox.is_empty(), "seed {seed}, node {node}");
        assert_eq!((status.waiting, status.checking, status.wanted), (0, 0, 0), "seed {seed}, node {node}");
    }
}

#[test]
fn whatever_happens_all_end_with_the_same() {
    (0..40).for_each(chaos);
}
