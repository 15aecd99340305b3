//! What the command line understands. Parsing only; nothing here does anything.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::config::ByteSize;

/// Send sealed messages with no server in the middle, and audit that none was altered or removed.
#[derive(Debug, Parser)]
#[command(name = "qasedak", version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Settings that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Settings that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Directory that holds everything of this node
    #[arg(long, global = true, env = "QASEDAK_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Which network: main, dev, or a name of your own [default: main]
    #[arg(long, global = true, env = "QASEDAK_NETWORK", value_name = "NAME")]
    pub network: Option<String>,
    /// Print JSON with stable fields instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// Read the wallet's passphrase from the first line of this file
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a wallet from 24 new words, shown once
    Init {
        /// Restore the wallet from the 24 words in this file
        #[arg(long, value_name = "FILE")]
        phrase_file: Option<PathBuf>,
    },
    /// Run a peer until Ctrl-C
    Run(RunArgs),
    /// Show your own addresses
    Id {
        /// Draw the address as a QR code too
        #[arg(long)]
        qr: bool,
        /// Make a further identity of the same 24 words, with an address of its own
        #[arg(long, value_name = "NAME", conflicts_with = "qr")]
        new: Option<String>,
    },
    /// Keep names for addresses
    #[command(subcommand)]
    Contact(ContactCommand),
    /// Send a message and print its transaction id
    Send {
        /// A contact's name, or an address
        who: String,
        /// The text; '-' reads it from standard input
        #[arg(allow_hyphen_values = true)]
        text: String,
        /// When it is gone from both wallets: 1h to 90d
        #[arg(long, value_name = "TIME", default_value = "30d")]
        expires: Lifetime,
        /// The number of the message that this one answers, as `history` shows it
        #[arg(long, value_name = "NUMBER")]
        reply_to: Option<u64>,
        /// Send it although something is odd about the recipient's keys
        #[arg(long)]
        despite_key_change: bool,
    },
    /// Show the messages that were opened
    Inbox {
        /// Keep running and show new messages as they are opened
        #[arg(long)]
        follow: bool,
    },
    /// Show what was said with someone, both ways, the newest last
    History {
        /// A contact's name, or an address
        who: String,
        /// Only texts that contain this
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Only messages before this number: the page before
        #[arg(long, value_name = "NUMBER")]
        before: Option<u64>,
        /// How many, at most 200
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Show what is not out yet, and why
    Outbox,
    /// See what strangers sent, and decide
    #[command(subcommand)]
    Request(RequestCommand),
    /// Look after the wallet's files, while no node runs
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// Show the state of the running node
    Status,
    /// Show who is connected, how, and since when, and who is refused for a while and why
    Peers {
        /// Show only those that are refused
        #[arg(long)]
        refused: bool,
    },
    /// Show a block: by default the newest
    Block {
        /// The block's number (UTC hours since 1970), or its hour as YYYY-MM-DDTHH
        which: Option<String>,
    },
    /// Show one transaction
    Show {
        /// The transaction's id: 64 hexadecimal digits
        id: String,
    },
    /// Check the ledger, export it, prove what is in it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Look after the ledger's files, while no node runs
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Watch three nodes on this machine exchange a message, end to end, in ten seconds
    Demo,
}

/// Settings of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Address to listen on, as a multiaddress; may be given more than once
    #[arg(long, value_name = "MULTIADDR", num_args = 1..)]
    pub listen: Vec<String>,
    /// Address of a peer to connect to; may be given more than once
    #[arg(long, value_name = "MULTIADDR", num_args = 1..)]
    pub peer: Vec<String>,
    /// Where the local API listens; loopback only [default: 127.0.0.1, a free port]
    #[arg(long, value_name = "ADDR:PORT")]
    pub api: Option<SocketAddr>,
    /// Run as a relay, without opening a wallet
    #[arg(long)]
    pub no_wallet: bool,
    /// Find what is sent to the owner of a scan key file, and hand it over; may be given more than once
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub find_for: Vec<PathBuf>,
    /// Keep all bodies for good, also those whose lifetime is over
    #[arg(long, conflicts_with = "bodies_budget")]
    pub archive: bool,
    /// Most that bodies may take on the disk, like 20GiB or 500MB; over it, the oldest go early [default: 20GiB]
    #[arg(long, value_name = "SIZE")]
    pub bodies_budget: Option<ByteSize>,
}

/// Contacts.
#[derive(Debug, Subcommand)]
pub enum ContactCommand {
    /// Keep a name for an address
    Add {
        /// The name, as you want to call them
        name: String,
        /// Their address, qsd1…
        address: String,
    },
    /// List the names
    List {
        /// List whose messages are dropped instead; `contact unblock` takes them again
        #[arg(long)]
        blocked: bool,
    },
    /// Forget a name
    Remove {
        /// The name
        name: String,
    },
    /// Show the safety number that you and they must both see; with the number, compare it
    Verify {
        /// The name
        name: String,
        /// The 60 digits that they see, with or without spaces
        number: Vec<String>,
    },
    /// Give a name another address
    Change {
        /// The name
        name: String,
        /// The new address, qsd1…
        address: String,
    },
    /// Tell them when you have opened their messages, or not
    Receipts {
        /// The name
        name: String,
        /// on or off
        #[arg(value_parser = parse_switch, action = clap::ArgAction::Set)]
        switch: bool,
    },
    /// Say by which of your identities they are written to
    Identity {
        /// The name
        name: String,
        /// Its name, or its address
        identity: String,
    },
    /// Drop what someone sends from now on
    Block {
        /// A contact's name, or an address
        who: String,
    },
    /// Take messages of someone again
    Unblock {
        /// A contact's name, or an address
        who: String,
    },
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("say on or off".to_owned()),
    }
}

