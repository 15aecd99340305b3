"""Proof files, from docs/protocol.md, "Proof files"."""

import json
import struct

from protocol import H, Refused, block_leaf, checkpoint, included, need, network, transaction

ABOUT = "What stood in a block of a Qasedak ledger, by the word of peers. Check it with: qasedak audit check"
FIRST = ["about", "kind", "version", "network"]
LAST = ["own", "checkpoints", "check"]
BETWEEN = {
    "inclusion": ["transaction", "parents", "block", "index", "path"],
    "absence": ["absent", "block", "before", "after"],
    "empty block": ["absent", "number"],
}


def strict_json(text):
    """JSON without a name twice, points, exponents or anything else that is no integer."""

    def once(pairs):
        need(len({name for name, _ in pairs}) == len(pairs), "Json")
        return dict(pairs)

    def never(_):
        raise Refused("Json")

    try:
        return json.loads(text, object_pairs_hook=once, parse_float=never, parse_constant=never)
    except (ValueError, RecursionError) as error:
        raise Refused("Json", error) from error


def fields(value, names):
    need(isinstance(value, dict) and set(value) == set(names), "Json")
    need(list(value) == names, "NotCanonical")
    return value


def integer(value, bits=64):
    need(type(value) is int and 0 <= value < 2**bits, "Json")
    return value


def octets(value, length):
    """Bytes from their digits. bytes.fromhex() would take spaces."""
    need(isinstance(value, str) and len(value) % 2 == 0 and all(c in "0123456789abcdef" for c in value.lower()), "Json")
    need(value == value.lower(), "NotCanonical")
    need(length is None or len(value) == 2 * length, "Json")
    return bytes.fromhex(value)


def items(value, most):
    need(isinstance(value, list) and len(value) <= most, "Json")
    return value


def path_of(value):
    return [octets(item, 32) for item in items(value, 64)]


def block_of(value):
    fields(value, ["number", "count", "root"])
    return integer(value["number"]), integer(value["count"]), octets(value["root"], 32)


def signed_of(net, value):
    """A checkpoint from its fields."""
    fields(value, ["signer", "signature", "time", "log", "count", "link", "root", "digest", "closed"])
    closed = (0, bytes(32), 0, bytes(32))
    if value["closed"] is not None:
        inner = fields(value["closed"], ["number", "chain", "blocks", "root"])
        closed = integer(inner["number"]), octets(inner["chain"], 32), integer(inner["blocks"]), octets(inner["root"], 32)
        need(inner["blocks"] > 0, "Checkpoint")
    log, count = octets(value["log"], 16), integer(value["count"])
    hashes = [octets(value[name], 32) for name in ("link", "root", "digest")]
    data = struct.pack("<B16sQ32s32s32sQ32sQ32sQ", 1, log, count, *hashes, *closed, integer(value["time"]))
    try:
        return checkpoint(net, data + octets(value["signer"], 32) + octets(value["signature"], 64))
    except Refused as refused:
        raise Refused("Checkpoint", *refused.args) from refused


def parse(data):
    """The JSON of a proof file that is in its one form and has not been changed by accident."""
    need(len(data) <= 1048576, "Size")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Refused("Json") from error
    value = strict_json(text)
    need(isinstance(value, dict) and "kind" in value, "Json")
    need(value.get("version") == 1, "Version")
    need(isinstance(value["kind"], str) and value["kind"] in BETWEEN, "Kind")
    fields(value, FIRST + BETWEEN[value["kind"]] + LAST)
    need(value["about"] == ABOUT and json.dumps(value, indent=2, ensure_ascii=False) + "\n" == text, "NotCanonical")
    check = octets(value["check"], 32)
    zeros = json.dumps({**value, "check": "0" * 64}, indent=2, ensure_ascii=False) + "\n"
    need(H("proof", zeros.encode()) == check, "Check")
    return value


