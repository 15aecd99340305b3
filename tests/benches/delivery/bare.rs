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
use tokio::sync::mpsc;

use crate::topology::Topology;

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
            let (full, is_full) = tokio::sync::oneshot::channel();
            tokio::spawn(run(swarm, topic.clone(), receiver, Arc::clone(&clock), (topology.degree(node), full)));
            publish.push(sender);
            ready.push(is_full);
        }
        for is_full in ready {
            is_full.await.unwrap();
        }
        Self { publish, clock }
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
        loop {
            {
                let mut clock = self.clock.lock().unwrap();
                if clock.deliveries.len() >= expected {
                    return std::mem::take(&mut clock.deliveries);
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn run(
    mut swarm: Swarm<Gossip>,
    topic: IdentTopic,
    mut publish: mpsc::UnboundedReceiver<Vec<u8>>,
    clock: Arc<Mutex<Clock>>,
    (degree, full): (usize, tokio::sync::oneshot::Sender<()>),
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
                Some(bytes) => drop(swarm.behaviour_mut().publish(topic.hash(), bytes).unwrap()),
                None => return,
            },
            _ = look.tick(), if full.is_some() => {
                if swarm.behaviour().mesh_peers(&topic.hash()).count() >= degree {
                    full.take().unwrap().send(()).unwrap();
                }
            }
        }
    }
}
