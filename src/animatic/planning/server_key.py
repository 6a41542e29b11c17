"""Which server gets the key: none over an unencrypted line, and none unsaid that is not OpenAI's."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from ..errors import AnimaticError, warn

VARIABLE = "OPENAI_API_KEY"  # in the environment


def check_address(base_url: str) -> None:
    """Raise `AnimaticError`, without quoting it, where an address holds a password: addresses are kept and shown."""
    try:
        parts = urlsplit(base_url)
    except ValueError as error:
        raise AnimaticError(f"base_url is {base_url[:60]!r}; want an address ({error})") from None
    if "@" in parts.netloc:
        raise AnimaticError(f"base_url holds a user or a password; want it without, and the key in {VARIABLE}")


def key_for(base_url: str) -> str:
    """The key that the server at this address is given, "" for none; "" is OpenAI's address.

    Which other host gets it is said, and that one without https does not; on this machine no line leaves it.
    """
    key = os.environ.get(VARIABLE, "")
    if not key or not base_url:
        return key
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if _is_this_machine(host):
        return key
    if parts.scheme != "https":
        warn(f"{VARIABLE} is not sent to {host}, whose address is not https")
        return ""
    if host != "openai.com" and not host.endswith(".openai.com"):
        warn(f"{VARIABLE} is sent to {host}")
    return key


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
