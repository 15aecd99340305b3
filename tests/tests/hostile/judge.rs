//! Runs cases and judges them: what the honest pair felt, what the victim used, what became of the culprit.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;

use super::{
    field::{Case, Culprit, Culprits, Expect, Field},
    honest::{Delivery, Pair},
    rogue::Fate,
    victim::Victim,
};

/// How much the victim's resident memory may grow, over what it was before the first attack of all.
const GROWTH_MAX_BYTES: u64 = 64 << 20;
/// A p99 below this is as good as any: on a loaded machine a pause of the scheduler is this long now and then, and a
/// message that is to cross five nodes in 3 s has 600 ms for each.
const FLOOR: Duration = Duration::from_millis(250);
/// The least time over which deliveries are looked at.
const WINDOW: Duration = Duration::from_millis(1_800);
/// Time without an attack before each.
const CALM: Duration = Duration::from_millis(600);
/// How many calm deliveries make the p99 before.
const CALM_DELIVERIES: usize = 200;
/// An attack ends by itself before this.
const ATTACK_MAX: Duration = Duration::from_secs(90);
/// In which a provable fault has its consequence, and everything honest has arrived. A ping that is not answered
/// is noticed after 55 s.
const PATIENCE: Duration = Duration::from_secs(90);

/// The pair, the victim between, and what was felt in calm times.
pub struct Bench {
    pub victim: Victim,
    pub pair: Pair,
    pub field: Arc<Field>,
    calm: VecDeque<Duration>,
    /// What went wrong, over all cases.
    pub failures: Vec<String>,
}

/// The time that 99 of 100 deliveries took at most; those still under way count as the longest.
fn p99(deliveries: &[Delivery]) -> Option<Duration> {
    let mut times: Vec<Duration> = deliveries.iter().map(|one| one.took.unwrap_or(Duration::MAX)).collect();
    times.sort_unstable();
    times.get((times.len() * 99).div_ceil(100).checked_sub(1)?).copied()
}

impl Bench {
    pub async fn new(mut victim: Victim, field: Field) -> Self {
        let pair = Pair::start(&field.network, &victim.address).await;
        assert!(pair.is_up(PATIENCE).await, "the honest pair does not get through");
        victim.calm_bytes = victim.resident_bytes();
        Self { victim, pair, field: Arc::new(field), calm: VecDeque::new(), failures: Vec::new() }
    }

    /// Lets the pair send in peace, and remembers how it went.
    async fn rest(&mut self, time: Duration) {
        let from = Instant::now();
        tokio::time::sleep(time).await;
        let deliveries = self.pair.between(from, Instant::now());
        if !self.pair.arrives_within(PATIENCE).await {
            self.failures.push("the honest pair does not get through in calm times".to_owned());
        }
        // Those that were under way at the end are counted the next time.
        self.calm.extend(deliveries.iter().filter_map(|one| one.took));
        while self.calm.len() > CALM_DELIVERIES {
            self.calm.pop_front();
        }
    }

    fn before(&self) -> Duration {
        let calm: Vec<Delivery> = self.calm.iter().map(|took| Delivery { sent: Instant::now(), took: Some(*took) }).collect();
        p99(&calm).unwrap_or_default()
    }

    /// Runs one case after the other. One that only made deliveries slow is run once more: what is due to the attack
    /// shows again, what was due to the machine does not.
    pub async fn run(&mut self, cases: &[Case]) {
        self.rest(CALM * 4).await;
        for case in cases {
            let mut faults = self.attempt(case).await;
            if faults.iter().all(|fault| fault.is_slow()) && !faults.is_empty() {
                println!("  once more: {}", case.name);
                self.rest(CALM * 4).await;
                faults = self.attempt(case).await;
            }
            self.failures.extend(faults.into_iter().map(|fault| format!("{}: {}", case.name, fault.0)));
        }
    }

