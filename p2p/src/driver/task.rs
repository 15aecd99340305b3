//! The loop: one select over the swarm, the commands, the blocking threads and the clock; and its ordered end.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, RwLock},
    task::Poll,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, Swarm, core::transport::TransportError, gossipsub::IdentTopic, request_response::OutboundRequestId,
    swarm,
};
use qasedak_chain::{
    Ledger, Network, Position, Time,
    book::Book,
    rules::Verified,
    store::{Outbox, Store, StoreError, checkpoints::Checkpoints},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinError,
    time::{MissedTickBehavior, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Config, DriverError,
    checks::{Checked, Checks},
    compare::Comparing,
    dialer::Dialer,
    events::{Answers, Asks, Gossiped},
    flusher::{Flushed, Flusher},
    handle::{Command, Logged},
    listeners::{self, Listeners},
    notary::Notary,
    outbox::{Released, Releases},
    outputs::Refusals,
    peers::Peers,
    upkeep::Upkeeper,
};
use crate::{
    behaviour::{self, Behaviour, Traffic},
    engine::{Engine, Input, Now, Token},
    transport, wire,
};

/// How long the system may take to bring the listeners up.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long checks that are under way may take at the end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after a publication the sockets are still served at the end: gossipsub does not tell when a message is out.
const LINGER: Duration = Duration::from_millis(500);
/// The engine's tick.
const TICK: Duration = Duration::from_secs(1);
/// How long a connection may be without a stream: mesh and sync hold none open at quiet times.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// The ends of the channels that the task holds.
pub(super) struct Wires {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) stop: CancellationToken,
    pub(super) durable: watch::Sender<u64>,
    pub(super) logged: watch::Sender<Logged>,
    pub(super) listening: watch::Sender<Vec<Multiaddr>>,
    pub(super) traffic: Arc<Traffic>,
}

/// The driver's state. Only its task touches it.
pub(super) struct Task<S> {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) engine: Engine,
    pub(super) ledger: Arc<RwLock<Ledger<S>>>,
    pub(super) topic: IdentTopic,
    pub(super) identify_protocol: String,
    pub(super) wires: Wires,
    pub(super) peers: Peers,
    pub(super) dialer: Dialer,
    pub(super) listeners: Listeners,
    pub(super) refusals: Refusals,
    pub(super) checks: Checks,
    pub(super) flusher: Flusher,
    pub(super) upkeep: Upkeeper,
    pub(super) releases: Releases,
    pub(super) notary: Notary,
    /// Gossip messages that wait for their verdict.
    pub(super) gossiped: HashMap<Token, Gossiped>,
    /// Requests of peers that wait for their answer.
    pub(super) answers: Answers,
    /// Requests of ours that wait for their answer.
    pub(super) asks: HashMap<OutboundRequestId, Asks>,
    /// Comparisons that an asker waits for: at most one, and those that are refused at once.
    pub(super) comparing: HashMap<Token, Comparing>,
    pub(super) next_token: u64,
    pub(super) inputs: VecDeque<Input>,
    /// What became of publications, to be fed once the sockets have had their turn.
    pub(super) sent: VecDeque<Input>,
    /// Whether threads may have something to do.
    work_due: bool,
    pub(super) last_published: Option<Instant>,
    pub(super) failed: Option<DriverError>,
    started: Instant,
}

