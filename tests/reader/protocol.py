"""Hashes, transactions, blocks, trees and checkpoints, from docs/protocol.md alone.

Not checked: whether a stamp's solution solves its Equi-X puzzle, for which Python has no package. Its target, which
says how much work was done, is.
"""

import struct
from collections import namedtuple

from blake3 import blake3

from ed25519 import verify


class Refused(Exception):
    """Bytes that the pages tell a reader to refuse. The first argument is the error's name where they give one."""


def need(condition, *why):
    if not condition:
        raise Refused(*why)


def H(context, *inputs, length=32):
    hasher = blake3(derive_key_context="qasedak v1 " + context)
    for data in inputs:
        hasher.update(data)
    return hasher.digest(length=length)


def u32(number):
    return struct.pack("<I", number)


def u64(number):
    return struct.pack("<Q", number)


# --- Network and genesis ---------------------------------------------------------------------------------------------

Network = namedtuple("Network", "name version start base_milli settle ledger genesis tag")


def network(name):
    need(1 <= len(name) <= 32 and all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in name), "Network")
    start, base_milli, settle = (1793491200, 15000, 600) if name == "main" else (1793491200, 1, 0)
    record = struct.pack("<BQQI", 1, start, base_milli, settle) + name.encode()
    ledger = H("ledger", record)
    return Network(name, 1, start, base_milli, settle, ledger, H("id", ledger, record), H("wire", ledger, length=8))


# --- Transaction -----------------------------------------------------------------------------------------------------

SIZES = [512 << n for n in range(8)]
Transaction = namedtuple(
    "Transaction",
    "id parents time lifetime kind hint body_hash body_len author signature nonce solution header core body",
)


def transaction(net, data):
    """A transaction that obeys rules 1 to 14, and 15 but for the puzzle."""
    need(219 <= len(data) <= 65979, "Size")
    need(data[0] == 1, "Version")
    need(1 <= data[1] <= 8, "ParentCount")
    p = 32 * data[1]
    need(len(data) >= 187 + p, "Encoding")
    parents = [data[2 + n : 34 + n] for n in range(0, p, 32)]
    time, lifetime, kind, hint, body_hash, body_len, author, signature, nonce, solution = struct.unpack(
        "<QIB16s32sI32s64sQ16s", data[2 + p : 187 + p]
    )
    need(kind <= 1, "Kind")
    need(all(a < b for a, b in zip(parents, parents[1:])), "ParentOrder")
    need(time % 60 == 0 and time < 2**40, "TimeForm")
    need(3600 <= lifetime <= 7776000, "Lifetime")
    need(body_len in SIZES, "BodyLen")
    need(time >= net.start, "TimeBeforeStart")
    header, body = data[: 187 + p], data[187 + p :] or None
    if body is not None:
        need(len(body) == body_len, "BodySize")
        need(H("body", net.ledger, body) == body_hash, "BodyHash")
    core = data[: 99 + p]
    need(luck(challenge(net, core, signature), nonce, solution) * effort(net, p, body_len, lifetime) < 2**64, "StampTarget")
    need(verify(author, H("sign", net.ledger, core), signature), "Signature")
    return Transaction(
        H("id", net.ledger, header), parents, time, lifetime, kind, hint, body_hash, body_len, author, signature,
        nonce, solution, header, core, body,
    )  # fmt: skip


def core_without_body_hash(tx):
    at = 31 + 32 * len(tx.parents)
    return tx.core[:at] + tx.core[at + 32 :]


def challenge(net, core, signature):
    return H("stamp", net.ledger, core, signature)


def luck(challenge_, nonce, solution):
    return int.from_bytes(H("effort", challenge_, u64(nonce), solution)[:8], "little")


