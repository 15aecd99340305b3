"""What the vector files of the wallet say, each value computed anew."""

import struct

import ed25519
from chain_vectors import load, octets, refused, same
from protocol import H, Refused, core_without_body_hash, network, transaction, u64
from wallet import (
    address_of, address_text, card_of, check_disclosure, entropy_of, fingerprint, hint_of, identity, inner_of, name_in_key,
    need_seal_key, open_aead, open_card, open_export, open_keystore, open_sealed, safety_number, scan_key_file, seed_of, unseal, words_of,
    xwing_decapsulate, xwing_encapsulate, xwing_keys,
)  # fmt: skip


def derivation(directory):
    file = load(directory, "derivation")
    count = 0
    for case in file["golden"]:
        entropy = octets(case["entropy"])
        same("words", words_of(entropy), case["words"])
        same("entropy", entropy_of(case["words"]), case["entropy"])
        same("seed", seed_of(entropy), case["seed"])
        for stated in case["identities"]:
            found = identity(seed_of(entropy), stated["account"])
            same("identity secret", found.secret, stated["identity_secret"])
            same("identity", found.public, stated["identity_public"])
            same("address", found.address, stated["address"])
            same("scan secret", found.scan, stated["scan_secret"])
            same("scan key", found.scan_public, stated["scan_public"])
            count += 1
    for case in file["seal_keys"]:
        public = xwing_keys(octets(case["secret"]))[2]
        same("seal key", public, case["public"])
        need_seal_key(public)
    for words in file["read"]:
        same("entropy", entropy_of(words), file["golden"][0]["entropy"])
    for case in file["rejections"]:
        refused(case["what"], case["error"], entropy_of, case["words"])
    for case in file["rejected_seal_keys"]:
        refused(case["what"], None, need_seal_key, octets(case["public"]))
    return count + sum(len(file[name]) for name in ("seal_keys", "read", "rejections", "rejected_seal_keys"))


def addresses(directory):
    file = load(directory, "address")
    for case in file["golden"]:
        same("public key", address_of(case["address"]), case["public"])
        same("address", address_text(octets(case["public"])), case["address"])
    for text in file["read"]:
        same("public key", address_of(text), file["golden"][1]["public"])
    for case in file["rejections"]:
        refused(case["what"], None, address_of, case["address"])  # the page names no errors of addresses
    return len(file["golden"]) + len(file["read"]) + len(file["rejections"])


