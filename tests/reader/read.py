"""A second reader of Qasedak, written from docs/protocol.md, docs/wallet-format.md and docs/storage.md alone.

    python3 tests/reader/read.py [--ledger DIR NETWORK] [--signatures DIR]

Reads every file of tests/vectors, the ledger in DIR as a closed node left it (and prints what it found there as JSON),
and the public signature vectors in the other DIR. Exits with 1 and the reason at the first thing that does not agree.
What it does not check: the Equi-X puzzle of a stamp, and the journal that holds the wallet's database.
"""

import argparse
import json
import sys
from pathlib import Path

import chain_vectors
import wallet_vectors
from disk import read_ledger
from ed25519 import verify
from protocol import Refused, network

TESTS = Path(__file__).resolve().parent.parent
# Files that belong to another: `proof` reads all of these.
WITH_OTHERS = {"proof-absence", "proof-empty-block", "proof-inclusion", "proof-rejections"}


def vectors(directory, only=None):
    checks = {**chain_vectors.CHECKS, **wallet_vectors.CHECKS}
    names = {path.stem for path in directory.glob("*.json")} - WITH_OTHERS | {"proof"}
    for name in sorted(names if only is None else {only}):
        if name not in checks:
            raise AssertionError(f"{name}.json: this reader has no check for it")
        count = checks[name](directory)
        print(f"{name}: {count} cases", file=sys.stderr)


def public_signatures(directory):
    """CCTV against the project's table of verdicts, and speccheck, of which case 3 alone is good."""
    table = (TESTS / "tests/vectors/cctv-verdicts.txt").read_text().splitlines()
    good = {int(n) for line in table if not line.startswith("#") for n in line.split()}
    cases = json.loads((directory / "cctv-ed25519.json").read_text())
    for n, case in enumerate(cases):
        verdict = verify(bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]))
        if verdict != (n in good):
            raise AssertionError(f"CCTV {n}: {verdict}")
    others = json.loads((directory / "ed25519-speccheck.json").read_text())
    for n, case in enumerate(others):
        if verify(*(bytes.fromhex(case[name]) for name in ("pub_key", "message", "signature"))) != (n == 3):
            raise AssertionError(f"speccheck {n}")
    print(f"signatures: {len(cases) + len(others)} cases", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=Path, default=TESTS / "vectors")
    parser.add_argument("--only", metavar="FILE", help="check one file of the vectors, named without its ending")
    parser.add_argument("--ledger", nargs=2, metavar=("DIR", "NETWORK"))
    parser.add_argument("--signatures", type=Path, metavar="DIR")
    options = parser.parse_args()
    try:
        if options.ledger:
            directory, name = options.ledger
            print(json.dumps(read_ledger(directory, network(name))))
        else:
            vectors(options.vectors, options.only)
        if options.signatures:
            public_signatures(options.signatures)
    except (AssertionError, Refused) as problem:
        sys.exit(f"{type(problem).__name__}: {' '.join(map(str, problem.args))}")


if __name__ == "__main__":
    main()
