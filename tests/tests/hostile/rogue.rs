//! A hostile peer: a connection whose every layer is ours, so that each can be got wrong alone.
//!
//! TCP, Noise and Yamux are libp2p's; multistream-select and everything above are written by hand. There is no swarm:
//! nothing keeps the rules for a rogue, and nothing that it does is refused on its own side.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{
    Multiaddr, Transport,
    core::{
        Endpoint,
        muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox},
        transport::{DialOpts, PortUse},
        upgrade::OutboundConnectionUpgrade,
    },
    identity::Keypair,
    noise, quic, tcp, yamux,
};
use qasedak_chain::Network;
use qasedak_p2p::wire;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    frames::{self, framed, gossip, line},
    manners::{self, Manners},
};

/// No reply of a node on this machine takes nearly as long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A TCP connection.
pub type Socket = <tcp::tokio::Transport as Transport>::Output;
/// An authenticated and encrypted one.
pub type Pipe = noise::Output<Socket>;

/// Connects by TCP.
pub async fn connect(address: &Multiaddr) -> io::Result<Socket> {
    let mut transport = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true));
    let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    transport.dial(address.clone(), opts).map_err(|error| io::Error::other(error.to_string()))?.await
}

/// Agrees on a protocol as the side that asks, and returns whether the other has it.
pub async fn agree<T: AsyncRead + AsyncWrite + Unpin>(io: &mut T, protocol: &str) -> io::Result<bool> {
    io.write_all(&[line("/multistream/1.0.0"), line(protocol)].concat()).await?;
    io.flush().await?;
    read_line(io).await?;
    Ok(read_line(io).await? == protocol)
}

/// A line of multistream-select.
pub async fn read_line<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<String> {
    let (mut length, mut byte) = (0_usize, [0]);
    for shift in (0..21).step_by(7) {
        io.read_exact(&mut byte).await?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            break;
        }
    }
    let mut text = vec![0; length];
    io.read_exact(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// Connects by TCP and proves to hold `key`.
pub async fn secure(address: &Multiaddr, key: &Keypair) -> io::Result<Pipe> {
    let mut socket = connect(address).await?;
    agree(&mut socket, "/noise").await?;
    let noise = noise::Config::new(key).map_err(io::Error::other)?;
    Ok(noise.upgrade_outbound(socket, "/noise").await.map_err(io::Error::other)?.1)
}

/// Connects by QUIC, which proves to hold `key` as well.
pub async fn dial_quic(address: Multiaddr, key: Keypair) -> io::Result<StreamMuxerBox> {
    let mut transport = quic::tokio::Transport::new(quic::Config::new(&key));
    let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let dialled = transport.dial(address, opts).map_err(|error| io::Error::other(error.to_string()))?.await;
    Ok(StreamMuxerBox::new(dialled.map_err(io::Error::other)?.1))
}

/// Whether the other side has ended a connection.
#[derive(Clone)]
pub struct Fate(watch::Receiver<bool>);

impl Fate {
    /// Reads a connection to its end, or until nobody asks for that any more.
    pub fn of<T: AsyncRead + Unpin + Send + 'static>(mut io: T) -> Self {
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            let mut buffer = vec![0; 4_096];
            let to_its_end = async { while matches!(io.read(&mut buffer).await, Ok(count) if count > 0) {} };
            tokio::select! {
                () = to_its_end => drop(sender.send_replace(true)),
                () = sender.closed() => {}
            }
        });
        Self(receiver)
    }

    pub fn is_over(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the end; `false` when there is none in time.
    pub async fn ends_within(&mut self, patience: Duration) -> bool {
        matches!(tokio::time::timeout(patience, self.0.wait_for(|over| *over)).await, Ok(Ok(_)))
    }
}

/// A rogue on one connection.
pub struct Rogue {
    pub key: Keypair,
    pub fate: Fate,
    /// The stream on which it gossips.
    pub gossip: Option<SubstreamBox>,
    /// Bytes that the victim has sent on streams of its own.
    pub heard: Arc<AtomicU64>,
    topic: String,
    opens: mpsc::Sender<oneshot::Sender<SubstreamBox>>,
}

impl Rogue {
    /// Connects, and answers the victim as `manners` say.
    pub async fn connect(address: &Multiaddr, network: &Network, manners: Manners) -> io::Result<Self> {
        Self::connect_as(Keypair::generate_ed25519(), address, network, manners).await
    }

    pub async fn connect_as(
        key: Keypair,
        address: &Multiaddr,
        network: &Network,
        manners: Manners,
    ) -> io::Result<Self> {
        let mut pipe = secure(address, &key).await?;
        agree(&mut pipe, "/yamux/1.0.0").await?;
        let mut config = yamux::Config::default();
        config.set_max_num_streams(4_096);
        let muxer = config.upgrade_outbound(pipe, "/yamux/1.0.0").await?;
        Ok(Self::on(StreamMuxerBox::new(muxer), key, network, manners))
    }