impl<S: Store + Send + Sync + 'static> Task<S> {
    pub(super) fn new(
        config: Config,
        network: Network,
        ledger: Arc<RwLock<Ledger<S>>>,
        outbox: Arc<dyn Outbox>,
        (checkpoints, book): (Arc<dyn Checkpoints>, Book),
        wires: Wires,
    ) -> Result<Self, DriverError> {
        let started = Instant::now();
        let notary = Notary::new(config.key.clone(), network.clone(), config.log_id, checkpoints, &book, started);
        let transport = transport::build(config.key.pair()).map_err(|error| DriverError::Setup(error.to_string()))?;
        let traffic = Arc::clone(&wires.traffic);
        let behaviour = Behaviour::new(&network, &config.key, config.limits, config.mdns, traffic)?;
        let swarm_config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIMEOUT);
        Ok(Self {
            swarm: Swarm::new(transport, behaviour, config.key.id(), swarm_config),
            engine: Engine::new(network.clone(), config.seed)
                .with_book(book)
                .with_daily_bytes(config.limits.daily_bytes),
            ledger,
            topic: behaviour::topic(&network),
            identify_protocol: wire::identify_protocol(&network),
            wires,
            peers: Peers::default(),
            dialer: Dialer::new(config.peers, jitter_seed(config.seed), started),
            listeners: Listeners::default(),
            refusals: Refusals::default(),
            checks: Checks::new(network),
            flusher: Flusher::new(),
            upkeep: Upkeeper::default(),
            releases: Releases::new(outbox),
            notary,
            gossiped: HashMap::new(),
            answers: Answers::default(),
            asks: HashMap::new(),
            comparing: HashMap::new(),
            next_token: 0,
            inputs: VecDeque::new(),
            sent: VecDeque::new(),
            work_due: false,
            last_published: None,
            failed: None,
            started,
        })
    }

    /// Listens on the given addresses, and returns those that the system refused.
    ///
    /// # Errors
    /// [`DriverError::Listen`] when too little is left to be reached by.
    pub(super) async fn listen(&mut self, addresses: Vec<Multiaddr>) -> Result<Vec<DriverError>, DriverError> {
        let probed: Vec<_> = addresses.into_iter().map(|address| (listeners::probe(&address), address)).collect();
        for (probe, address) in probed {
            let taken = probe.err().filter(|error| error.kind() == io::ErrorKind::AddrInUse);
            let outcome =
                taken.map_or_else(|| self.swarm.listen_on(address.clone()), |error| Err(TransportError::Other(error)));
            self.listeners.asked(address, outcome.as_ref().map(|id| *id).map_err(|error| error as _));
        }
        let deadline = tokio::time::Instant::now() + LISTEN_TIMEOUT;
        while self.listeners.is_pending() {
            match timeout_at(deadline, self.swarm.select_next_some()).await {
                Ok(event) => self.on_event(event),
                Err(_) => break,
            }
        }
        self.listeners.refused()
    }

    /// Runs until it is stopped or fails, then ends in order.
    pub(super) async fn run(mut self, own: Vec<Verified>) -> Result<(), DriverError> {
        for verified in own {
            self.feed(Input::Own(Box::new(verified)));
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = self.wires.stop.clone();
        while self.failed.is_none() {
            self.sockets_first().await;
            let flush_due = self.flusher.due();
            tokio::select! {
                () = stop.cancelled() => break,
                event = self.swarm.select_next_some() => self.on_event(event),
                // When all handles are gone, the node runs on.
                Some(command) = self.wires.commands.recv() => self.on_command(command),
                Some(done) = self.checks.next() => self.on_checked(done),
                Some(done) = self.flusher.next() => self.on_flushed(done),
                Some(done) = self.releases.next() => self.on_released(done),
                Some(done) = self.notary.next() => self.on_kept(done),
                () = at(flush_due) => self.start_work(),
                _ = tick.tick() => self.on_tick(),
            }
        }
        self.end().await
    }

    /// Serves the sockets once before anything is done for this node alone, and gives way to the connections' tasks: what
    /// was published or accepted leaves before the own log and disk are thought of.
    async fn sockets_first(&mut self) {
        while self.work_due || !self.sent.is_empty() {
            let polled = futures::poll!(self.swarm.select_next_some());
            if let Poll::Ready(event) = polled {
                self.on_event(event);
            }
            tokio::task::yield_now().await;
            self.settle();
        }
    }

    /// Does what waited for the sockets.
    fn settle(&mut self) {
        self.inputs.append(&mut self.sent);
        self.drain();
        self.work_due = false;
        self.start_work();
    }

    /// The ordered end: commands already given are carried out and nothing more is taken in, verdicts under way are
    /// awaited, the log is flushed, the outbox is rid of what that made durable.
    async fn end(mut self) -> Result<(), DriverError> {
        self.wires.commands.close();
        while let Ok(command) = self.wires.commands.try_recv() {
            self.on_command(command);
        }
        self.settle();
        self.finish_checks().await;
        // One more attempt where the disk fails; what it does not take then is fetched again after the next start.
        self.flusher.hurry(Instant::now());
        while self.failed.is_none() {
            self.start_work();
            match self.flusher.next().await {
                Some(done) => self.on_flushed(done),
                None => break,
            }
        }
        if let Some(trouble) = self.flusher.trouble() {
            self.fail(DriverError::Store(trouble.reason));
        }
        while let Some(done) = self.releases.next().await {
            self.on_released(done);
        }
        while let Some(done) = self.notary.next().await {
            self.on_kept(done);
        }
        self.upkeep.end().await;
        self.failed.map_or(Ok(()), Err)
    }

    /// Awaits verdicts under way, and serves the sockets until the last publication can be thought to be out.
    async fn finish_checks(&mut self) {
        let now = Instant::now();
        let deadline = now + FINISH_TIMEOUT;
        let quiet = self.last_published.map_or(now, |at| at + LINGER);
        while self.failed.is_none() {
            let until = if self.checks.is_idle() { quiet } else { deadline };
            if Instant::now() >= until {
                return;
            }
            tokio::select! {
                () = sleep_until(until.into()) => return,
                _ = self.swarm.select_next_some() => {}
                Some(done) = self.checks.next() => self.on_checked(done),
                Some(done) = self.flusher.next() => self.on_flushed(done),
                Some(done) = self.releases.next() => self.on_released(done),
            }
            self.settle();
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Submit(verified) => self.feed(Input::Own(verified)),
            Command::Follow(own) => self.feed(Input::Follow(own)),
            // An asker that no longer waits needs no answer.
            Command::Peers(answer) => drop(answer.send(self.peers.infos())),
            Command::Refused(answer) => drop(answer.send(self.refusals.shown())),
            Command::Holders(own, answer) => drop(answer.send(self.engine.holders(&own))),
            Command::Status(answer) => drop(answer.send(self.engine.status())),
            Command::Book(answer) => drop(answer.send(Box::new(self.engine.book().clone()))),
            Command::Compare(peer, from, answer) => self.compare(&peer, from, answer),
        }
    }

    fn on_checked(&mut self, done: Result<Vec<Checked>, JoinError>) {
        match done {
            Ok(verdicts) => {
                self.inputs.extend(verdicts.into_iter().map(|(token, verdict)| Input::Checked { token, verdict }));
                self.drain();
            }
            Err(_) => self.fail(DriverError::Task),
        }
    }

    fn on_flushed(&mut self, done: Result<Flushed, JoinError>) {
        let flushed = done.unwrap_or(Err(StoreError::BrokenOff));
        let Some(()) = self.ledger.write().ok().map(|mut ledger| ledger.flushed(flushed.is_ok())) else {
            return self.fail(DriverError::Task);
        };
        self.flusher.ended(&flushed, system_time(), Instant::now());
        if let Ok(count) = flushed {
            self.wires.durable.send_replace(count);
            self.notary.release(count, system_time());
            self.feed(Input::Durable(Position::new(count)));
        }
        // Who waits for what is durable, and the next flush, come first.
        self.start_work();
        self.upkeep.start(&self.ledger);
    }

    /// The log grew: it is to be flushed, and who waits is told.
    pub(super) fn grown(&mut self) {
        let now = Instant::now();
        self.flusher.grown(now);
        if let Ok(ledger) = self.ledger.read() {
            self.wires.logged.send_replace(Logged { count: ledger.store().len(), since: now });
        }
    }

    fn on_released(&mut self, done: Result<Released, JoinError>) {
        match done {
            Ok(released) => self.releases.ended(released, Instant::now()),
            Err(_) => self.fail(DriverError::Task),
        }
        self.start_work();
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        self.state_checkpoint(now);
        self.feed(Input::Tick);
        self.dial_due(now);
        self.sweep(now);
    }

    /// Hands an input to the engine and does what it says, and what follows from that.
    pub(super) fn feed(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.drain();
    }

    /// Hands all inputs that wait to the engine. Outputs are carried out in order, before the next input.
    pub(super) fn drain(&mut self) {
        while let Some(input) = self.next_input() {
            if self.failed.is_some() {
                return;
            }
            let now = self.now();
            let Some(outputs) = self.ledger.write().ok().map(|mut ledger| self.engine.handle(input, now, &mut ledger))
            else {
                return self.fail(DriverError::Task);
            };
            for output in outputs {
                self.apply(output);
            }
        }
        self.checks.start();
        self.work_due = true;
    }

    /// The next input that waits, or else the verdict on what waits for one alone.
    fn next_input(&mut self) -> Option<Input> {
        let checked = |(token, verdict)| Input::Checked { token, verdict };
        self.inputs.pop_front().or_else(|| self.checks.one_here().map(checked))
    }

    /// Starts what is due on threads that are free.
    pub(super) fn start_work(&mut self) {
        let now = Instant::now();
        self.checks.start();
        self.notary.start(now);
        self.releases.start(now);
        if let Err(error) = self.flusher.start(&self.ledger, system_time(), now) {
            self.fail(error);
        }
    }

    /// Ends the loop, for the first reason that there is.
    pub(super) fn fail(&mut self, error: DriverError) {
        tracing::error!(%error, "the network stops");
        self.failed.get_or_insert(error);
    }

    fn now(&self) -> Now {
        let elapsed = self.started.elapsed().as_millis();
        Now { system: system_time(), elapsed_ms: u64::try_from(elapsed).unwrap_or(u64::MAX) }
    }
}

/// Waits until a moment, or for ever.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// The system clock. One that stands before 1970 counts as 1970.
pub(super) fn system_time() -> Time {
    Time::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Another stream of draws than the engine's: peers can watch the jitter.
fn jitter_seed(seed: [u8; 32]) -> [u8; 32] {
    seed.map(|byte| byte ^ 0x5c)
}
