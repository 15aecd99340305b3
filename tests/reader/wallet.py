"""Keys, addresses, cards, envelopes, keystores, exports, scan key files and disclosures, from docs/wallet-format.md alone.

Of the wallet's database, what an export holds of it is read: keys, values, the rows and the header among them.
"""

import hashlib
import hmac
import json
import struct
import unicodedata
from collections import namedtuple

import ed25519
from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from kyber_py.ml_kem import ML_KEM_768
from mnemonic import Mnemonic
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as xchacha20poly1305_decrypt
from nacl.bindings import crypto_scalarmult
from nacl.exceptions import CryptoError
from proof import check as check_proof
from proof import octets, strict_json
from protocol import H, Refused, core_without_body_hash, need, network, transaction, u32, u64

WORDS = Mnemonic("english").wordlist
NINE = (9).to_bytes(32, "little")


# --- Phrase and keys -------------------------------------------------------------------------------------------------


def entropy_of(phrase):
    """The entropy of 24 words (BIP-39)."""
    words = phrase.lower().split()
    need(len(words) == 24, "WordCount")
    number = 0
    for word in words:
        need(word in WORDS, "UnknownWord")
        number = number << 11 | WORDS.index(word)
    entropy = (number >> 8).to_bytes(32, "big")
    need(hashlib.sha256(entropy).digest()[0] == number & 255, "Checksum")
    return entropy


def words_of(entropy):
    number = int.from_bytes(entropy, "big") << 8 | hashlib.sha256(entropy).digest()[0]
    return " ".join(WORDS[number >> 11 * n & 2047] for n in reversed(range(24)))


def seed_of(entropy):
    return hashlib.pbkdf2_hmac("sha512", words_of(entropy).encode(), b"mnemonic", 2048)


Identity = namedtuple("Identity", "secret public address scan scan_public")


def identity(seed, account):
    secret = H("wallet-key", seed, b"identity", u32(account))
    scan = H("wallet-key", seed, b"scan", u32(account))
    public = ed25519.public(secret)
    return Identity(secret, public, address_text(public), scan, x25519(scan, NINE))


def x25519(scalar, u):
    try:
        return crypto_scalarmult(scalar, u)
    except (CryptoError, RuntimeError) as error:  # libsodium gives no all-zero result
        raise Refused("LowOrder") from error


def low_order(u):
    """Whether a public key yields all zero for any scalar."""
    try:
        x25519(bytes(32), u)
        return False
    except Refused:
        return True


# --- Address (BIP-350) -----------------------------------------------------------------------------------------------

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def polymod(values):
    sum_ = 1
    for value in values:
        top = sum_ >> 25
        sum_ = (sum_ & 0x1FFFFFF) << 5 ^ value
        for n, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            sum_ ^= generator if top >> n & 1 else 0
    return sum_


PREFIX = [ord(c) >> 5 for c in "qsd"] + [0] + [ord(c) & 31 for c in "qsd"]


def address_text(public):
    number = int.from_bytes(public, "big") << 4
    data = [number >> 5 * n & 31 for n in reversed(range(52))]
    sum_ = polymod(PREFIX + data + [0] * 6) ^ 0x2BC830A3
    return "qsd1" + "".join(ALPHABET[v] for v in data + [sum_ >> 5 * n & 31 for n in reversed(range(6))])


def address_of(text):
    """The identity public key of an address."""
    need(text in (text.lower(), text.upper()), "Case")
    text = text.lower()
    need(text.startswith("qsd1"), "Prefix")
    need(len(text) == 62, "Length")
    need(all(c in ALPHABET for c in text[4:]), "Character")
    data = [ALPHABET.index(c) for c in text[4:]]
    need(polymod(PREFIX + data) == 0x2BC830A3, "Checksum")
    number = 0
    for value in data[:52]:
        number = number << 5 | value
    need(number & 15 == 0, "Padding")
    public = (number >> 4).to_bytes(32, "big")
    need(ed25519.proper_key(public), "Key")
    return public


# --- X-Wing (draft-connolly-cfrg-xwing-kem) --------------------------------------------------------------------------


def xwing_keys(secret):
    """ML-KEM's decapsulation key, the X25519 scalar, and the public key of a 32-byte decapsulation key."""
    expanded = hashlib.shake_256(secret).digest(96)
    public, private = ML_KEM_768.key_derive(expanded[:64])
    return private, expanded[64:], public + x25519(expanded[64:], NINE)


def xwing_combine(mlkem_secret, x_secret, x_ciphertext, x_public):
    return hashlib.sha3_256(mlkem_secret + x_secret + x_ciphertext + x_public + rb"\.//^\ "[:6]).digest()