    async fn attempt(&mut self, case: &Case) -> Vec<Fault> {
        self.rest(CALM).await;
        let mut faults = Vec::new();
        self.victim.forget_peak();
        let start = Instant::now();
        let attack = (case.attack)(Arc::clone(&self.field));
        let Ok(culprits) = tokio::time::timeout(ATTACK_MAX, attack).await else {
            return vec![Fault(format!("has no end within {ATTACK_MAX:?}"))];
        };
        tokio::time::sleep(WINDOW.saturating_sub(start.elapsed())).await;
        let end = Instant::now();
        faults.extend(self.fates(case.expect, &culprits).await);
        faults.extend(self.effects(&case.name, start, end).await);
        drop(culprits);
        faults
    }

    /// Runs all cases at once. What the pair felt and the victim used is all of theirs.
    pub async fn run_at_once(&mut self, cases: &[Case]) {
        self.rest(CALM * 4).await;
        self.victim.forget_peak();
        let start = Instant::now();
        let attacks = cases.iter().map(|case| (case.attack)(Arc::clone(&self.field)));
        let all = tokio::time::timeout(ATTACK_MAX, join_all(attacks)).await.expect("attacks end by themselves");
        let end = Instant::now();
        let fates = cases.iter().zip(&all).map(|(case, culprits)| self.fates(case.expect, culprits));
        let fates = join_all(fates).await;
        for (case, faults) in cases.iter().zip(fates) {
            println!("{:<70} {}", case.name, if faults.is_empty() { "as expected" } else { "NOT AS EXPECTED" });
            self.failures.extend(faults.into_iter().map(|fault| format!("{}: {}", case.name, fault.0)));
        }
        let faults = self.effects("all of these at once", start, end).await;
        self.failures.extend(faults.into_iter().map(|fault| fault.0));
        drop(all);
    }

    async fn fates(&self, expect: Expect, culprits: &Culprits) -> Vec<Fault> {
        let mut faults = Vec::new();
        for culprit in culprits {
            let mut fate: Fate = culprit.fate();
            match expect {
                Expect::LetGo if !fate.ends_within(PATIENCE).await => {
                    faults.push(Fault("the culprit is still connected".to_owned()));
                }
                Expect::Stays if fate.is_over() => faults.push(Fault("it was let go".to_owned())),
                Expect::Stays => {
                    if let Culprit::Rogue(rogue) = culprit
                        && !rogue.is_served(&self.field.sync()).await
                    {
                        faults.push(Fault("it is not served any more".to_owned()));
                    }
                }
                Expect::LetGo | Expect::Either => {}
            }
        }
        faults
    }

    /// What everybody else felt.
    async fn effects(&self, name: &str, start: Instant, end: Instant) -> Vec<Fault> {
        let mut faults = Vec::new();
        let arrived = self.pair.arrives_within(PATIENCE).await;
        let sent = self.pair.between(start, end);
        let (before, during) = (self.before(), p99(&sent).unwrap_or_default());
        let growth = self.victim.peak_bytes().saturating_sub(self.victim.calm_bytes);
        println!(
            "{name:<70} p99 {:>7.1} → {:>7.1} ms of {:>4}   {:>+6.1} MiB   {:>5.1} s",
            before.as_secs_f64() * 1e3,
            during.as_secs_f64() * 1e3,
            sent.len(),
            growth as f64 / 1_048_576.0,
            start.elapsed().as_secs_f64(),
        );
        if !arrived {
            faults.push(Fault("messages of the honest pair do not arrive".to_owned()));
        }
        if during > FLOOR.max(before * 2) {
            faults.push(Fault(format!("{SLOW}{before:?} before, {during:?} during")));
        }
        if growth >= GROWTH_MAX_BYTES {
            faults.push(Fault(format!("the victim's memory grew by {growth} bytes")));
        }
        faults.extend(self.victim.panic().map(|panic| Fault(format!("the victim panicked: {panic}"))));
        if !self.pair.sender.is_connected().await || !self.pair.receiver.is_connected().await {
            faults.push(Fault("an honest peer was let go".to_owned()));
        }
        faults
    }
}

/// How a fault begins that a loaded machine can cause.
const SLOW: &str = "p99 of honest deliveries: ";

/// What went wrong in a case.
struct Fault(String);

impl Fault {
    fn is_slow(&self) -> bool {
        self.0.starts_with(SLOW)
    }
}
