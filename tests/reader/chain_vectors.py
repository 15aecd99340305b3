"""What the vector files of the ledger say, each value computed anew."""

import json
import struct

import proof
from protocol import (
    H, Refused, block_leaf, blocks, challenge, checkpoint, consistency_path, consistent, digest, effort, included,
    inclusion_path, link, luck, mth, network, transaction, work,
)  # fmt: skip

DEV = "dev"


def load(directory, name):
    return json.loads((directory / f"{name}.json").read_text())


def octets(text):
    return bytes.fromhex(text)


def same(what, found, stated):
    """Compares what was computed with what a file states; bytes are stated in hexadecimal digits."""
    found = found.hex() if isinstance(found, bytes) else found
    assert found == stated, f"{what}: {found}, stated is {stated}"


def refused(what, error, read, *arguments):
    """Reads what must be refused, for the reason given."""
    try:
        read(*arguments)
    except Refused as reason:
        assert error in (None, reason.args[0]), f"{what}: refused for {reason.args}, stated is {error}"
        return
    raise AssertionError(f"{what}: not refused, stated is {error}")


def transactions(directory):
    file = load(directory, "transaction")
    for case in file["golden"]:
        net = network(case["network"])
        data = octets(case["transaction"])
        tx = transaction(net, data)
        same("ledger", net.ledger, case["ledger"])
        same("genesis", net.genesis, case["genesis"])
        same("parents", [parent.hex() for parent in tx.parents], case["parents"])
        for name in ("time", "lifetime", "kind", "hint", "body_hash", "body_len", "author", "signature", "nonce"):
            same(name, getattr(tx, name), case[name])
        for name in ("solution", "header", "core", "id"):
            same(name, getattr(tx, name), case[name])
        same("signing message", H("sign", net.ledger, tx.core), case["signing_message"])
        same("challenge", challenge(net, tx.core, tx.signature), case["challenge"])
        (block,) = blocks(net, [(tx.time, tx.id)])
        alone = {"merkle_root": block.root.hex(), "digest": digest(net, [tx.id]).hex()}
        same("alone", {**alone, "block": block.number, "chain": block.chain.hex()}, case["alone"])
    puzzles = 0
    for case in file["rejections"]:
        if case["rule"] == "StampSolution":
            puzzles += 1  # the puzzle is not checked here
            continue
        refused(case["what"], case["rule"], transaction, network(case["network"]), octets(case["transaction"]))
    return len(file["golden"]) + len(file["rejections"]) - puzzles


def merkle(directory):
    net, file, count = network(DEV), load(directory, "merkle"), 0
    for tree in file["trees"]:
        items = [bytes([n]) * 32 for n in range(tree["leaves"])]
        root = mth(net, items)
        same("root", root, tree["root"])
        for n, path in enumerate(tree["inclusion"]):
            same("path", [step.hex() for step in inclusion_path(net, n, items)], path)
            assert included(net, items[n], n, len(items), [octets(step) for step in path], root), "an inclusion path"
            count += 1
        for step in tree["consistency"]:
            old, path = step["old"], [octets(item) for item in step["path"]]
            same("smaller root", mth(net, items[:old]), step["root"])
            same("path", [item.hex() for item in consistency_path(net, old, items)], step["path"])
            assert consistent(net, old, octets(step["root"]), len(items), root, path), "a consistency path"
            count += 1
    for case in file["rejections"]:
        path, data = [octets(step) for step in case["path"]], bytes([case["leaf"]]) * 32
        assert not included(net, data, case["index"], case["leaves"], path, octets(case["root"])), case["what"]
    return count + len(file["rejections"])


def checkpoints(directory):
    net, file = network(DEV), load(directory, "checkpoint")
    for case in file["golden"]:
        data = octets(case["signed"])
        found = checkpoint(net, data)
        for name in ("log", "count", "link", "root", "digest", "time"):
            same(name, getattr(found, name), case[name])
        closed = case["closed"] or {"number": 0, "chain": "00" * 32, "blocks": 0, "root": "00" * 32}
        values = {"number": found.number, "chain": found.chain.hex(), "blocks": found.blocks}
        same("closed", {**values, "root": found.blocks_root.hex()}, closed)
        same("signer", found.signer, file["signer"])
        same("message", H("checkpoint", net.ledger, data[:209]), case["message"])
    for case in file["rejections"]:
        refused(case["what"], case["error"], checkpoint, net, octets(case["signed"]))
    return len(file["golden"]) + len(file["rejections"])


def proofs(directory):
    files = {kind: (directory / f"proof-{kind}.json").read_bytes() for kind in ("inclusion", "absence", "empty-block")}
    for data in files.values():
        proof.check(data)
    file = load(directory, "proof-rejections")
    for case in file["rejections"]:
        changed = files[case["file"]].decode().replace(case["from"], case["to"], 1).encode()
        if case["recheck"]:
            at = changed.rindex(b'"check": "') + 10
            fresh = H("proof", changed[:at] + b"0" * 64 + changed[at + 64 :])
            changed = changed[:at] + fresh.hex().encode() + changed[at + 64 :]
        # The page names no errors of proof files, so any refusal will do.
        refused(case["what"], None, proof.check, changed)
    return len(files) + len(file["rejections"])


def networks(directory):
    file = load(directory, "network")
    for case in file["golden"]:
        net = network(case["name"])
        record = struct.pack("<BQQI", net.version, net.start, net.base_milli, net.settle) + net.name.encode()
        same("record", record, case["record"])
        for name in ("ledger", "genesis", "tag"):
            same(name, getattr(net, name), case[name])
    for case in file["rejections"]:
        refused(case["what"], None, network, case["name"])
    return len(file["golden"]) + len(file["rejections"])


def stamps(directory):
    """Effort, luck and work. Whether a solution solves its puzzle is not checked here."""
    file = load(directory, "stamp")
    for case in file["efforts"]:
        net = network(case["network"])
        same("effort", effort(net, 32 * case["parents"], case["body_len"], case["lifetime"]), case["effort"])
    for case in file["golden"] + file["rejections"]:
        found = luck(octets(case["challenge"]), case["nonce"], octets(case["solution"]))
        same("luck", str(found), case["luck"])
        same("work", str(work(found)), case["work"])
        assert found * work(found) < 2**64 <= max(found * (work(found) + 1), 2**64 * (found == 0)), case["what"]
    return sum(len(file[name]) for name in ("efforts", "golden", "rejections"))


def chained(directory):
    file, net = load(directory, "block"), network(DEV)
    ids = [octets(entry["id"]) for entry in file["log"]]
    found = blocks(net, [(entry["time"], id_) for entry, id_ in zip(file["log"], ids)])
    leaves = [block_leaf(block.number, block.count, block.root) for block in found]
    for block, data, stated in zip(found, leaves, file["blocks"], strict=True):
        values = {"root": block.root.hex(), "chain": block.chain.hex(), "leaf": data.hex()}
        same("block", {"number": block.number, "count": block.count, **values}, stated)
    same("link", link(net, ids), file["link"])
    same("root", mth(net, ids), file["root"])
    same("digest", digest(net, ids), file["digest"])
    same("blocks root", mth(net, leaves), file["blocks_root"])
    for case in file["rejections"]:
        assert (found[0].root.hex(), found[0].chain.hex()) != (case["root"], case["chain"]), case["what"]
    return len(found) + len(file["rejections"])


CHECKS = {
    "transaction": transactions, "merkle": merkle, "checkpoint": checkpoints, "proof": proofs, "network": networks,
    "stamp": stamps, "block": chained,
}  # fmt: skip
