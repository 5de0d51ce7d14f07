"""Attempts to sign in, counted in the database, so that all workers and replicas count the same."""

from __future__ import annotations

from ipaddress import IPv6Address

from service import db
from service.access import Address, is_person
from service.models import Attempt

FREE = {"name": 5, "address": 30}  # failures before there is anything to wait for; behind an address are many people
FIRST_WAIT, LONGEST_WAIT = 15, 300  # seconds
FORGET = 3600  # seconds after the last failure


def pause(failures: int, free: int) -> int:
    """Seconds to wait after that many failures: twice as long each time, to a limit."""
    over = failures - free
    return 0 if over < 0 else min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(over, 10))


def begin(name: str, address: Address | None, now: int) -> int:
    """0 when an attempt may be made; else the seconds to wait.

    It is counted as failed until `succeeded` is told: of many attempts at once none gets by uncounted.
    """
    keys = _keys(name, address)
    with db.write():
        Attempt.delete().where(Attempt.last <= now - FORGET).execute()
        found = {row.key: row for row in Attempt.select().where(Attempt.key.in_(list(keys)))}
        wait = max((row.until - now for row in found.values()), default=0)
        if wait > 0:
            # A clock that was set back must not lock anybody out for longer.
            return min(int(wait), LONGEST_WAIT)
        for key, free in keys.items():
            failures = (found[key].failures if key in found else 0) + 1
            counted = Attempt.insert(key=key, failures=failures, last=now, until=now + pause(failures, free))
            columns = [Attempt.failures, Attempt.last, Attempt.until]
            counted.on_conflict(conflict_target=[Attempt.key], preserve=columns).execute()
    return 0


def succeeded(name: str, address: Address | None) -> None:
    """The attempt that was begun was right: the name starts anew, the address is as before."""
    keys = list(_keys(name, address))
    with db.write():
        Attempt.delete().where(Attempt.key == f"name:{name}").execute()
        Attempt.update(failures=Attempt.failures - 1, until=0).where(Attempt.key.in_(keys)).execute()


def forget(name: str) -> None:
    """The name starts anew: somebody who may has set its password."""
    with db.write():
        Attempt.delete().where(Attempt.key == f"name:{name}").execute()


def _keys(name: str, address: Address | None) -> dict[str, int]:
    keys = {f"name:{name}": FREE["name"]} if is_person(name) else {}
    if isinstance(address, IPv6Address):
        # A whole network is one customer's.
        return keys | {f"address:{address.exploded[:19]}": FREE["address"]}
    return keys | ({f"address:{address}": FREE["address"]} if address else {})
