"""What tests share: what collects spans, and a real Redis or Valkey server to kill and freeze."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ctxpack.cache.redis import RedisCache


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    """Return a provider that is the program's for the length of a test."""
    provider = TracerProvider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return provider


@pytest.fixture
def spans(provider: TracerProvider) -> InMemorySpanExporter:
    """Return what collects the spans of a test."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


class RedisServer:
    """A server of this machine that keeps nothing on disk.

    Args:
        folder: where it runs.
        options: more arguments of the command.
        tls: speak TLS only, with the certificate ``cert.pem`` and the key ``key.pem`` of `folder`.
    """

    def __init__(self, folder: Path, *options: str, tls: bool = False) -> None:
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        if binary is None:
            pytest.fail("needs redis-server or valkey-server on the PATH: `bash .ci/redis`")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        ports = ["--port", str(self.port)]
        if tls:
            ports = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            ports += ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"]
            ports += ["--tls-ca-cert-file", "cert.pem"]
        self._command = [binary, *ports, "--bind", "127.0.0.1", "--save", "", *options]
        self._folder = folder
        self.start()

    @property
    def url(self) -> str:
        """The URL, without a password."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start an empty server on the same port as ever, and wait until it is ready."""
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, cwd=self._folder, stdout=pipe, text=True)
        assert self._process.stdout
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if "Ready to accept connections" in line:
                return
        pytest.fail(f"the server did not start: {''.join(lines)}")

    def kill(self) -> None:
        """Kill the server, as a crash would, and wait until it is gone."""
        self._process.kill()
        self._process.communicate()

    def freeze(self) -> None:
        """Keep the server from running; it holds its connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server run again."""
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Return what starts servers, with the arguments of `RedisServer` after the folder."""
    started: list[RedisServer] = []

    def start(*options: str, **settings: Any) -> RedisServer:
        started.append(RedisServer(tmp_path, *options, **settings))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def redis_server(start_redis: Callable[..., RedisServer]) -> RedisServer:
    """Return a running, empty server without a password."""
    return start_redis()


@pytest.fixture
def open_redis() -> Iterator[Callable[..., RedisCache]]:
    """Return what makes caches, as `RedisCache` does, patient ones; the test's end closes them."""
    caches: list[RedisCache] = []

    def opened(url: str, **options: Any) -> RedisCache:
        # A busy machine is no fault of the server, unless the test says how long it waits.
        caches.append(RedisCache(url, **{"timeout_ms": 5000.0} | options))
        return caches[-1]

    yield opened
    for cache in caches:
        cache.close()
