"""The password, and who guesses: an address that was wrong several times waits before its next try is looked at."""

from __future__ import annotations

import base64
import hmac
import logging
import time
from collections import OrderedDict

logger = logging.getLogger(__name__)

FREE_TRIES = 5  # wrong ones before an address must wait
FIRST_WAIT, LONGEST_WAIT = 2.0, 300.0  # seconds; doubled with every further wrong one
ADDRESSES = 10_000  # remembered; the oldest are forgotten first


class Guard:
    """Checks HTTP's Basic authorization against a password; "" lets everybody in."""

    def __init__(self, password: str) -> None:
        self.password = password
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()  # address: wrong tries, when the next may come

    def wait(self, address: str) -> float:
        """Seconds until an address may try again; 0 where it may now."""
        _, until = self._wrong.get(address, (0, 0.0))
        return max(0.0, until - time.monotonic())

    def lets_in(self, address: str, authorization: str) -> bool:
        """Whether the password is right. A wrong one counts against the address, none at all does not."""
        if not self.password:
            return True
        if not authorization:
            return False  # a browser asks so before it shows its form
        if _knows(authorization, self.password):
            self._wrong.pop(address, None)
            return True

        # what was wrong long ago is forgiven
        tries, until = self._wrong.pop(address, (0, 0.0))
        if time.monotonic() > until + LONGEST_WAIT:
            tries = 0
        tries += 1
        excess = tries - FREE_TRIES
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(excess, 30)) if excess >= 0 else 0.0
        self._wrong[address] = (tries, time.monotonic() + wait)
        if len(self._wrong) > ADDRESSES:
            self._wrong.popitem(last=False)
        if wait:
            logger.warning("%s: %d wrong passwords; waits %.0f s", address, tries, wait)
        return False


def _knows(header: str, password: str) -> bool:
    """Whether a Basic authorization gives the password, under any user name."""
    kind, _, code = header.partition(" ")
    given = b""
    if kind.lower() == "basic":
        try:
            decoded = base64.b64decode(code, validate=True)
        except ValueError:
            return False
        _, _, given = decoded.partition(b":")

    # in constant time: how long it takes says nothing of how many letters were right
    return hmac.compare_digest(given, password.encode())
