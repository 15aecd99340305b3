//! A few transactions with real signatures and stamps, and what breaks each rule that needs only the transaction itself.
//! The rules that ship judge them. Made once in a process, always the same.

use std::{ops::ControlFlow, sync::OnceLock};

use curve25519_dalek::{EdwardsPoint, Scalar};
use ed25519_dalek::SigningKey;
use qasedak_chain::{
    Network, Transaction,
    stamp::{Effort, search},
    time::DAY_SECS,
    transaction::{BODY_LENS, Core, Header, LIFETIME_DEFAULT_SECS},
};
use sha2::{Digest, Sha512};

use crate::{
    maker::{self, Draft},
    world::start,
};

/// How many sound ones there are.
const SOUND: u64 = 4;
/// How many further signatures stand over each core.
const SIGNATURES: u64 = 4;
/// Numbers of theirs, which no other transaction has.
const FIRST_NUMBER: u64 = 1 << 40;
/// Where a header with one parent has its fields.
const TIME_AT: usize = 2 + 32;
const LIFETIME_AT: usize = TIME_AT + 8;
const KIND_AT: usize = LIFETIME_AT + 4;
const BODY_LEN_AT: usize = KIND_AT + 1 + 16 + 32;
const AUTHOR_AT: usize = BODY_LEN_AT + 4;
const SIGNATURE_AT: usize = AUTHOR_AT + 32;
const NONCE_AT: usize = SIGNATURE_AT + 64;
const SOLUTION_AT: usize = NONCE_AT + 8;
const BODY_AT: usize = SOLUTION_AT + 16;

/// See the module's page.
pub struct Stamped {
    /// Sound, with genesis as their parent.
    pub sound: Vec<Transaction>,
    /// Messages that break a rule, whole.
    pub broken: Vec<Vec<u8>>,
    /// Cores of the sound ones under further signatures, each valid, with the stamp of the first: each would be one more
    /// transaction for no work.
    pub resigned: Vec<Transaction>,
}

fn draft(number: u64) -> Draft {
    Draft {
        parents: vec![Network::dev().genesis()],
        time: qasedak_chain::Time::from_secs(start().secs() - DAY_SECS).rounded_down().plus(number % 60 * 60),
        lifetime_secs: LIFETIME_DEFAULT_SECS,
        body_len: 512,
        number: FIRST_NUMBER + number,
    }
}

fn stamped(number: u64) -> Transaction {
    let network = Network::dev();
    let key = SigningKey::from_bytes(&[u8::try_from(number).unwrap() + 1; 32]);
    let draft = draft(number);
    let core = Core::new(maker::fields(&network, &draft, key.verifying_key().to_bytes())).unwrap();
    let effort = Effort::required(&network, &core);
    let signed = core.sign(&network, &key).unwrap();
    let stamp = search(&signed.challenge(&network), effort, 0.., || ControlFlow::Continue(())).unwrap();
    Transaction::new(&network, signed.stamped(stamp), Some(maker::body(draft.number, draft.body_len))).unwrap()
}

/// Another valid signature over the same core: any nonce makes one.
fn resigned(number: u64, nonce: u64) -> Transaction {
    let network = Network::dev();
    let first = stamped(number);
    let core = first.core();
    let key = SigningKey::from_bytes(&[u8::try_from(number).unwrap() + 1; 32]);
    let message = core.signing_message(&network);
    let nonce = Scalar::from(nonce + 2);
    let r = EdwardsPoint::mul_base(&nonce).compress();
    let hash = Sha512::new().chain_update(r.as_bytes()).chain_update(core.author()).chain_update(message);
    let challenge = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    let s = nonce + challenge * key.to_scalar();
    let mut bytes = first.header().to_bytes();
    bytes[SIGNATURE_AT..SIGNATURE_AT + 32].copy_from_slice(r.as_bytes());
    bytes[SIGNATURE_AT + 32..NONCE_AT].copy_from_slice(s.as_bytes());
    let header = Header::from_bytes(&bytes).unwrap();
    assert!(
        qasedak_chain::rules::signature_is_valid(core.author(), &message, header.signed().signature()),
        "a signature with a nonce of one's own is as valid as any other"
    );
    Transaction::new(&network, header, first.body().map(<[u8]>::to_vec)).unwrap()
}

/// What breaks each rule, over the bytes of a sound transaction with one parent.
fn broken(sound: &[u8], other: &[u8]) -> Vec<Vec<u8>> {
    let with = |at: usize, bytes: &[u8]| {
        let mut copy = sound.to_vec();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        copy
    };
    let flipped = |at: usize| with(at, &[sound[at] ^ 1]);
    let twice = [&sound[..1], &[2], &sound[2..34], &sound[2..34], &sound[34..]].concat();
    vec![
        Vec::new(),
        vec![0x42; 300],
        sound[..100].to_vec(),
        sound[..BODY_AT + 511].to_vec(),
        [sound, &[0]].concat(),
        vec![7; 70_000],
        with(0, &[2]),
        with(1, &[0]),
        with(1, &[9]),
        twice,
        flipped(TIME_AT),
        with(TIME_AT, &(1_u64 << 40).to_le_bytes()),
        with(TIME_AT, &(start().secs() / 60 * 60 - 100 * DAY_SECS).to_le_bytes()),
        with(LIFETIME_AT, &0_u32.to_le_bytes()),
        with(LIFETIME_AT, &u32::MAX.to_le_bytes()),
        with(KIND_AT, &[2]),
        with(BODY_LEN_AT, &513_u32.to_le_bytes()),
        with(BODY_LEN_AT, &BODY_LENS[1].to_le_bytes()),
        flipped(AUTHOR_AT + 3),
        flipped(SIGNATURE_AT + 40),
        flipped(NONCE_AT),
        flipped(SOLUTION_AT + 15),
        with(NONCE_AT, &other[NONCE_AT..BODY_AT]),
        flipped(BODY_AT + 100),
    ]
}

/// All of them.
pub fn all() -> &'static Stamped {
    static ALL: OnceLock<Stamped> = OnceLock::new();
    ALL.get_or_init(|| {
        let sound: Vec<Transaction> = (0..SOUND).map(stamped).collect();
        let resigned =
            (0..SOUND).flat_map(|number| (0..SIGNATURES).map(move |nonce| resigned(number, nonce))).collect();
        let broken = broken(&sound[0].to_bytes(), &sound[1].to_bytes());
        Stamped { sound, broken, resigned }
    })
}

#[test]
fn what_is_broken_breaks_a_rule_and_what_is_sound_none() {
    let network = Network::dev();
    let judge = |bytes: &[u8]| {
        Transaction::from_bytes(&network, bytes).and_then(|whole| qasedak_chain::rules::verify(&network, whole))
    };
    for sound in &all().sound {
        assert!(judge(&sound.to_bytes()).is_ok());
    }
    for (number, bytes) in all().broken.iter().enumerate() {
        assert!(judge(bytes).is_err(), "number {number} is sound");
    }
    for resigned in &all().resigned {
        assert!(judge(&resigned.to_bytes()).is_err(), "one stamp, many ids");
    }
}