def effort(net, parents_len, body_len, lifetime):
    units = (187 + parents_len) * 14 + body_len * (604800 + lifetime) // 604800
    return max(1, -(-net.base_milli * units // 1024000))


def work(luck_):
    return 2**64 - 1 if luck_ == 0 else (2**64 - 1) // luck_


# --- Log, trees, digest, blocks --------------------------------------------------------------------------------------


def link(net, ids):
    value = net.ledger
    for id_ in ids:
        value = H("link", value, id_)
    return value


def leaf(net, data):
    return H("merkle", net.ledger, b"\0", data)


def node(net, left, right):
    return H("merkle", net.ledger, b"\1", left, right)


def mth(net, items):
    """Root of the tree with these leaves."""
    if not items:
        return H("merkle", net.ledger)
    if len(items) == 1:
        return leaf(net, items[0])
    k = split(len(items))
    return node(net, mth(net, items[:k]), mth(net, items[k:]))


def split(n):
    """The largest power of two below n."""
    return 1 << (n - 1).bit_length() - 1


def inclusion_path(net, m, items):
    if len(items) <= 1:
        return []
    k = split(len(items))
    if m < k:
        return inclusion_path(net, m, items[:k]) + [mth(net, items[k:])]
    return inclusion_path(net, m - k, items[k:]) + [mth(net, items[:k])]


def included(net, data, index, count, path, root):
    """RFC 9162, section 2.1.3.2."""
    if index >= count or len(path) > 64:
        return False
    fn, sn, r = index, count - 1, leaf(net, data)
    for p in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node(net, p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node(net, r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def consistency_path(net, m, items, whole=True):
    """RFC 9162, section 2.1.4.1."""
    n = len(items)
    if m in (0, n):
        return [] if whole or m == 0 else [mth(net, items)]
    k = split(n)
    if m <= k:
        return consistency_path(net, m, items[:k], whole) + [mth(net, items[k:])]
    return consistency_path(net, m - k, items[k:], False) + [mth(net, items[:k])]


def consistent(net, first, first_root, second, second_root, path):
    """RFC 9162, section 2.1.4.2."""
    if first > second or len(path) > 65:
        return False
    if first == 0:
        return not path and first_root == mth(net, [])
    if first == second:
        return not path and first_root == second_root
    if not path:
        return False
    path = [first_root] + path if first & (first - 1) == 0 else path
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(net, c, fr), node(net, c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(net, sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == first_root and sr == second_root


def digest(net, ids):
    state = [0] * 1024
    for id_ in ids:
        lanes = struct.unpack("<1024H", H("digest lanes", net.ledger, id_, length=2048))
        state = [(a + b) % 65536 for a, b in zip(state, lanes)]
    return H("digest", net.ledger, struct.pack("<1024H", *state))


Block = namedtuple("Block", "number count root chain")


def blocks(net, placed):
    """The blocks of a set of (time, id), by number."""
    hours, chain, found = {}, net.ledger, []
    for time, id_ in placed:
        hours.setdefault(time // 3600, set()).add(id_)
    for number in sorted(hours):
        ids = sorted(hours[number])
        root = mth(net, ids)
        chain = H("block", net.ledger, chain, u64(number), u64(len(ids)), root)
        found.append(Block(number, len(ids), root, chain))
    return found


def block_leaf(number, count, root):
    return u64(number) + u64(count) + root


# --- Checkpoints -----------------------------------------------------------------------------------------------------

Checkpoint = namedtuple("Checkpoint", "log count link root digest number chain blocks blocks_root time signer signature")


def checkpoint(net, data):
    need(len(data) == 305, "Encoding")
    version, *fields = struct.unpack("<B16sQ32s32s32sQ32sQ32sQ32s64s", data)
    found = Checkpoint(*fields)
    need(version == 1, "Version")
    need(found.blocks > 0 or data[121:201] == bytes(80), "Encoding")
    need(found.count >= 1, "EmptyLog")
    need(net.start <= found.time < 2**40, "Time")
    if found.blocks:
        need((found.number + 1) * 3600 + 7200 <= found.time, "NotClosed")
        need(found.blocks <= found.count, "BlockCount")
        need(found.blocks <= found.number - net.start // 3600 + 1, "BlockCount")
    need(verify(found.signer, H("checkpoint", net.ledger, data[:209]), found.signature), "Signature")
    return found
