//! Runs cases and judges them: what the honest pair felt, what the victim used, what became of the culprit.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use qasedak_chain::Network;
use tokio::runtime::Handle;

use super::{
    field::{Case, Culprit, Culprits, Expect, Field},
    honest::{AHEAD, AHEAD_OF_PATIENT, Delivery, EVERY, Pair},
    stock::Stock,
    victim::Victim,
};

/// How much the victim's resident memory may grow in one case.
const GROWTH_MAX_BYTES: u64 = 64 << 20;
/// A victim that keeps so much more than it had when it was fresh is replaced: what the allocator keeps would hide
/// growth.
const KEPT_MAX_BYTES: u64 = 24 << 20;
/// A p99 below this is as good as any: one of the few deliveries of a window meets a pause of the scheduler now and then, attack
/// or not.
const FLOOR: Duration = Duration::from_millis(64);
/// The least time over which deliveries are looked at.
const WINDOW: Duration = Duration::from_millis(1_800);
/// Time without an attack at the start: as many deliveries as make the p99 before.
const LONG_CALM: Duration = Duration::from_secs(5);
/// Time without an attack before each.
const CALM: Duration = Duration::from_millis(600);
/// How many calm deliveries make the p99 before.
const CALM_DELIVERIES: usize = 200;
/// How many cases that cost the victim next to nothing are run at once.
const LIGHT_AT_ONCE: usize = 8;
/// How often the patient cases are run.
const PATIENT_ROUNDS: usize = 3;
/// An attack ends by itself before this.
const ATTACK_MAX: Duration = Duration::from_secs(40);
/// In which a provable fault has its consequence, and everything honest has arrived. A ping that is not answered
/// is noticed after 55 s.
const PATIENCE: Duration = Duration::from_secs(90);
/// Less than the 20 s that the victim gives strangers.
const AT_ONCE: Duration = Duration::from_secs(15);

/// The pair, the victim between, and what was felt in calm times.
pub struct Bench {
    honest: Handle,
    home: PathBuf,
    victim: Victim,
    pair: Pair,
    field: Arc<Field>,
    /// How many victims there were.
    victims: usize,
    calm: VecDeque<Duration>,
    /// What was felt in all calm times, and during all attacks: the few deliveries of one window say little of one in a hundred.
    all_calm: Vec<Delivery>,
    all_attacked: Vec<Delivery>,
    /// What went wrong, over all cases.
    failures: Vec<String>,
}

/// Attacks that were run, when, and what they left behind.
struct Attacked {
    /// What the victim had resident before.
    resident: u64,
    start: Instant,
    end: Instant,
    left: Vec<Result<Culprits, String>>,
}

/// A victim, on a thread that need not give way.
async fn victim(honest: &Handle, home: &Path, number: usize) -> Victim {
    let (home, name) = (home.to_owned(), format!("victim-{number}"));
    honest.spawn(async move { Victim::start(&home, &name) }).await.expect("the victim starts")
}

/// An honest pair at work, with nothing but the victim between.
async fn pair(honest: &Handle, field: &Field, victim: &mut Victim) -> Pair {
    let pair = Pair::start(honest, &field.network, &victim.address).await;
    assert!(pair.is_up(PATIENCE).await, "the honest pair does not get through");
    victim.calm_bytes = victim.resident_bytes();
    pair
}

/// The time that 99 of 100 deliveries took at most; those still under way count as the longest.
fn p99(deliveries: &[Delivery]) -> Option<Duration> {
    let mut times: Vec<Duration> = deliveries.iter().map(|one| one.took.unwrap_or(Duration::MAX)).collect();
    times.sort_unstable();
    times.get((times.len() * 99).div_ceil(100).checked_sub(1)?).copied()
}

impl Bench {
    /// A first victim with its files below `home`. Victims and pairs have the threads of `honest`.
    pub async fn new(honest: Handle, home: PathBuf, network: Network, stock: Stock) -> Self {
        let mut victim = victim(&honest, &home, 0).await;
        let field = Arc::new(Field::new(network, &victim, stock));
        let pair = pair(&honest, &field, &mut victim).await;
        let (calm, all_calm, all_attacked, failures) = Default::default();
        Self { honest, home, victim, pair, field, victims: 1, calm, all_calm, all_attacked, failures }
    }

