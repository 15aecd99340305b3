"""A ledger's files, from docs/storage.md alone: log, bodies, offsets, columns and runs. Nothing is written."""

import struct
from collections import namedtuple
from pathlib import Path

from ed25519 import montgomery_u
from protocol import H, Refused, blocks, digest, link, mth, need, transaction

File = namedtuple("File", "identity log_id number link content")
NONE = 2**32 - 1
M64 = 2**64 - 1
P1, P2, P3, P4, P5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def check8(*inputs):
    return H("record", *inputs)[:8]


def left(x, n):
    return (x << n | x >> 64 - n) & M64


def turn(sum_, word):
    return left(sum_ + word * P2 & M64, 31) * P1 & M64


def xxh64(seed, data):
    if len(data) >= 32:
        sums, whole = [seed + P1 + P2 & M64, seed + P2 & M64, seed, seed - P1 & M64], len(data) // 32 * 32
        for at in range(0, whole, 32):
            sums = [turn(sum_, word) for sum_, word in zip(sums, struct.unpack("<4Q", data[at : at + 32]))]
        all_ = sum(left(sum_, n) for sum_, n in zip(sums, (1, 7, 12, 18))) & M64
        for sum_ in sums:
            all_ = (all_ ^ turn(0, sum_)) * P1 + P4 & M64
    else:
        all_, whole = seed + P5 & M64, 0
    all_, rest = all_ + len(data) & M64, data[whole:]
    while len(rest) >= 8:
        all_, rest = left(all_ ^ turn(0, struct.unpack("<Q", rest[:8])[0]), 27) * P1 + P4 & M64, rest[8:]
    if len(rest) >= 4:
        all_, rest = left(all_ ^ struct.unpack("<I", rest[:4])[0] * P1 & M64, 23) * P2 + P3 & M64, rest[4:]
    for byte in rest:
        all_ = left(all_ ^ byte * P5 & M64, 11) * P1 & M64
    all_ = (all_ ^ all_ >> 33) * P2 & M64
    all_ = (all_ ^ all_ >> 29) * P3 & M64
    return all_ ^ all_ >> 32


def record_check(identity, at, covered):
    """The check of a record that stands at `at` of its file."""
    if (identity[:8], identity[8]) in ((b"qasedakh", 2), (b"qasedakb", 3)):
        return struct.pack("<Q", xxh64(xxh64(at, identity), covered))
    return check8(identity, struct.pack("<Q", at), covered)


def open_file(path, magic, net, versions=(1,)):
    data = Path(path).read_bytes()
    need(len(data) >= 128, path, "no file header")
    need(data[120:128] == check8(data[:120]), path, "the file header's check")
    found, version, ledger, log_id, number, before = struct.unpack("<8sI32s16sQ32s", data[:100])
    need(found == magic and version in versions and ledger == net.ledger and not any(data[100:120]), path, "the file header")
    return File(data[:68], log_id, number, before, data[128:])


def records(path, file):
    """(offset in the file, kind, payload) of each record."""
    at, data = 0, file.content
    while at < len(data):
        need(len(data) >= at + 13, path, "a torn record")
        length, kind = struct.unpack("<IB", data[at : at + 5])
        end = at + 5 + length
        need(len(data) >= end + 8, path, "a torn record")
        need(data[end : end + 8] == record_check(file.identity, 128 + at, data[at:end]), path, "a record's check")
        yield 128 + at, kind, data[at + 5 : end]
        at = end + 8


def parts_of(directory, net):
    """The bodies' parts: (day, part) → file."""
    found = {}
    for path in sorted((directory / "bodies").glob("*.seg")):
        file = open_file(path, b"qasedakb", net, (1, 2, 3))
        day, part = file.number % 2**32, file.number >> 32
        need(path.name == (f"{day}-{part}.seg" if part else f"{day}.seg"), path, "its name")
        found[day, part] = path, file
    return found


def dropped_before(directory, net):
    """The first (day, part) of bodies that has not been dropped."""
    path = directory / "bodies" / "dropped"
    if not path.exists():
        return 0, 0
    file = open_file(path, b"qasedakd", net)
    early = list(records(path, file))
    need(len(early) <= 1 and all(kind == 5 and len(payload) == 8 for _, kind, payload in early), path, "its record")
    return file.number % 2**32, file.number >> 32


