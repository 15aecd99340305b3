"""Ed25519 by the rule of docs/protocol.md, "Signature", and the points of docs/wallet-format.md.

Written out over integers, because no library has this exact rule: libsodium and OpenSSL refuse authors whose y is not
reduced, or take signatures with an R of small order. Slow and with secrets in its timing: for checking only.
"""

from hashlib import sha512

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)  # of -1


def add(a, b):
    """Sum in extended coordinates (RFC 8032, section 5.1.4)."""
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    m, n = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(k, point):
    sum_ = (0, 1, 1, 0)
    while k:
        if k & 1:
            sum_ = add(sum_, point)
        point = add(point, point)
        k >>= 1
    return sum_


def encode(point):
    x, y, z, _ = point
    inverse = pow(z, -1, P)
    return (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")


def decode(data):
    """The point of 32 bytes, or None. The y in them need not be below P."""
    number = int.from_bytes(data, "little")
    y, sign = number % 2**255 % P, number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT % P
    if x * x % P != square:
        return None
    if x & 1 != sign:
        x = -x % P
    return x, y, 1, x * y % P


def small_order(point):
    x, y, z, _ = times(8, point)
    return x == 0 and y == z


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def verify(author, message, signature):
    """True if and only if the four conditions of "Signature" hold."""
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    a_point, r_point = decode(author), decode(r)
    if a_point is None or r_point is None or small_order(a_point) or small_order(r_point) or s >= L:
        return False
    k = int.from_bytes(sha512(r + author + message).digest(), "little") % L
    x, y, z, t = a_point
    return encode(add(times(s, BASE), times(k, (-x % P, y, z, -t % P)))) == r


def public(secret):
    """The public key of a 32-byte secret key (RFC 8032, section 5.1.5)."""
    number = int.from_bytes(sha512(secret).digest()[:32], "little")
    return encode(times(number & (2**254 - 8) | 2**254, BASE))


def proper_key(data):
    """Whether an address may hold these 32 bytes: a canonical encoding, and not of small order."""
    point = decode(data)
    return point is not None and encode(point) == data and not small_order(point)


def montgomery_u(data):
    """The u coordinate (RFC 7748, section 4.1) of an encoded point."""
    y = decode(data)[1]
    return ((1 + y) * pow(1 - y, -1, P) % P).to_bytes(32, "little")
