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
    /// Show your own address
    Id {
        /// Draw the address as a QR code too
        #[arg(long)]
        qr: bool,
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
    },
    /// Show the messages that were opened
    Inbox {
        /// Keep running and show new messages as they are opened
        #[arg(long)]
        follow: bool,
    },
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
    List,
    /// Forget a name
    Remove {
        /// The name
        name: String,
    },
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
    Log,
    /// Compare the running node with a peer: equal, or what each side lacks, block by block
    Compare {
        /// The peer's id as `peers` shows it, or the beginning of it
        peer: String,
    },
}