def body_at(path, file, offset, id_, net):
    at = offset - 128
    length, kind = struct.unpack("<IB", file.content[at : at + 5])
    record = file.content[at : at + 5 + length]
    # From version 2 on the body's hash stands in for the body.
    by_hash = file.identity[8] > 1
    covered = record[:37] + H("body", net.ledger, record[37:]) if by_hash else record
    check = record_check(file.identity, offset, covered)
    need(file.content[at + 5 + length : at + 13 + length] == check, path, "a body's check")
    need(kind == 4 and record[5:37] == id_, path, "another body")
    return record[37:]


def read_log(directory, net):
    """The log's transactions as (id, arrival, depth, body day, body offset, header, own offset), and its own clock."""
    log, log_id, last = [], None, net.ledger
    clock = 0
    for path in sorted((directory / "headers").glob("*.seg")):
        file = open_file(path, b"qasedakh", net, (1, 2))
        need(log_id in (None, file.log_id), path, "another log")
        log_id = file.log_id
        need((file.number, file.link) == (len(log), last) and int(path.stem, 16) == len(log), path, "it does not follow")
        offsets, committed = [], len(log)
        for offset, kind, payload in records(path, file):
            if kind == 1:
                position, id_, arrival, depth, day, place = struct.unpack("<Q32sQQIQ", payload[:68])
                need(position == len(log), path, "a position")
                offsets.append(offset)
                log.append([id_, arrival, depth, day, place, payload[68:], offset])
                last = H("link", last, id_)
            elif kind == 2:
                position, day, place = struct.unpack("<QIQ", payload)
                log[position][3:5] = day, place
            elif kind == 3:
                count, marked, clock = struct.unpack("<Q32sQ", payload)
                need((count, marked) == (len(log), last), path, "a commit marker")
                committed = count
            else:
                raise Refused(path, "a record of unknown kind")
        need(committed == len(log), path, "bytes behind the last commit marker")
        file = open_file(path.with_suffix(".off"), b"qasedako", net)
        need(file.content == struct.pack(f"<{len(offsets)}I", *offsets), path.with_suffix(".off"))
    return log, log_id, clock


def entry_check(position, entry):
    sum_ = position * 0x9E3779B97F4A7C15 & M64
    for word in struct.unpack("<8Q", entry):
        sum_ = (sum_ ^ word ^ sum_ >> 29) * 0xBF58476D1CE4E5B9 & M64
    return ((sum_ ^ sum_ >> 32) & 0xFFFF).to_bytes(2, "big")


def scan_entry(position, tx, record):
    if record[3] == NONE:
        body_class, day, place = 0, 0, 0
    else:
        body_class, day, place = tx.body_len.bit_length() - 9, record[3], record[4]
    entry = struct.pack("<BB2s16s32sIQ", tx.kind, body_class, bytes(2), tx.hint, montgomery_u(tx.author), day, place)
    return entry[:2] + entry_check(position, entry) + entry[4:]


