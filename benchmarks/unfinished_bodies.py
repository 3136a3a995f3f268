"""How much memory does a gateway take while clients send large bodies and do not finish them?

python -m benchmarks.unfinished_bodies --bodies 60 --megabytes 15
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import tempfile
import time
from pathlib import Path

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from benchmarks import serving_servers

MEBIBYTE = 1 << 20


def measure(directory: Path, bodies: int, megabytes: int) -> dict[str, float]:
    """Return the memory before, with all bodies but their last byte sent, and how many were refused."""
    storage = directory / "storage"
    # A registry without models: labels need none.
    _ = Registry(RegistrySettings(str(storage))).client
    with serving_servers.gateway(directory, storage, "unfinished") as server:
        port = int(server.url.rpartition(":")[2])
        before = server.memory()
        size = megabytes * MEBIBYTE
        head = f"POST /feedback HTTP/1.1\r\nHost: gateway\r\nContent-Length: {size}\r\n\r\n".encode()
        refused = 0
        with contextlib.ExitStack() as stack:
            clients = []
            for _ in range(bodies):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
                client.sendall(head)
                clients.append(client)
                with contextlib.suppress(OSError):
                    client.sendall(bytes(size - 1))
            time.sleep(1)
            during = server.memory()
            for client in clients:
                client.settimeout(0.1)
                with contextlib.suppress(OSError):
                    refused += client.recv(64).startswith(b"HTTP/1.1 429")
        return {"bodies": bodies, "refused": refused, "before_mib": before, "during_mib": during}


def main() -> None:
    """Print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=60)
    parser.add_argument("--megabytes", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        values = measure(Path(directory), options.bodies, options.megabytes)
    if options.json:
        print(json.dumps(values))
        return
    print(f"{options.bodies} unfinished bodies of {options.megabytes} MiB, {values['refused']:.0f} of them refused:")
    print(f"{values['before_mib']:.0f} MiB before, {values['during_mib']:.0f} MiB with the bodies")


if __name__ == "__main__":
    main()
