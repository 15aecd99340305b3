//! `init`: a wallet from 24 new words, shown once, or from words that the person has.

use std::path::Path;

use qasedak_wallet::{KdfCost, Phrase, Wallet};
use serde::Serialize;
use zeroize::Zeroizing;

use super::Context;
use crate::{
    failure::{Failure, Outcome, io_failure},
    node::{now, rng},
    passphrase,
    paths::read_small,
};

/// What `init --json` prints.
#[derive(Serialize)]
struct Made<'a> {
    address: &'a str,
    /// The words, when they are new: the only time that they are shown.
    words: Option<&'a str>,
}

pub(super) fn init(context: &Context, phrase_file: Option<&Path>) -> Outcome {
    let _lock = context.paths.take()?;
    create(context, phrase_file).map(drop)
}

/// Makes the wallet of a data directory that this process has taken, and shows address and words.
pub(super) fn create(context: &Context, phrase_file: Option<&Path>) -> Outcome<Wallet> {
    let dir = context.paths.wallet();
    if Wallet::exists(&dir).map_err(Failure::failed)? {
        return Err(Failure::failed(format!(
            "there is a wallet in {} already; run it with: qasedak run, or choose another directory with --data",
            dir.display()
        )));
    }
    let mut rng = rng()?;
    let phrase = match phrase_file {
        Some(path) => read_phrase(path)?,
        None => Phrase::generate(&mut rng).map_err(Failure::failed)?,
    };
    let secret = passphrase::new(context.passphrase_file.as_deref())?;
    let wallet = Wallet::create(&dir, &context.network, &phrase, &secret, KdfCost::STANDARD, now(), &mut rng)
        .map_err(Failure::failed)?;
    let address = wallet.address().to_string();
    let words = phrase_file.is_none().then(|| phrase.words());
    let made = Made { address: &address, words: words.as_ref().map(|words| words.as_str()) };
    context.output.show(&made, text)?;
    Ok(wallet)
}

fn text(made: &Made<'_>) -> String {
    let Some(words) = made.words else {
        return format!(
            "restored {}\nold messages need an export from before (qasedak wallet import FILE, into a directory without a wallet): the \
             words alone do not open them",
            made.address
        );
    };
    let numbered: Vec<String> =
        words.split_whitespace().enumerate().map(|(n, word)| format!("{:>4}. {word}", n + 1)).collect();
    let rows: String =
        numbered.chunks(4).map(|row| row.iter().map(|w| format!("{w:<16}")).collect::<String>() + "\n").collect();
    format!(
        "Write these 24 words on paper, in this order, and hide it. They are shown this once.\n\
         Whoever has them can be you. Without them a lost computer is a lost address.\n\
         They give back the address, not old messages: those need an export (qasedak wallet export FILE).\n\n{rows}\n\
         your address: {}",
        made.address
    )
}

fn read_phrase(path: &Path) -> Outcome<Phrase> {
    let text = Zeroizing::new(read_small(path).map_err(io_failure("cannot read the words in", path))?);
    Phrase::parse(&text).map_err(Failure::failed)
}
