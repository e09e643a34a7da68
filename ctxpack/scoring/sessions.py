"""onnxruntime sessions of a model's files: of files that are the same, one in a process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ctxpack.errors import ModelError
from ctxpack.process import PerProcess
from ctxpack.scoring.manifest import Manifest

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CPU = ("CPUExecutionProvider",)

_Key = tuple[str, tuple[str, ...]]


class _Sessions:
    """Sessions of one process, each kept for as long as a model holds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: WeakValueDictionary[_Key, InferenceSession] = WeakValueDictionary()

    def get(self, key: _Key, start: Callable[[], InferenceSession]) -> InferenceSession:
        """Return the session for `key`, started now if no model holds one."""
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                session = self._sessions[key] = start()
            return session


_SESSIONS = PerProcess(_Sessions)


def session(
    manifest: Manifest, file: str, *, models: Path, providers: Sequence[str]
) -> InferenceSession:
    """Return the session of one of a model's files, which runs on the first of the providers.

    Raises:
        ModelError: the file is missing or is not the one that the manifest names; or this
            onnxruntime does not have a provider, or could not start it.
    """
    model = manifest.read(file, models=models)
    key = manifest.files[file], tuple(providers)
    return _SESSIONS.get().get(key, lambda: _started(manifest.name, model, providers))


def _started(name: str, model: bytes, providers: Sequence[str]) -> InferenceSession:
    from onnxruntime import InferenceSession, SessionOptions, get_available_providers

    there = get_available_providers()
    for provider in providers:
        if provider not in there:
            raise ModelError(f"{name}: no {provider!r} in this onnxruntime: {', '.join(there)}")
    options = SessionOptions()
    # One thread a call: callers bring their own, and a pool of threads does not survive a fork.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = InferenceSession(model, options, providers=list(providers))
    if session.get_providers()[0] != providers[0]:
        raise ModelError(f"{name}: onnxruntime could not start {providers[0]!r}")
    return session