    /// Connects by QUIC, and answers the victim as `manners` say.
    pub async fn connect_quic(address: &Multiaddr, network: &Network, manners: Manners) -> io::Result<Self> {
        let key = Keypair::generate_ed25519();
        let muxer = dial_quic(address.clone(), key.clone()).await?;
        Ok(Self::on(muxer, key, network, manners))
    }

    /// A rogue on a connection that is whole.
    fn on(muxer: StreamMuxerBox, key: Keypair, network: &Network, manners: Manners) -> Self {
        let (opens, wanted) = mpsc::channel(64);
        let (over, fate) = watch::channel(false);
        let heard = Arc::default();
        let manners = Arc::new(manners.with_identity(network, &key));
        let drive = drive(muxer, wanted, manners, Arc::clone(&heard));
        tokio::spawn(async move {
            drive.await;
            over.send_replace(true);
        });
        let topic = wire::topic(network);
        Self { key, fate: Fate(fate), gossip: None, heard, topic, opens }
    }

    /// Opens a stream on which nothing has been said.
    pub async fn open_bare(&self) -> io::Result<SubstreamBox> {
        let (sender, stream) = oneshot::channel();
        self.opens.send(sender).await.map_err(|_| io::ErrorKind::ConnectionAborted)?;
        match tokio::time::timeout(PATIENCE, stream).await {
            Ok(Ok(stream)) => Ok(stream),
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Opens a stream of a protocol.
    pub async fn open(&self, protocol: &str) -> io::Result<SubstreamBox> {
        let mut stream = self.open_bare().await?;
        if agree(&mut stream, protocol).await? { Ok(stream) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    /// Opens the stream of gossip and subscribes.
    pub async fn subscribe(&mut self) -> io::Result<()> {
        self.gossip = Some(self.open("/meshsub/1.1.0").await?);
        let topic = self.topic.clone();
        self.gossip(&gossip::subscribe(&topic, true)).await
    }

    /// Sends an RPC of gossipsub.
    pub async fn gossip(&mut self, rpc: &[u8]) -> io::Result<()> {
        self.gossip_bytes(&framed(rpc)).await
    }

    /// Sends bytes on the stream of gossip.
    pub async fn gossip_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.gossip.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        stream.write_all(bytes).await?;
        stream.flush().await
    }

    /// Publishes messages, each in a frame of its own.
    pub async fn publish<'a>(&mut self, messages: impl IntoIterator<Item = &'a Vec<u8>>) -> io::Result<()> {
        for message in messages {
            let rpc = gossip::publish(&self.topic, message);
            self.gossip(&rpc).await?;
        }
        Ok(())
    }

    /// Writes a question of sync as bytes, and returns the stream.
    pub async fn ask(&self, protocol: &str, bytes: &[u8]) -> io::Result<SubstreamBox> {
        let mut stream = self.open(protocol).await?;
        stream.write_all(bytes).await?;
        stream.flush().await?;
        Ok(stream)
    }

    /// Whether the victim still serves this connection: it answers a question of sync.
    pub async fn is_served(&self, protocol: &str) -> bool {
        let question = wire::Request::Days { from: 0 }.to_bytes().unwrap();
        let answer = async {
            let mut stream = self.ask(protocol, &frames::sync(&question)).await?;
            let mut length = [0; 4];
            stream.read_exact(&mut length).await
        };
        matches!(tokio::time::timeout(PATIENCE, answer).await, Ok(Ok(_)))
    }
}

/// Serves a connection until it ends, or the rogue is dropped.
async fn drive(
    mut muxer: StreamMuxerBox,
    mut opens: mpsc::Receiver<oneshot::Sender<SubstreamBox>>,
    manners: Arc<Manners>,
    heard: Arc<AtomicU64>,
) {
    let mut wanted: VecDeque<oneshot::Sender<SubstreamBox>> = VecDeque::new();
    poll_fn(|cx| {
        loop {
            match muxer.poll_inbound_unpin(cx) {
                Poll::Ready(Ok(stream)) => {
                    let (manners, heard) = (Arc::clone(&manners), Arc::clone(&heard));
                    tokio::spawn(async move {
                        // Whatever becomes of it, the connection tells.
                        let _ = manners::respond(stream, &manners, &heard).await;
                    });
                    continue;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            loop {
                match opens.poll_recv(cx) {
                    Poll::Ready(Some(sender)) => wanted.push_back(sender),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            if !wanted.is_empty() {
                match muxer.poll_outbound_unpin(cx) {
                    Poll::Ready(Ok(stream)) => {
                        drop(wanted.pop_front().map(|sender| sender.send(stream)));
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            match muxer.poll_unpin(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

/// Counts what was heard.
pub fn count(heard: &AtomicU64, bytes: usize) {
    heard.fetch_add(bytes as u64, Ordering::Relaxed);
}
