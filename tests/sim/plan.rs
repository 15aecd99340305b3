//! What happens in a run, drawn from its seed: who lies, who is linked with whom, what is written when, and what fails.
//!
//! Even seeds gossip; odd ones lose every gossip message, and have to do by sync alone. The graph of the honest nodes is
//! connected, since no protocol helps those who can reach liars alone. Half of the seeds have clocks that are wrong by
//! up to ten days, that drift, and that jump.

use qasedak_chain::time::DAY_SECS;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    byzantine::{Liar, Vice},
    net::Quality,
    node::Clock,
    stamped,
    world::{Event, World},
};

/// Most days that a clock is off.
const OFF_DAYS: i64 = 10;
/// Lifetime of most messages, longer than any clock is off.
const LONG_SECS: u32 = 30 * 86_400;
/// Lifetime of some: it is over for those whose clocks run ahead.
const SHORT_SECS: u32 = 3_600;

/// What the plan does to the world.
#[derive(Clone, Debug)]
pub enum Act {
    Write {
        node: usize,
        lifetime_secs: u32,
    },
    Crash(usize),
    Restart(usize),
    /// Links are cut and kept down.
    Hold(Vec<usize>),
    /// They come up again.
    Release(Vec<usize>),
    /// A clock jumps by so many seconds.
    Jump(usize, i64),
    /// A disk takes nothing for so long.
    DiskFails(usize, u64),
    Prune(usize),
    Mischief(usize),
}

/// How much of everything there is in a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub nodes: usize,
    pub liars: usize,
    pub gossip: bool,
    pub fault_ms: u64,
    pub messages: usize,
    pub crashes: usize,
    pub cuts: usize,
    pub jumps: usize,
    pub disk_failures: usize,
    pub wrong_clocks: bool,
    pub loss_percent: u32,
    /// Every how manieth ledger is on a real disk; 0 for none.
    pub disk_every: usize,
}

impl Plan {
    /// The plan of a seed, for so many nodes.
    pub fn draw(seed: u64, nodes: usize) -> Self {
        // Another stream than the world's, so that both may be changed apart.
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
        let some =
            |rng: &mut StdRng, most: usize| if rng.random_range(0..3) == 0 { 0 } else { rng.random_range(0..=most) };
        Self {
            nodes,
            liars: some(&mut rng, nodes * 3 / 10),
            gossip: seed.is_multiple_of(2),
            fault_ms: rng.random_range(15_000..70_000),
            messages: rng.random_range(nodes..nodes * 3),
            crashes: some(&mut rng, nodes / 3),
            cuts: some(&mut rng, 3),
            jumps: some(&mut rng, 3),
            disk_failures: some(&mut rng, 2),
            wrong_clocks: rng.random(),
            loss_percent: u32::try_from(some(&mut rng, 30)).unwrap(),
            disk_every: 0,
        }
    }

    /// The world of a seed at its beginning, with everything that is to happen in its queue.
    pub fn world(&self, seed: u64) -> World {
        let every = self.disk_every;
        let mut world = World::new(seed, self.nodes, |number| every > 0 && number % every == 0);
        world.gossip = self.gossip;
        self.corrupt(&mut world);
        self.connect(&mut world);
        self.set_clocks(&mut world);
        self.write(&mut world);
        self.fail(&mut world);
        (0..world.links.len()).for_each(|link| world.bring_up(link));
        world
    }

    fn corrupt(&self, world: &mut World) {
        for at in 0..self.liars {
            let count = world.rng.random_range(1..4);
            let mut draw = || Vice::ALL[world.rng.random_range(0..Vice::ALL.len())];
            let vices = (0..count).map(|_| draw()).collect();
            // The last ones, so that the honest ones are numbered from 0.
            let liar = self.nodes - 1 - at;
            world.nodes[liar].liar = Some(Liar::new(vices));
            let pause_ms = world.rng.random_range(1_000..5_000);
            world.after(pause_ms, Event::Act(Act::Mischief(liar)));
        }
    }

    fn quality(&self, world: &mut World) -> Quality {
        Quality {
            delay_ms: world.rng.random_range(5..150),
            scatter_ms: world.rng.random_range(0..100),
            loss_percent: if self.loss_percent == 0 { 0 } else { world.rng.random_range(0..=self.loss_percent) },
            twice_percent: world.rng.random_range(0..5),
        }
    }

    /// A ring of the honest nodes with chords, and the liars among them.
    fn connect(&self, world: &mut World) {
        let honest = self.nodes - self.liars;
        let join = |world: &mut World, a: usize, b: usize| {
            if a != b && !world.are_linked(a, b) {
                let quality = self.quality(world);
                world.link(a, b, quality);
            }
        };
        for at in 0..honest {
            join(world, at, (at + 1) % honest);
            let other = world.rng.random_range(0..honest);
            join(world, at, other);
        }
        for liar in honest..self.nodes {
            for _ in 0..world.rng.random_range(2..7) {
                let other = world.rng.random_range(0..self.nodes);
                join(world, liar, other);
            }
        }
    }