def check(data):
    """The network, the kind and the subject's id of a proof file that is good."""
    value = parse(data)
    claimed = fields(value["network"], ["name", "version", "start", "base_milli", "settle"])
    need(isinstance(claimed["name"], str), "Json")
    net = network(claimed["name"])
    need(tuple(claimed.values()) == (net.name, net.version, net.start, net.base_milli, net.settle), "Network")
    kind = value["kind"]
    if kind == "inclusion":
        subject, number = inclusion(net, value)
    elif kind == "absence":
        subject, number = absence(net, value)
    else:
        subject, number = octets(value["absent"], 32), integer(value["number"])
    signers = carriers(net, value, number)
    need(value["own"] is None or octets(value["own"], 32) in signers, "Own")
    return net, kind, subject, number, signers


def carriers(net, value, number):
    """Checks the list of checkpoints, and gives their signers."""
    need(1 <= len(items(value["checkpoints"], 256)), "Json")
    found = []
    for item in value["checkpoints"]:
        if value["kind"] == "empty block":
            fields(item, ["checkpoint", "before", "after"])
            point = signed_of(net, item["checkpoint"])
            empty_in(net, number, point, item["before"], item["after"])
        else:
            fields(item, ["checkpoint", "index", "path"])
            point = signed_of(net, item["checkpoint"])
            block, index = block_of(value["block"]), integer(item["index"])
            need(block[0] <= point.number and point.blocks, "NotCarried")
            need((block[0] == point.number) == (index == point.blocks - 1), "NotCarried")
            carried = included(net, block_leaf(*block), index, point.blocks, path_of(item["path"]), point.blocks_root)
            need(carried, "NotCarried")
        found.append(point)
    order = [(point.signer, point.log, point.count, point.time) for point in found]
    need(all(a < b for a, b in zip(order, order[1:])), "NotCanonical")
    return {point.signer for point in found}


def header_of(net, value):
    fields(value, ["id", "header"])
    data = octets(value["header"], None)
    try:
        found = transaction(net, data)
    except Refused as refused:
        raise Refused("Header", *refused.args) from refused
    need(found.body is None, "Header")
    need(found.id == octets(value["id"], 32), "Id")
    return found


def inclusion(net, value):
    subject = header_of(net, value["transaction"])
    parents = [header_of(net, parent) for parent in items(value["parents"], 8)]
    need([parent.id for parent in parents] == [id_ for id_ in subject.parents if id_ != net.genesis], "Parents")
    need(all(parent.time <= subject.time for parent in parents), "Parents")
    number, count, root = block_of(value["block"])
    need(subject.time // 3600 == number, "Hour")
    need(included(net, subject.id, integer(value["index"]), count, path_of(value["path"]), root), "Path")
    return subject.id, number


def absence(net, value):
    absent, (number, count, root) = octets(value["absent"], 32), block_of(value["block"])
    sides = []
    for side in (value["before"], value["after"]):
        if side is not None:
            fields(side, ["id", "index", "path"])
            id_, index = octets(side["id"], 32), integer(side["index"])
            need(included(net, id_, index, count, path_of(side["path"]), root), "Path")
            side = id_, index
        sides.append(side)
    before, after = sides
    need(
        (before and after and before[0] < absent < after[0] and before[1] + 1 == after[1])
        or (before and not after and before[0] < absent and before[1] == count - 1)
        or (after and not before and absent < after[0] and after[1] == 0),
        "Neighbours",
    )
    return absent, number


def empty_in(net, number, point, before, after):
    sides = []
    for side in (before, after):
        if side is not None:
            fields(side, ["block", "index", "path"])
            block, index = block_of(side["block"]), integer(side["index"])
            need(included(net, block_leaf(*block), index, point.blocks, path_of(side["path"]), point.blocks_root), "NotCarried")
            need((block[0] == point.number) == (index == point.blocks - 1) and block[0] <= point.number, "NotCarried")
            side = block[0], index
        sides.append(side)
    before, after = sides
    need(
        (before and after and before[0] < number < after[0] and before[1] + 1 == after[1])
        or (after and not before and number < after[0] and after[1] == 0)
        or (
            not before and not after
            and (number > point.number or not point.blocks)
            and (number + 1) * 3600 + 7200 <= point.time
        ),
        "NotCarried",
    )  # fmt: skip