    /// Replaces the victim when it is due.
    async fn renew(&mut self) {
        if self.victim.resident_bytes() >= self.victim.calm_bytes + KEPT_MAX_BYTES {
            self.replace().await;
        }
    }

    /// Replaces the victim, and with it the pair.
    async fn replace(&mut self) {
        let mut fresh = victim(&self.honest, &self.home, self.victims).await;
        self.victims += 1;
        self.field.turn_to(&fresh);
        self.pair = pair(&self.honest, &self.field, &mut fresh).await;
        std::mem::replace(&mut self.victim, fresh).stop();
    }

    /// Stops the victim, which must go well, and says what went wrong before. Over all attacks the p99 at most doubles, without
    /// any allowance.
    pub fn end(mut self) -> Vec<String> {
        self.victim.stop();
        let (calm, attacked) = (p99(&self.all_calm), p99(&self.all_attacked));
        println!(
            "p99 of {} calm deliveries {calm:?}, of {} during attacks {attacked:?}",
            self.all_calm.len(),
            self.all_attacked.len()
        );
        if attacked > calm.map(|calm| calm * 2) {
            self.failures.push(format!("p99 over all attacks: {calm:?} in calm times, {attacked:?} during attacks"));
        }
        self.failures
    }

    /// Lets the pair send in peace, and remembers how it went.
    async fn rest(&mut self, time: Duration) {
        let from = Instant::now();
        tokio::time::sleep(time).await;
        let until = Instant::now();
        if !self.pair.arrives_within(PATIENCE).await {
            self.failures.push("the honest pair does not get through in calm times".to_owned());
        }
        // All of them have arrived by now.
        let deliveries = self.pair.between(from, until);
        self.calm.extend(deliveries.iter().filter_map(|one| one.took));
        self.all_calm.extend(deliveries);
        while self.calm.len() > CALM_DELIVERIES {
            self.calm.pop_front();
        }
    }

    fn before(&self) -> Duration {
        let calm: Vec<Delivery> =
            self.calm.iter().map(|took| Delivery { sent: Instant::now(), took: Some(*took) }).collect();
        p99(&calm).unwrap_or_default()
    }