    fn set_clocks(&self, world: &mut World) {
        if !self.wrong_clocks {
            return;
        }
        let off_secs = OFF_DAYS * i64::try_from(DAY_SECS).unwrap();
        for at in 0..self.nodes {
            if world.rng.random_range(0..3) == 0 {
                world.nodes[at].clock = Clock {
                    offset_secs: world.rng.random_range(-off_secs..=off_secs),
                    drift_ppm: world.rng.random_range(-500..=500),
                };
            }
        }
    }

    fn write(&self, world: &mut World) {
        let honest = self.nodes - self.liars;
        for transaction in &stamped::all().sound {
            let at = world.rng.random_range(0..honest);
            let verified = *world.oracle.check(transaction.clone()).expect("a sound transaction");
            world.oracle.is_sound(transaction, true);
            world.own(at, verified);
        }
        for _ in 0..self.messages {
            let node = world.rng.random_range(0..honest);
            let lifetime_secs = if world.rng.random_range(0..8) == 0 { SHORT_SECS } else { LONG_SECS };
            self.somewhen(world, Act::Write { node, lifetime_secs });
        }
    }

    /// Puts an act at a random moment of the first phase. Returns the moment.
    fn somewhen(&self, world: &mut World, act: Act) -> u64 {
        let at_ms = world.rng.random_range(0..self.fault_ms);
        world.after(at_ms, Event::Act(act));
        at_ms
    }

    fn fail(&self, world: &mut World) {
        for _ in 0..self.crashes {
            let node = world.rng.random_range(0..self.nodes);
            let at_ms = self.somewhen(world, Act::Crash(node));
            let down_ms = world.rng.random_range(100..20_000);
            world.after(at_ms + down_ms, Event::Act(Act::Restart(node)));
        }
        for _ in 0..self.cuts {
            // Some nodes are cut off from the others.
            let island: Vec<bool> = (0..self.nodes).map(|_| world.rng.random_range(0..3) == 0).collect();
            let crosses = |link: &usize| {
                let [a, b] = world.links[*link].ends;
                island[a] != island[b]
            };
            let links: Vec<usize> = (0..world.links.len()).filter(crosses).collect();
            let at_ms = self.somewhen(world, Act::Hold(links.clone()));
            let cut_ms = world.rng.random_range(2_000..40_000);
            world.after(at_ms + cut_ms, Event::Act(Act::Release(links)));
        }
        for _ in 0..self.jumps {
            let node = world.rng.random_range(0..self.nodes);
            let day = i64::try_from(DAY_SECS).unwrap();
            let secs = world.rng.random_range(-3 * day..3 * day);
            self.somewhen(world, Act::Jump(node, secs));
        }
        for _ in 0..self.disk_failures {
            let node = world.rng.random_range(0..self.nodes);
            let ms = world.rng.random_range(500..8_000);
            self.somewhen(world, Act::DiskFails(node, ms));
        }
        for _ in 0..self.nodes / 5 {
            let node = world.rng.random_range(0..self.nodes);
            self.somewhen(world, Act::Prune(node));
        }
    }
}

impl World {
    /// Does what the plan says. Once it is calm, only the liars go on.
    pub fn act(&mut self, act: Act) {
        if self.calm && !matches!(act, Act::Mischief(_)) {
            return;
        }
        match act {
            Act::Write { node, lifetime_secs } => drop(self.write(node, lifetime_secs)),
            Act::Crash(node) => self.crash(node),
            Act::Restart(node) => self.restart(node),
            Act::Hold(links) => {
                for link in links {
                    self.links[link].held = true;
                    self.cut(link, 8_000);
                }
            }
            Act::Release(links) => {
                for link in links {
                    self.links[link].held = false;
                    self.bring_up(link);
                }
            }
            Act::Jump(node, secs) => self.nodes[node].clock.offset_secs += secs,
            Act::DiskFails(node, ms) => self.nodes[node].failing_until_ms = self.now_ms + ms,
            Act::Prune(node) => {
                let now_ms = self.now_ms;
                let node = &mut self.nodes[node];
                let system = node.now(now_ms).system;
                node.pruned_day = node.pruned_day.max(node.ledger.clock(system).day());
                node.ledger.prune(system).expect("bodies are dropped");
            }
            Act::Mischief(node) => self.mischief(node),
        }
    }

    /// The calm begins: all machines run, all links come up and are good, disks take what they are given.
    pub fn calm_down(&mut self) {
        self.calm = true;
        for node in 0..self.nodes.len() {
            self.nodes[node].failing_until_ms = self.nodes[node].failing_until_ms.min(self.now_ms);
            self.restart(node);
        }
        for link in 0..self.links.len() {
            self.links[link].quality = Quality::GOOD;
            self.links[link].held = false;
            self.bring_up(link);
        }
    }
}