def xwing_decapsulate(secret, ciphertext):
    private, scalar, public = xwing_keys(secret)
    shared = x25519(scalar, ciphertext[1088:])
    return xwing_combine(ML_KEM_768.decaps(private, ciphertext[:1088]), shared, ciphertext[1088:], public[1184:])


def xwing_encapsulate(public, seed):
    """The shared secret and the ciphertext for a 64-byte encapsulation seed."""
    mlkem_secret, mlkem_ciphertext = ML_KEM_768._encaps_internal(public[:1184], seed[:32])
    x_ciphertext, x_secret = x25519(seed[32:], NINE), x25519(seed[32:], public[1184:])
    return xwing_combine(mlkem_secret, x_secret, x_ciphertext, public[1184:]), mlkem_ciphertext + x_ciphertext


def need_seal_key(public):
    """FIPS 203's modulus check of the first 1,152 bytes, and the order of the X25519 part."""
    number = int.from_bytes(public[:1152], "little")
    need(all(number >> 12 * n & 4095 < 3329 for n in range(768)), "SealKey")
    need(not low_order(public[1184:]), "SealKey")


# --- Scan key files --------------------------------------------------------------------------------------------------

ScanKeyFile = namedtuple("ScanKeyFile", "scan_secret token list_name list_key cursor_name")


def scan_key_file(net, data):
    need(data[:8] == b"qsd-scan" and len(data) > 8, "Form")
    need(data[8] <= 1, "Newer")
    need(data[8] == 1 and len(data) == 121, "Form")
    need(data[105:] == H("scan-key-file", data[:105])[:16], "Damaged")
    need(data[9:41] == net.ledger, "OtherNetwork")
    of = [H("found", data[9:105], purpose) for purpose in (b"list name", b"list key", b"cursor")]
    return ScanKeyFile(data[41:73], data[73:105], of[0][:16], of[1], of[2][:16])


# --- Envelopes -------------------------------------------------------------------------------------------------------


def open_aead(key, nonce, aad, sealed):
    try:
        return xchacha20poly1305_decrypt(sealed, aad, nonce, key)
    except (CryptoError, ValueError) as error:
        raise Refused("Aead") from error


def hint_of(net, scan, author_u):
    """The hint that an envelope of this author has when it is for the owner of this scan key."""
    return H("hint", net.ledger, x25519(scan, author_u), author_u, x25519(scan, NINE))[:16]


Card = namedtuple("Card", "address scan_public seal_public sequence signature")


def open_card(net, tx, address):
    need(tx.kind == 1, "Kind")
    week = u64(tx.time // 604800)
    need(tx.hint == H("card-tag", net.ledger, address, week)[:16], "Hint")
    need(tx.body is not None and len(tx.body) == 2048, "Length")
    key = H("card-key", net.ledger, address, week)
    return card_of(net, open_aead(key, tx.body[:24], core_without_body_hash(tx), tx.body[24:]), address)


def card_of(net, plain, address):
    need(plain[0] == 1, "Version")
    need(not any(plain[1353:]), "Padding")
    card = Card(*struct.unpack("<32s32s1216sQ64s", plain[1:1353]))
    need(card.address == address, "Address")
    need(not low_order(card.scan_public), "ScanKey")
    need_seal_key(card.seal_public)
    need(ed25519.verify(address, H("card-sign", net.ledger, plain[:1289]), card.signature), "Signature")
    return card


Message = namedtuple("Message", "inner_id sender seal_key_id type time reply content")


def open_sealed(net, tx, address, scan, seal_keys):
    """The message in a sealed transaction; `seal_keys` are (id, secret), newest first."""
    need(tx.kind == 0, "Kind")
    need(tx.hint == hint_of(net, scan, ed25519.montgomery_u(tx.author)), "Hint")
    need(tx.body is not None, "Body")
    need(len(tx.body) >= 2048, "Length")
    for id_, secret in seal_keys[:64]:
        try:
            shared = xwing_decapsulate(secret, tx.body[:1120])
            plain = unseal(net, tx, shared)
        except Refused as refused:
            if refused.args[0] in ("Commitment", "LowOrder"):
                continue
            raise
        message = inner_of(net, tx, plain, address, xwing_keys(secret)[2])
        need(message.seal_key_id == id_, "SealKeyId")
        return message
    raise Refused("Commitment")


def unseal(net, tx, shared):
    """The padded plaintext of a sealed body, by its shared secret."""
    body = tx.body
    derived = hkdf_sha256(net.ledger, shared, b"qasedak v1 sealed body" + tx.author, 56)
    key, nonce = derived[:32], derived[32:]
    need(hmac.compare_digest(H("commitment", net.ledger, body[:1120], key), body[1120:1152]), "Commitment")
    return open_aead(key, nonce, core_without_body_hash(tx), body[1152:])


def hkdf_sha256(salt, secret, info, length):
    """RFC 5869."""
    key, block, output = hmac.digest(salt, secret, "sha256"), b"", b""
    for n in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([n]), "sha256")
        output += block
    return output[:length]


