//! What a check of stamp and signature says, and which transactions may be stored at all.
//!
//! Verdicts are remembered for the very bytes of a header. What the simulator made with made-up signature and stamp
//! counts as signed and paid for; of everything else the real rules are asked. Apart from that the simulator keeps its
//! own list of what is sound, which shares nothing with the rules under test: whatever an honest node stores must
//! stand in it.

use std::collections::BTreeMap;

use qasedak_chain::{
    Network, Transaction, TxId,
    rules::{self, RuleError, Verified},
};

/// A transaction that may be stored.
#[derive(Clone, Debug)]
pub struct Sound {
    /// Whole, with its body.
    pub transaction: Transaction,
    /// Whether an honest node wrote it.
    pub honest: bool,
}

/// See the module's page.
#[derive(Debug)]
pub struct Oracle {
    network: Network,
    /// By the hash of the header's bytes.
    verdicts: BTreeMap<[u8; 32], Result<Verified, RuleError>>,
    sound: BTreeMap<TxId, Sound>,
    /// How often the real rules were asked.
    pub asked: u64,
}

fn key(transaction: &Transaction) -> [u8; 32] {
    *blake3::hash(&transaction.header().to_bytes()).as_bytes()
}

impl Oracle {
    pub fn new(network: Network) -> Self {
        Self { network, verdicts: BTreeMap::new(), sound: BTreeMap::new(), asked: 0 }
    }

    /// Takes a transaction for signed and stamped, whether it is sound otherwise or not.
    pub fn paid(&mut self, transaction: &Transaction) -> Verified {
        let verified = Verified::unchecked(transaction.clone());
        self.verdicts.insert(key(transaction), Ok(verified.clone()));
        verified
    }

    /// It obeys all rules: an honest node may store it.
    pub fn is_sound(&mut self, transaction: &Transaction, honest: bool) {
        self.sound.insert(transaction.id(), Sound { transaction: transaction.clone(), honest });
    }

    /// All that may be stored.
    pub fn sound(&self) -> &BTreeMap<TxId, Sound> {
        &self.sound
    }

    /// The verdict on stamp and signature.
    pub fn check(&mut self, transaction: Transaction) -> Result<Box<Verified>, RuleError> {
        let key = key(&transaction);
        if !self.verdicts.contains_key(&key) {
            self.asked += 1;
            let verdict = rules::verify(&self.network, transaction.clone());
            self.verdicts.insert(key, verdict);
        }
        match &self.verdicts[&key] {
            Ok(verified) if *verified.transaction() == transaction => Ok(Box::new(verified.clone())),
            Ok(_) => Ok(Box::new(Verified::unchecked(transaction))),
            Err(rule) => Err(*rule),
        }
    }
}
