//! Bare gossipsub: nothing but a swarm that relays what comes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, Swarm, SwarmBuilder,
    gossipsub::{self, IdentTopic},
    noise,
    swarm::SwarmEvent,
    tcp, yamux,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout_at},
};

use crate::topology::Topology;

/// How long connections and meshes may take, with all swarms on one machine; and how often all of it is tried. A dial that
/// fails, or a stream that takes too long to be agreed on, is not tried again by a bare swarm.
const READY: Duration = Duration::from_secs(30);
const ATTEMPTS: usize = 3;
/// A round ends when nothing has come for so long: what gossipsub dropped comes no more.
const SILENCE: Duration = Duration::from_secs(20);

type Gossip = gossipsub::Behaviour;

/// When messages were given out, by their bytes' hash, and how long they took.
#[derive(Default)]
struct Clock {
    sent: HashMap<[u8; 32], Instant>,
    deliveries: Vec<Duration>,
}

/// A network of swarms.
pub struct Swarms {
    publish: Vec<mpsc::UnboundedSender<Vec<u8>>>,
    clock: Arc<Mutex<Clock>>,
}

fn swarm() -> Swarm<Gossip> {
    let config = qasedak_p2p::gossip_config().build().unwrap();
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| Gossip::new(gossipsub::MessageAuthenticity::Anonymous, config).unwrap())
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build()
}

impl Swarms {
    /// Connects all as the topology says, and waits until all meshes are full.
    pub async fn start(topology: &Topology) -> Self {
        for attempt in 1..=ATTEMPTS {
            match Self::try_start(topology).await {
                Ok(swarms) => return swarms,
                Err(late) => println!("bare gossipsub, attempt {attempt} of {ATTEMPTS}: {late}"),
            }
        }
        panic!("the meshes of bare gossipsub do not fill: is the machine too busy?");
    }

    /// # Errors
    /// Which of the meshes were not full in time.
    async fn try_start(topology: &Topology) -> Result<Self, String> {
        let (clock, topic) = (Arc::<Mutex<Clock>>::default(), IdentTopic::new("delivery"));
        let (mut publish, mut addresses, mut ready): (_, Vec<Multiaddr>, _) = (Vec::new(), Vec::new(), Vec::new());
        for node in 0..topology.len() {
            let mut swarm = swarm();
            swarm.behaviour_mut().subscribe(&topic).unwrap();
            swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
            let address = loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    break address;
                }
            };
            addresses.push(address);
            topology.dials(node).iter().for_each(|other| swarm.dial(addresses[*other].clone()).unwrap());
            let (sender, receiver) = mpsc::unbounded_channel();
            let (full, is_full) = oneshot::channel();
            tokio::spawn(run(swarm, topic.clone(), receiver, Arc::clone(&clock), (topology.degree(node), full)));
            publish.push(sender);
            ready.push(is_full);
        }
        let deadline = tokio::time::Instant::now() + READY;
        let mut late = Vec::new();
        for (node, is_full) in ready.into_iter().enumerate() {
            if !matches!(timeout_at(deadline, is_full).await, Ok(Ok(()))) {
                late.push(node);
            }
        }
        // The swarms of an attempt that failed end with their senders.
        if late.is_empty() { Ok(Self { publish, clock }) } else { Err(format!("not full in {READY:?}: {late:?}")) }
    }

    /// Gives messages out, each from the next node, and waits until all have all.
    pub async fn round(&self, messages: Vec<Vec<u8>>, pace: Duration) -> Vec<Duration> {
        let expected = messages.len() * (self.publish.len() - 1);
        let mut every = tokio::time::interval(pace);
        for (nth, bytes) in messages.into_iter().enumerate() {
            every.tick().await;
            self.clock.lock().unwrap().sent.insert(*blake3::hash(&bytes).as_bytes(), Instant::now());
            self.publish[nth % self.publish.len()].send(bytes).unwrap();
        }
        let mut last = (0, Instant::now());
        loop {
            {
                let mut clock = self.clock.lock().unwrap();
                let came = clock.deliveries.len();
                if came > last.0 {
                    last = (came, Instant::now());
                }
                let silent = last.1.elapsed() > SILENCE;
                if silent {
                    println!("bare gossipsub lost {} of {expected} deliveries", expected - came);
                }
                if silent || came >= expected {
                    return std::mem::take(&mut clock.deliveries);
                }
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn run(
    mut swarm: Swarm<Gossip>,
    topic: IdentTopic,
    mut publish: mpsc::UnboundedReceiver<Vec<u8>>,
    clock: Arc<Mutex<Clock>>,
    (degree, full): (usize, oneshot::Sender<()>),
) {
    let mut full = Some(full);
    let mut look = tokio::time::interval(Duration::from_millis(50));
    loop {
        tokio::select! {
            event = swarm.select_next_some() => {
                if let SwarmEvent::Behaviour(gossipsub::Event::Message { message, .. }) = event {
                    let now = Instant::now();
                    let mut clock = clock.lock().unwrap();
                    let sent = clock.sent[blake3::hash(&message.data).as_bytes()];
                    clock.deliveries.push(now.duration_since(sent));
                }
            }
            bytes = publish.recv() => match bytes {
                Some(bytes) => {
                    if let Err(error) = swarm.behaviour_mut().publish(topic.hash(), bytes) {
                        println!("bare gossipsub does not publish: {error}");
                    }
                }
                None => return,
            },
            _ = look.tick(), if full.is_some() => {
                if swarm.behaviour().mesh_peers(&topic.hash()).count() >= degree {
                    // Nobody waits any more when this attempt is given up.
                    if let Some(full) = full.take() {
                        let _ = full.send(());
                    }
                }
            }
        }
    }
}
