"""Network addresses: those on this machine, and those that belong to the same client."""

from __future__ import annotations

import ipaddress
import socket

_CLIENT_BITS = 64
"""An IPv6 network of this size belongs to one customer, who may use any address in it."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on an address.

    >>> [is_loopback(host) for host in ("127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1", "localhost")]
    [True, True, True, True, True]
    >>> [is_loopback(host) for host in ("0.0.0.0", "::", "", "192.168.1.4", "no such host")]
    [False, False, False, False, False]
    """
    if not host:
        return False
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(_ip(str(address)).is_loopback for address in found)


def client_network(address: str) -> str:
    """Return what stands for one client: its IPv4 address, or its IPv6 network.

    >>> client_network("192.0.2.7"), client_network("2001:db8:1:2:3:4:5:6"), client_network("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8:1:2::/64', '192.0.2.7')
    """
    try:
        ip = _ip(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address) or ip.is_loopback:
        return str(ip)
    return str(ipaddress.ip_network((ip, _CLIENT_BITS), strict=False))


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return ip if mapped is None else mapped


def is_loopback_name(host: str) -> bool:
    """Return whether the name in a URL always means the machine itself, without asking a name server.

    >>> [is_loopback_name(host) for host in ("localhost", "127.0.0.1", "::1", "evil.example.com")]
    [True, True, True, False]
    """
    try:
        return host == "localhost" or _ip(host).is_loopback
    except ValueError:
        return False