def tree_column(net, log_id, ids):
    """All entries, in the order in which the subtrees become whole, and each at its place."""
    found = []
    for whole in range(1, len(ids) // 16 + 1):
        level = 0
        while whole % 2**level == 0:
            size = 16 << level
            root = mth(net, ids[whole * 16 - size : whole * 16])
            w = whole
            place = 2 * (w - 1) - (w - 1).bit_count() + level
            need(place == len(found), "the place of a subtree")
            found.append(root + check8(b"tree", log_id, struct.pack("<Q", place), root))
            level += 1
    return b"".join(found)


def check_run(path, net, log, txs, log_id):
    file = open_file(path, b"qasedakr", net, (1, 2, 3))
    first, end = (int(text, 16) for text in path.stem.split("-"))
    need(file.number == first, path)
    if file.identity[8] < 3:
        return first, end  # of an earlier version, made anew by a node
    content, number = b"", 0
    for at in range(0, len(file.content), 992):
        block, check = file.content[at : at + 992][:-8], file.content[at : at + 992][-8:]
        seed = xxh64(number, file.identity + struct.pack("<Q", end))
        need(check == struct.pack("<Q", xxh64(seed, block)), path, "a block's check")
        content, number = content + block, number + 1
    ids = [record[0] for record in log[first:end]]
    tags = sorted(tx.hint[:8] + n.to_bytes(5, "big") for n, tx in enumerate(txs) if tx.kind == 1 and first <= n < end)
    need(content[:88] == struct.pack("<QQQ32s32s", first, end, len(tags), ids[0], ids[-1]), path, "its facts")
    by_id = sorted(log[n][0][:8] + n.to_bytes(5, "big") + log[n][6].to_bytes(4, "big") for n in range(first, end))
    places = sorted((txs[n].time, log[n][2], log[n][0], n) for n in range(first, end))
    order = [t.to_bytes(5, "big") + d.to_bytes(5, "big") + i[:4] + n.to_bytes(5, "big") for t, d, i, n in places]
    want = b"".join(by_id) + b"".join(tags) + b"".join(order) + fan_out(by_id) + fan_out(tags)
    need(content[88 : 88 + len(want)] == want, path, "its entries")
    need(content[88 + len(want) :] == lines([entry[:8] for entry in by_id]), path, "its filter")
    return first, end


def lines(names):
    """The filter of a run: a line of eight words for each 32 ids, one bit of each word for each id."""
    count = -(-len(names) // 32)
    words = [0] * (8 * count)
    for name in names:
        number = int.from_bytes(name, "big")
        line, spread = number * count >> 64, number * 0x9E3779B97F4A7C15 & M64
        for nth in range(8):
            words[8 * line + nth] |= 1 << (spread >> 58 - 6 * nth & 63)
    return struct.pack(f"<{len(words)}Q", *words)


def check_mark(directory, net, log_id):
    """The mark names the last segment, and tells of a commit marker in it."""
    file = open_file(directory / "mark", b"qasedakk", net)
    path = directory / "headers" / f"{file.number:016x}.seg"
    found = list(records(directory / "mark", file))
    need(len(found) == 1 and found[0][:2] == (128, 6) and len(found[0][2]) == 56, directory / "mark", "its record")
    end, marker = struct.unpack("<Q", found[0][2][:8])[0], found[0][2][8:]
    need(file.log_id == log_id and path.exists(), directory / "mark", "another log, or no such segment")
    need((end - 61, 3, marker) in list(records(path, open_file(path, b"qasedakh", net, (1, 2)))), directory / "mark", "its end")


def fan_out(entries):
    bits = min(20, (len(entries) // 16).bit_length() - 1) if len(entries) >= 16 else 0
    counts = [sum(int.from_bytes(entry[:8], "big") >> 64 - bits < n for entry in entries) for n in range(2**bits + 1)]
    return struct.pack(f"<{len(counts)}I", *counts)


def read_ledger(directory, net):
    """Checks all files of a ledger that was closed, and gives what a node says of it."""
    directory = Path(directory)
    log, log_id, clock = read_log(directory, net)
    parts, txs, depths = parts_of(directory, net), [], {net.genesis: 0}
    dropped = dropped_before(directory, net)
    times = {net.genesis: net.start}
    for id_, arrival, depth, day, place, header, _ in log:
        body = b""
        if day != NONE and (day, place >> 40) >= dropped:
            need((day, place >> 40) in parts, "a body's part", id_.hex())
            body = body_at(*parts[day, place >> 40], place % 2**40, id_, net)
        tx = transaction(net, header + body)
        need(tx.id == id_, "an id", id_.hex())
        need(all(parent in depths for parent in tx.parents), "a parent", id_.hex())
        need(depth == 1 + max(depths[parent] for parent in tx.parents), "a depth", id_.hex())
        need(all(times[parent] <= tx.time for parent in tx.parents), "TimeBeforeParent", id_.hex())
        need(day == NONE or day >= (min(tx.time, arrival + 172800) + tx.lifetime) // 86400 + 4, "a day", id_.hex())
        depths[id_], times[id_] = depth, tx.time
        txs.append(tx)
    ids = [record[0] for record in log]
    if (directory / "scan.col").read_bytes()[:8] == b"qasedaks":
        column = b""  # of a version before its entries had checks, which a node makes anew
    else:
        column = open_file(directory / "scan.col", b"qasedakc", net).content
    need(not column or column == b"".join(scan_entry(n, tx, record) for n, (tx, record) in enumerate(zip(txs, log))), "scan.col")
    if (directory / "tree.col").exists():
        need(open_file(directory / "tree.col", b"qasedakt", net).content == tree_column(net, log_id, ids), "tree.col")
    if (directory / "mark").exists():
        check_mark(directory, net, log_id)
    at, runs = 0, 0
    for path in sorted((directory / "runs").glob("*.run")):
        first, end = check_run(path, net, log, txs, log_id)
        need(first == at, path, "it does not follow the run before")
        at, runs = end, runs + 1
    found = blocks(net, [(tx.time, tx.id) for tx in txs])
    return {
        "count": len(ids), "bodies": sum(tx.body is not None for tx in txs), "link": link(net, ids).hex(),
        "root": mth(net, ids).hex(), "digest": digest(net, ids).hex(), "clock": clock,
        "segments": len(list((directory / "headers").glob("*.seg"))), "runs": runs,
        "blocks": len(found), "chain": (found[-1].chain if found else net.ledger).hex(),
    }  # fmt: skip
