"""Cursors, taken apart: what the gateway means by one, read without its code."""

import base64
import functools
import typing


class Snapshot(typing.NamedTuple):
    """A pg_snapshot with the epoch it was taken in."""

    epoch: int
    xmin: int
    xmax: int
    running: frozenset

    @property
    def text(self):
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, sorted(self.running)))}"

    @property
    def order(self):
        """How many transactions it sees. Snapshots of one primary include each other, so this orders them."""
        return self.xmax - len(self.running)

    def sees(self, xid):
        return xid < self.xmin or xid < self.xmax and xid not in self.running

    def includes(self, other):
        unseen = [xid for xid in self.running if xid < other.xmax]
        unseen += range(self.xmax, other.xmax)
        return not any(other.sees(xid) for xid in unseen)


def parse(text, epoch=0):
    xmin, xmax, running = text.split(":")
    return Snapshot(epoch, int(xmin), int(xmax), frozenset(int(xid) for xid in running.split(",") if xid))


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def numbers(data):
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0
    if shift:
        raise ValueError("a number without an end")


@functools.lru_cache(4096)
def decode(cursor):
    """base64url of: version, epoch (8 bytes), then as varints xmin, xmax − xmin, count, differences; 2 bytes of FNV-1a."""
    data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    body, checksum = data[:-2], int.from_bytes(data[-2:], "big")
    if fnv1a(body) & 0xFFFF != checksum or body[0] != 1:
        raise ValueError(f"no cursor: {cursor}")
    xmin, span, count, *differences = numbers(body[9:])
    if len(differences) != count:
        raise ValueError(f"{count} running transactions, {len(differences)} given: {cursor}")
    running, last = [], xmin
    for difference in differences:
        last += difference
        running.append(last)
    return Snapshot(int.from_bytes(body[1:9], "big"), xmin, xmin + span, frozenset(running))
