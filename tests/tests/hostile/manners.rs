//! How a rogue answers what the victim opens: identify, ping, gossip, sync. By default as an honest peer that has
//! exactly what the victim has.

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{core::muxing::SubstreamBox, identity::Keypair};
use qasedak_chain::Network;
use qasedak_p2p::wire::{self, Request, Response};

use super::{
    frames::{self, framed, line},
    rogue::{count, read_line},
};

/// What is said on a stream.
#[derive(Clone)]
pub enum Reply {
    /// These bytes, and the end of the stream.
    Bytes(Vec<u8>),
    /// These bytes, one each half second.
    Dribble(Vec<u8>),
    /// Nothing, while the stream stays open.
    Never,
    /// That the protocol is not spoken.
    Refused,
}

/// How pings are answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    Right,
    Wrong,
    Never,
}

/// What is said to a question of sync.
pub type Answer = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// See the module's page.
#[derive(Clone)]
pub struct Manners {
    /// `None`: what an honest node says.
    pub identify: Option<Reply>,
    pub ping: Echo,
    /// Whether gossip is read.
    pub reads_gossip: bool,
    pub sync: Answer,
}

impl Default for Manners {
    fn default() -> Self {
        Self { identify: None, ping: Echo::Right, reads_gossip: true, sync: Arc::new(mirror) }
    }
}

impl Manners {
    /// Those of a peer that answers sync so.
    pub fn answering(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self { sync: Arc::new(answer), ..Self::default() }
    }

    /// Those of a peer that says so of itself.
    pub fn identified(reply: Reply) -> Self {
        Self { identify: Some(reply), ..Self::default() }
    }

    /// Fills in what an honest node says of itself.
    pub fn with_identity(mut self, network: &Network, key: &Keypair) -> Self {
        let honest = || framed(&frames::identify(&wire::identify_protocol(network), &key.public()));
        self.identify.get_or_insert_with(|| Reply::Bytes(honest()));
        self
    }
}

/// A response of sync as a frame.
pub fn response(response: &Response) -> Reply {
    Reply::Bytes(frames::sync(&response.to_bytes().unwrap()))
}

/// Has what the asker has, and nothing that it lacks.
pub fn mirror(request: &Request) -> Reply {
    response(&match request {
        Request::Digest { count, digest } => Response::Digest { count: *count, digest: *digest },
        Request::Days { .. } => Response::Days(Vec::new()),
        Request::Day { .. } => Response::Day(Vec::new()),
        Request::Transactions { .. } => Response::Transactions(Vec::new()),
        Request::Checkpoint { .. } => Response::Checkpoint { checkpoint: None, path: Vec::new() },
        #[allow(unreachable_patterns, reason = "what later versions ask may always be put off")]
        _ => Response::Busy,
    })
}

/// Serves a stream that the victim opened.
pub async fn respond(mut stream: SubstreamBox, manners: &Manners, heard: &AtomicU64) -> io::Result<()> {
    read_line(&mut stream).await?;
    stream.write_all(&line("/multistream/1.0.0")).await?;
    loop {
        stream.flush().await?;
        let protocol = read_line(&mut stream).await?;
        let identify = manners.identify.clone().unwrap_or(Reply::Refused);
        let known = match &*protocol {
            "/ipfs/id/1.0.0" => !matches!(identify, Reply::Refused),
            name => name == "/ipfs/ping/1.0.0" || name == "/meshsub/1.1.0" || name.contains("/sync/"),
        };
        if !known {
            stream.write_all(&line("na")).await?;
            continue;
        }
        stream.write_all(&line(&protocol)).await?;
        stream.flush().await?;
        return match &*protocol {
            "/ipfs/id/1.0.0" => say(&mut stream, identify).await,
            "/ipfs/ping/1.0.0" => echo(stream, manners.ping).await,
            "/meshsub/1.1.0" if manners.reads_gossip => listen(stream, heard).await,
            "/meshsub/1.1.0" => say(&mut stream, Reply::Never).await,
            _ => {
                let request = read_request(&mut stream).await?;
                say(&mut stream, (manners.sync)(&request)).await
            }
        };
    }
}

async fn read_request<T: AsyncRead + Unpin>(stream: &mut T) -> io::Result<Request> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut bytes).await?;
    Request::from_bytes(&bytes).map_err(io::Error::other)
}

async fn say<T: AsyncRead + AsyncWrite + Unpin>(stream: &mut T, reply: Reply) -> io::Result<()> {
    match reply {
        Reply::Bytes(bytes) => {
            stream.write_all(&bytes).await?;
            stream.close().await
        }
        Reply::Dribble(bytes) => {
            for byte in bytes {
                stream.write_all(&[byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Ok(())
        }
        // Longer than anything waits for it.
        Reply::Never => {
            tokio::time::sleep(Duration::from_secs(120)).await;
            Ok(())
        }
        Reply::Refused => Ok(()),
    }
}

async fn echo(mut stream: SubstreamBox, how: Echo) -> io::Result<()> {
    let mut ping = [0; 32];
    loop {
        stream.read_exact(&mut ping).await?;
        match how {
            Echo::Right => stream.write_all(&ping).await?,
            Echo::Wrong => stream.write_all(&ping.map(|byte| !byte)).await?,
            Echo::Never => continue,
        }
        stream.flush().await?;
    }
}

async fn listen(mut stream: SubstreamBox, heard: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1_024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            bytes => count(heard, bytes),
        }
    }
}