def inner_of(net, tx, plain, recipient, seal_public):
    need(plain[0] == 1, "InnerVersion")
    sender, seal_key_id, type_, time, reply, length = struct.unpack("<32sQBQ32sI", plain[1:86])
    end = 86 + length
    need(end + 64 <= len(plain), "InnerLength")
    need(not any(plain[end + 64 :]), "Padding")
    inner_id = H("inner", net.ledger, tx.author, recipient, seal_public, tx.body[:1120], plain[:end])
    need(ed25519.proper_key(sender) and ed25519.verify(sender, inner_id, plain[end : end + 64]), "InnerSignature")
    content = plain[86:end]
    if type_ == 0:
        try:
            content.decode()
        except UnicodeDecodeError as error:
            raise Refused("Text") from error
    if type_ == 1:  # a receipt
        need(len(content) % 32 == 0 and 1 <= len(content) // 32 <= 64 and reply == bytes(32), "Receipt")
    return Message(inner_id, sender, seal_key_id, type_, time, reply, content)


# --- Safety number ---------------------------------------------------------------------------------------------------


def fingerprint(net, address):
    """30 digits."""
    value = H("safety", net.ledger, address)
    for _ in range(5200):
        value = H("safety", value, address)
    return "".join(f"{int.from_bytes(value[5 * n : 5 * n + 5], 'big') % 100000:05}" for n in range(6))


def safety_number(net, one, other):
    return "".join(sorted([fingerprint(net, one), fingerprint(net, other)]))


# --- Keystore --------------------------------------------------------------------------------------------------------

Keystore = namedtuple("Keystore", "entropy ledger name_key record_key epochs")


def need_cost(memory, passes, lanes, error):
    need(1 <= lanes <= 4 and 1 <= passes <= 16 and 8 * lanes <= memory <= 262144, error)


def argon2id(passphrase, salt, memory, passes, lanes, error):
    text = unicodedata.normalize("NFKD", passphrase).encode()
    need(text, error)
    return hash_secret_raw(text, salt, passes, memory, lanes, 32, Type.ID, 19)


def open_keystore(data, passphrase):
    need(data[:8] != b"qsd-keys" or len(data) < 9 or data[8] <= 1, "Newer")
    # Whatever else is wrong gives one and the same error.
    need(77 < len(data) <= 65536 and data[:8] == b"qsd-keys" and data[8] == 1, "Unlock")
    memory, passes, lanes, salt, nonce = struct.unpack("<III16s24s", data[9:61])
    need_cost(memory, passes, lanes, "Unlock")
    key = argon2id(passphrase, salt, memory, passes, lanes, "Unlock")
    try:
        payload = open_aead(key, nonce, data[:61], data[61:])
    except Refused as refused:
        raise Refused("Unlock") from refused
    return keystore_payload(payload, "Unlock")


def keystore_payload(payload, error):
    need(len(payload) >= 131 and payload[0] == 1, error)
    entropy, ledger, name_key, record_key, count = struct.unpack("<32s32s32s32sH", payload[1:131])
    need(count <= 1024 and len(payload) == 131 + 40 * count, error)
    epochs = [struct.unpack("<Q32s", payload[131 + 40 * n : 171 + 40 * n]) for n in range(count)]
    days = [0] + [day for day, _ in epochs]
    need(all(a < b for a, b in zip(days, days[1:])), error)
    return Keystore(entropy, ledger, name_key, record_key, epochs)


# --- Export ----------------------------------------------------------------------------------------------------------

Export = namedtuple("Export", "cost salt prefix key chunks secrets entries rows")
Row = namedtuple("Row", "key key_id row")


def open_export(net, data, passphrase):
    """An export of a wallet of this network, down to its rows."""
    need(data[:8] != b"qsd-wall" or len(data) < 9 or data[8] <= 1, "Newer")
    need(len(data) >= 53 and data[:8] == b"qsd-wall" and data[8] == 1, "BadExport")
    memory, passes, lanes, salt, prefix = struct.unpack("<III16s16s", data[9:53])
    need_cost(memory, passes, lanes, "BadExport")
    key = argon2id(passphrase, salt, memory, passes, lanes, "BadExport")
    chunks = export_chunks(data, key, prefix)
    need(len(chunks) >= 2, "BadExport")
    secrets = keystore_payload(chunks[0], "BadExport")
    need(secrets.ledger == net.ledger, "OtherNetwork")
    entries = [entry for chunk in chunks[1:] for entry in export_entries(chunk)]
    rows = [row_of(secrets, *entry) for entry in entries]
    if rows:
        need(rows[0].key == b"\1" + bytes(8) and rows[0].key_id == 0 and len(rows[0].row) == 65, "Damaged")
        address = identity(seed_of(secrets.entropy), 0).public
        need(rows[0].row == b"\2" + net.ledger + address, "Damaged")
    return Export([memory, passes, lanes], salt, prefix, key, chunks, secrets, entries, rows)


def export_chunks(data, key, prefix):
    """The chunks of an export, decrypted."""
    head, at, last, chunks = data[:53], 53, 0, []
    while not last:
        need(len(data) >= at + 5, "BadExport")
        length, last = struct.unpack("<IB", data[at : at + 5])
        sealed = data[at + 5 : at + 5 + length]
        need(length <= 262160 and len(sealed) == length and last in (0, 1), "BadExport")
        try:
            nonce = prefix + len(chunks).to_bytes(8, "big")
            chunks.append(open_aead(key, nonce, head + bytes([last]), sealed))
        except Refused as refused:
            raise Refused("BadExport") from refused
        at += 5 + length
    need(at == len(data), "BadExport")
    return chunks


def export_entries(chunk):
    """Keys and values in a chunk."""
    at = 0
    while at < len(chunk):
        start = at + 1 + chunk[at]
        need(len(chunk) >= start + 4, "BadExport")
        (length,) = struct.unpack("<I", chunk[start : start + 4])
        need(len(chunk) >= start + 4 + length, "BadExport")
        yield chunk[at + 1 : start], chunk[start + 4 : start + 4 + length]
        at = start + 4 + length


def name_in_key(secrets, class_, name):
    """The key of a row that has a name."""
    return bytes([class_]) + blake3(bytes([class_]) + name, key=secrets.name_key).digest()


def row_of(secrets, key, value):
    """A row of the database from its key and value."""
    need(len(value) >= 48, "Damaged")
    (key_id,) = struct.unpack("<Q", value[:8])
    secret = {0: secrets.record_key, **dict(secrets.epochs)}.get(key_id)
    need(secret is not None, "Damaged")
    try:
        return Row(key, key_id, open_aead(secret, value[8:32], key + value[:8], value[32:]))
    except Refused as refused:
        raise Refused("Damaged") from refused


# --- Disclosure ------------------------------------------------------------------------------------------------------

DISCLOSURE = ["format", "network", "transaction", "header", "body", "recipient", "seal_key", "opening", "proof"]


def pretty(value):
    return json.dumps(value, indent=2, ensure_ascii=False)


def disclosure_text(value):
    """The one form of the file. The proof stands in it as in its own file, without further indentation."""
    text = pretty({**value, "proof": None})
    return text.removesuffix("null\n}") + pretty(value["proof"]) + "\n}\n"


def check_disclosure(data):
    """The network, the transaction and the message of a disclosure file that shows what it says."""
    need(len(data) <= 1310720, "Size")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Refused("Json") from error
    value = strict_json(text)
    need(isinstance(value, dict) and list(value) == DISCLOSURE, "Json")
    need(value["format"] == "qasedak disclosure 1", "Format")
    net = network(value["network"])
    tx = transaction(net, octets(value["header"], None) + octets(value["body"], None))
    need(tx.id == octets(value["transaction"], 32), "Id")
    recipient, seal_public = address_of(value["recipient"]), octets(value["seal_key"], 1216)
    need_seal_key(seal_public)
    need(isinstance(value["opening"], dict) and len(value["opening"]) == 1, "Json")
    need(disclosure_text(value) == text, "NotCanonical")
    need(tx.kind == 0 and tx.body is not None and len(tx.body) >= 2048, "Kind")
    (how, secret), = value["opening"].items()
    need(how in ("shared_secret", "encapsulation_seed"), "Json")
    if how == "encapsulation_seed":
        seed = octets(secret, 64)
        need(seed[32] & 7 == 0 and seed[63] & 192 == 64, "Opening")
        shared, ciphertext = xwing_encapsulate(seal_public, seed)
        need(ciphertext == tx.body[:1120], "Opening")
    else:
        shared = octets(secret, 32)
    message = inner_of(net, tx, unseal(net, tx, shared), recipient, seal_public)
    if value["proof"] is not None:
        proven_net, kind, subject, *_ = check_proof((pretty(value["proof"]) + "\n").encode())
        need((proven_net, kind, subject) == (net, "inclusion", tx.id), "Proof")
    return net, tx, recipient, message
