//! The command line: parse, run, print, exit code. 0 done, 1 it could not be done, 2 wrong usage.

use std::process::ExitCode;

use clap::Parser;
use qasedak_chain::Network;

use crate::{
    demo,
    failure::{Failure, Outcome},
    paths::Paths,
};

pub mod args;
mod audit;
pub mod client;
mod commands;
mod fetch;
mod init;
mod ledger;
mod messages;
pub mod output;
mod people;
mod progress;
mod run;
mod status;
mod wallet;

use args::{AuditCommand, Cli, Command};
use output::Output;

/// What a command works with.
#[derive(Debug, Clone)]
struct Context {
    network: Network,
    paths: Paths,
    output: Output,
    passphrase_file: Option<std::path::PathBuf>,
}

/// Runs the program with the process' arguments.
pub fn main() -> ExitCode {
    // Any command may be given a passphrase.
    crate::harden::no_core_dumps();
    // clap prints usage errors itself and exits with 2; help and version with 0.
    let cli = Cli::parse();
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}

#[allow(clippy::print_stderr, reason = "the one place where a failure is told to a person")]
fn complain(failure: &Failure) {
    eprintln!("qasedak: {failure}");
}

/// Tells the person at the terminal something beside the result.
#[allow(clippy::print_stderr, reason = "a notice to the person at the terminal, beside the result on standard output")]
fn notice(text: &str) {
    eprintln!("{text}");
}

fn execute(cli: Cli) -> Outcome {
    let global = cli.global;
    // Files of others are checked on any machine, with no data directory and whatever the network is called.
    if let Command::Audit(AuditCommand::Check { file }) = &cli.command {
        return audit::check(Output::new(global.json), file);
    }
    let name = global.network.as_deref().unwrap_or("main");
    let network = Network::named(name).map_err(|error| Failure::usage(format!("{name:?}: {error}")))?;
    let context = Context {
        paths: Paths::new(global.data, network.name())?,
        network,
        output: Output::new(global.json),
        passphrase_file: global.passphrase_file,
    };
    match cli.command {
        Command::Init { phrase_file } => init::init(&context, phrase_file.as_deref()),
        Command::Run(flags) => run::run(&context, &flags),
        Command::Audit(command) => audit::execute(&context, &command),
        Command::Ledger(command) => ledger::execute(&context, &command),
        Command::Wallet(command) => wallet::execute(&context, &command),
        Command::Demo => demo::demo(context.output),
        command => commands::execute(&context, command),
    }
}