/// Strangers.
#[derive(Debug, Subcommand)]
pub enum RequestCommand {
    /// List what strangers sent
    List,
    /// Make a stranger a contact; what they sent moves to the inbox
    Accept {
        /// Their address, qsd1…
        address: String,
        /// The name, as you want to call them
        name: String,
    },
    /// Remove what a stranger sent
    Decline {
        /// Their address, qsd1…
        address: String,
    },
}

/// Upkeep of the wallet's files.
#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Change the passphrase
    Passphrase {
        /// Read the new one from the first line of this file
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Write the whole wallet to one encrypted file: keys, contacts, messages
    Export {
        /// The new file
        file: PathBuf,
        /// Read the passphrase for that file from the first line of this one
        #[arg(long, value_name = "FILE")]
        export_passphrase_file: Option<PathBuf>,
    },
    /// Make the wallet from an export, where there is none
    Import {
        /// The export
        file: PathBuf,
        /// Read the passphrase of the export from the first line of this file
        #[arg(long, value_name = "FILE")]
        export_passphrase_file: Option<PathBuf>,
    },
    /// Have another node find what is sent to you, without being able to read it
    #[command(subcommand)]
    ScanKey(ScanKeyCommand),
    /// Fetch what another node has found for you, check it, and open it
    Fetch {
        /// The scan key file that the other node has, too
        file: PathBuf,
        /// Where that node's API listens: on this computer, or at this end of a tunnel
        #[arg(long, value_name = "ADDR:PORT")]
        from: SocketAddr,
        /// Begin anew, instead of where the last time ended
        #[arg(long)]
        all: bool,
    },
    /// Destroy the wallet: its keys first
    Wipe {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Scan keys.
#[derive(Debug, Subcommand)]
pub enum ScanKeyCommand {
    /// Write a file with which `run --find-for` finds, and cannot open, what is sent to one of your identities
    Export {
        /// The identity: its address, or its name
        identity: String,
        /// Write to this new file
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// How long a message lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime(u32);

impl Lifetime {
    /// In seconds, 1 hour to 90 days.
    pub fn secs(self) -> u32 {
        self.0
    }
}

impl std::str::FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [('h', 3_600), ('d', 86_400), ('m', 60)];
        let secs = units.iter().find_map(|(unit, secs)| {
            let count: u32 = text.strip_suffix(*unit)?.parse().ok()?;
            count.checked_mul(*secs)
        });
        secs.filter(|secs| (3_600..=90 * 86_400).contains(secs))
            .map(Self)
            .ok_or_else(|| "say how long in hours or days, like 1h, 12h or 30d: 1h to 90d".to_owned())
    }
}

/// Upkeep of the ledger's files.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Compare the index with the log that it is derived from
    Check,
    /// Set the index aside and derive it anew from the log
    RebuildIndex,
    /// Make a new log from what is whole in a damaged one, which is kept
    Repair,
}

/// Audits.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check the whole ledger from its files, with or without a running node
    Verify,
    /// Write the whole ledger as JSON Lines, from its files, with or without a running node
    Export {
        /// Write to this new file [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write a file that proves that a transaction is in its block, or is not in a block, by the word of peers
    Prove {
        /// The transaction's id: 64 hexadecimal digits
        id: String,
        /// Prove that it is not in the block that --block names
        #[arg(long, requires = "block")]
        absent: bool,
        /// The block's number (UTC hours since 1970), or its hour as YYYY-MM-DDTHH
        #[arg(long, value_name = "N", requires = "absent")]
        block: Option<String>,
        /// Write to this new file
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Open one message that you received or sent to others: its text, who wrote it, and the proof
    Disclose {
        /// The message: the id of its transaction
        message: String,
        /// Write to this new file
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Say what a proof or a disclosure proves, by whose word, and what it does not; needs no node and no ledger
    Check {
        /// The file
        file: PathBuf,
    },
    /// Show the checkpoints that peers have signed, and any that contradict one another
    Log {
        /// Show all that are kept, not the newest of each peer's log alone: proofs cite the older ones too
        #[arg(long)]
        all: bool,
    },
    /// Compare the running node with a peer: equal, or what each side lacks, block by block
    Compare {
        /// The peer's id as `peers` shows it, or the beginning of it
        peer: String,
        /// Begin at this block: its number (UTC hours since 1970), or its hour as YYYY-MM-DDTHH [default: the first]
        #[arg(long, value_name = "BLOCK")]
        from: Option<String>,
    },
}
