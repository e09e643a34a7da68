"""A Redis or Valkey server of this machine, for as long as a measurement takes."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile

_BINARIES = ("redis-server", "valkey-server")


@contextmanager
def local_redis() -> Iterator[str | None]:
    """Yield the URL of a new, empty server on a free port; None where no binary is on the PATH.

    It keeps nothing on disk, and is killed at the end.

    Raises:
        RuntimeError: the server does not start.
    """
    binary = next(filter(None, map(shutil.which, _BINARIES)), None)
    if binary is None:
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            # What is printed ends when the server does.
            said = list(takewhile(lambda line: "Ready to accept" not in line, server.stdout or ()))
            if server.poll() is not None:
                raise RuntimeError(f"{binary} does not start: {''.join(said)}")
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.kill()