    /// Runs heavy cases one after the other and light ones some at a time. What only made deliveries slow is run once
    /// more: what is due to the attack shows again, what was due to the machine does not.
    pub async fn run(&mut self, cases: &[Case]) {
        self.rest(LONG_CALM).await;
        let (light, heavy): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.is_light);
        for group in light.chunks(LIGHT_AT_ONCE).chain(heavy.chunks(1)) {
            self.renew().await;
            let mut faults = self.attempt(group).await;
            if faults.iter().all(|fault| fault.starts_with(SLOW)) && !faults.is_empty() {
                println!("once more:");
                self.rest(CALM * 4).await;
                faults = self.attempt(group).await;
            }
            let names: Vec<&str> = group.iter().map(|case| &*case.name).collect();
            self.failures.extend(faults.into_iter().map(|fault| format!("{}: {fault}", names.join(" | "))));
        }
    }

    /// Runs cases that take their time all at once, several times: in one go a handful of deliveries would make the p99. What
    /// becomes of the culprits takes a minute to show, and is waited for the last time; the others end with their victim.
    pub async fn run_at_once(&mut self, cases: &[Case]) {
        let cases: Vec<&Case> = cases.iter().collect();
        self.field.crowd();
        for round in 1..=PATIENT_ROUNDS {
            self.pair.make_ahead(&self.field.network, AHEAD_OF_PATIENT).await;
            self.rest(LONG_CALM).await;
            let faults = if round < PATIENT_ROUNDS {
                let faults = self.attempt_alone(&cases).await;
                self.replace().await;
                faults
            } else {
                self.attempt(&cases).await
            };
            self.failures.extend(faults);
        }
    }

    /// Runs cases at once, and looks at nothing but what everybody else felt.
    async fn attempt_alone(&mut self, cases: &[&Case]) -> Vec<String> {
        let mut attacked = self.attack(cases).await;
        // Culprits that are still there go on until the others' part has been looked at.
        let left = std::mem::take(&mut attacked.left);
        let faults = self.effects(&attacked).await;
        left.into_iter().filter_map(Result::err).chain(faults).collect()
    }

    /// Runs cases at once. What the pair felt and the victim used is all of theirs.
    async fn attempt(&mut self, cases: &[&Case]) -> Vec<String> {
        let attacked = self.attack(cases).await;
        let mut faults = self.all_fates(cases, &attacked).await;
        faults.extend(self.effects(&attacked).await);
        faults
    }

    async fn attack(&mut self, cases: &[&Case]) -> Attacked {
        self.pair.make_ahead(&self.field.network, AHEAD).await;
        self.rest(CALM).await;
        self.victim.forget_peak();
        let resident = self.victim.resident_bytes();
        let start = Instant::now();
        let attacks = cases.iter().map(|case| {
            let attack = tokio::time::timeout(ATTACK_MAX, (case.attack)(Arc::clone(&self.field)));
            async move { attack.await.map_err(|_| format!("{}: has no end within {ATTACK_MAX:?}", case.name)) }
        });
        let left = join_all(attacks).await;
        tokio::time::sleep(WINDOW.saturating_sub(start.elapsed())).await;
        Attacked { resident, start, end: Instant::now(), left }
    }

    async fn all_fates(&self, cases: &[&Case], attacked: &Attacked) -> Vec<String> {
        let fates = join_all(cases.iter().zip(&attacked.left).map(async |(case, culprits)| match culprits {
            Ok(culprits) => self.fates(case, culprits).await,
            Err(fault) => Some(fault.clone()),
        }));
        let faults = fates.await.into_iter().flatten().collect();
        cases.iter().for_each(|case| println!("{}", case.name));
        faults
    }

    /// What is wrong with what became of the culprits.
    async fn fates(&self, case: &Case, culprits: &Culprits) -> Option<String> {
        for culprit in culprits {
            let mut fate = culprit.fate();
            let wrong = match case.expect {
                Expect::LetGo => (!fate.ends_within(PATIENCE).await).then_some("the culprit is still connected"),
                Expect::AtOnce => (!fate.ends_within(AT_ONCE).await).then_some("the culprit is still connected"),
                Expect::Stays if fate.is_over() => Some("it was let go"),
                Expect::Stays => match culprit {
                    Culprit::Rogue(rogue) if !rogue.is_served(&self.field.sync()).await => {
                        Some("it is not served any more")
                    }
                    Culprit::Rogue(_) | Culprit::Raw(..) => None,
                },
                Expect::Either => None,
            };
            if let Some(wrong) = wrong {
                return Some(format!("{}: {wrong}", case.name));
            }
        }
        None
    }

    /// What everybody else felt.
    async fn effects(&mut self, &Attacked { resident, start, end, .. }: &Attacked) -> Vec<String> {
        let mut faults = Vec::new();
        let arrived = self.pair.arrives_within(PATIENCE).await;
        let sent = self.pair.between(start, end);
        let (before, during) = (self.before(), p99(&sent).unwrap_or_default());
        self.all_attacked.extend_from_slice(&sent);
        let growth = self.victim.peak_bytes().saturating_sub(resident);
        println!(
            "    p99 {:.1} → {:.1} ms of {}   {:+.1} MiB   {:.1} s",
            before.as_secs_f64() * 1e3,
            during.as_secs_f64() * 1e3,
            sent.len(),
            growth as f64 / 1_048_576.0,
            start.elapsed().as_secs_f64(),
        );
        if EVERY * u32::try_from(sent.len()).unwrap() < (end - start) / 2 {
            faults.push(format!("only {} messages were sent in {:?}: they say nothing", sent.len(), end - start));
        }
        if !arrived {
            faults.push("messages of the honest pair do not arrive".to_owned());
        }
        if during > FLOOR.max(before * 2) {
            faults.push(format!("{SLOW}{before:?} before, {during:?} during"));
        }
        if growth >= GROWTH_MAX_BYTES {
            faults.push(format!("the victim's memory grew by {growth} bytes"));
        }
        faults.extend(self.victim.panic().map(|panic| format!("the victim panicked: {panic}")));
        if !self.pair.sender.is_connected().await || !self.pair.receiver.is_connected().await {
            faults.push("an honest peer was let go".to_owned());
        }
        faults
    }
}

/// How a fault begins that a loaded machine can cause.
const SLOW: &str = "p99 of honest deliveries: ";