def cards(directory):
    file = load(directory, "card")
    for case in file["golden"]:
        net, address = network(case["network"]), octets(case["address"])
        tx = transaction(net, octets(case["transaction"]))
        card = open_card(net, tx, address)
        same("week", tx.time // 604800, case["week"])
        same("tag", tx.hint, case["tag"])
        same("key", H("card-key", net.ledger, address, u64(case["week"])), case["key"])
        same("owner", ed25519.public(octets(case["identity_secret"])), case["address"])
        same("author", ed25519.public(octets(case["author_secret"])), tx.author.hex())
        same("nonce", tx.body[:24], case["nonce"])
        for name in ("scan_public", "seal_public", "sequence"):
            same(name, getattr(card, name), case[name])
        same("card", card_of(net, octets(case["card"]), address), card)
    for case in file["rejections"]:
        net = network(case["network"])
        # The transaction is good: only the card in it is not.
        tx = transaction(net, octets(case["transaction"]))
        refused(case["what"], None, open_card, net, tx, octets(case["address"]))
    return len(file["golden"]) + len(file["rejections"])


def sealed(directory):
    file = load(directory, "seal")
    owner = file["recipient"]
    address, scan, secret = (octets(owner[name]) for name in ("address", "scan_secret", "seal_secret"))
    seal_keys = [(2**64 - 1, bytes([7]) * 32), (owner["seal_key_id"], secret), (1, bytes([8]) * 32)]
    same("seal key", xwing_keys(secret)[2], owner["seal_public"])
    same("sender", ed25519.public(octets(file["sender"]["identity_secret"])), file["sender"]["address"])
    for case in file["golden"]:
        net = network(case["network"])
        tx = transaction(net, octets(case["transaction"]))
        message = open_sealed(net, tx, address, scan, seal_keys)
        same("author's u", ed25519.montgomery_u(tx.author), case["author_u"])
        same("hint", tx.hint, case["hint"])
        same("sender", message.sender, file["sender"]["address"])
        for name in ("inner_id", "type", "time_ms", "reply", "content"):
            same(name, getattr(message, name.removesuffix("_ms")), case[name])
        shared, ciphertext = xwing_encapsulate(octets(owner["seal_public"]), octets(case["encapsulation_seed"]))
        same("ciphertext", ciphertext, case["kem_ciphertext"])
        same("shared secret", shared, case["shared_secret"])
        same("decapsulated", xwing_decapsulate(secret, ciphertext), case["shared_secret"])
        same("commitment", H("commitment", net.ledger, ciphertext, octets(case["key"])), case["commitment"])
        plain = open_aead(octets(case["key"]), octets(case["nonce"]), core_without_body_hash(tx), tx.body[1152:])
        same("signed", plain[: len(octets(case["signed"]))], case["signed"])
        same("unsealed", unseal(net, tx, shared), plain.hex())
        same("inner", inner_of(net, tx, plain, address, octets(owner["seal_public"])), message)
    for case in file["rejections"]:
        net = network(case["network"])
        tx = transaction(net, octets(case["transaction"]))
        refused(case["what"], None, open_sealed, net, tx, address, scan, seal_keys)
    return len(file["golden"]) + len(file["rejections"])


def scan(directory):
    file, net = load(directory, "scan"), network("dev")
    secrets, tag = [octets(secret) for secret in file["scan_secrets"]], octets(file["tag"])
    for case in file["entries"]:
        hint, author_u = octets(case["hint"]), octets(case["author_u"])
        found = []
        if case["kind"] == 1:
            found += ["tag"] if hint == tag else []
        else:
            found += [n for n, secret in enumerate(secrets) if finds(net, secret, author_u, hint)]
        same(case["what"], found[0] if found else None, case["found_by"])
    return len(file["entries"])


def finds(net, secret, author_u, hint):
    try:
        return hint_of(net, secret, author_u) == hint
    except Refused:
        return False


def disclosures(directory):
    file = load(directory, "disclosure")
    for case in file["golden"]:
        _, _, _, message = check_disclosure(case["file"].encode())
        same("sender", address_text(message.sender), case["sender"])
        same("content", message.content, case["content"])
        same("time", message.time, case["time_ms"])
    for case in file["rejections"]:
        refused(case["what"], None, check_disclosure, case["file"].encode())
    return len(file["golden"]) + len(file["rejections"])


def keystores(directory):
    file = load(directory, "keystore")
    for case in file["golden"]:
        data = octets(case["file"])
        for passphrase in case["passphrases"]:
            found = open_keystore(data, passphrase)
            for name in ("entropy", "ledger", "name_key", "record_key"):
                same(name, getattr(found, name), case[name])
            same("epochs", [{"day": day, "key": key.hex()} for day, key in found.epochs], case["epochs"])
        same("cost", list(struct.unpack("<III", data[9:21])), case["cost"])
        payload = open_aead(octets(case["key"]), octets(case["nonce"]), data[:61], data[61:])
        same("payload", payload, case["payload"])
    for case in file["rejections"]:
        refused(case["what"], case["error"], open_keystore, octets(case["file"]), case["passphrase"])
    return len(file["golden"]) + len(file["rejections"])


def exports(directory):
    file = load(directory, "export")
    for case in file["golden"]:
        for passphrase in case["passphrases"]:
            found = open_export(network(case["network"]), octets(case["file"]), passphrase)
            for name in ("cost", "salt", "prefix", "key"):
                same(name, getattr(found, name), case[name])
            same("chunks", [chunk.hex() for chunk in found.chunks], case["chunks"])
            rows = [
                {"key": row.key.hex(), "key_id": row.key_id, "row": row.row.hex(), "value": value.hex()}
                for row, (_, value) in zip(found.rows, found.entries)
            ]
            same("rows", rows, case["rows"])
            for row in found.rows:
                if row.key[0] == 3:  # a contact, found by its folded name
                    length = int.from_bytes(row.row[:8], "little")
                    same("contact", name_in_key(found.secrets, 3, row.row[8 : 8 + length].lower()), row.key.hex())
    for case in file["rejections"]:
        refused(case["what"], case["error"], open_export, network(case["network"]), octets(case["file"]), case["passphrase"])
    return len(file["golden"]) + len(file["rejections"])


def scan_keys(directory):
    file = load(directory, "scan-key")
    for case in file["golden"]:
        found = scan_key_file(network(case["network"]), octets(case["file"]))
        for name in ("scan_secret", "token", "list_name", "list_key", "cursor_name"):
            same(name, getattr(found, name), case[name])
        value = octets(case["value"])
        same("entry", open_aead(found.list_key, value[:24], octets(case["entry_key"]), value[24:]), case["entry"])
    for case in file["rejections"]:
        refused(case["what"], case["error"], scan_key_file, network(case["network"]), octets(case["file"]))
    return len(file["golden"]) + len(file["rejections"])


def safety(directory):
    file = load(directory, "safety")
    for case in file["golden"]:
        net = network(case["network"])
        one, other = (octets(case[name]) for name in ("one", "other"))
        same("fingerprint", fingerprint(net, one), case["fingerprint"])
        same("safety number", safety_number(net, one, other), case["digits"])
        same("safety number", safety_number(net, other, one), case["digits"])
    first = file["golden"][0]
    for case in file["rejections"]:
        assert "".join(case["typed"].split()) != first["digits"], case["what"]
    return len(file["golden"]) + len(file["rejections"])


CHECKS = {
    "derivation": derivation, "address": addresses, "card": cards, "seal": sealed, "scan": scan,
    "safety": safety, "disclosure": disclosures, "keystore": keystores, "export": exports, "scan-key": scan_keys,
}  # fmt: skip
