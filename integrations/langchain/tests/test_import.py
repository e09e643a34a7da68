"""What importing the package costs and needs."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_LANGCHAIN = """
import sys
sys.modules["langchain"] = None
import langchain_ctxpack
try:
    langchain_ctxpack.CtxPackMiddleware
except ImportError as error:
    assert "langchain-ctxpack[agents]" in str(error), error
else:
    raise AssertionError("imported without langchain")
"""


def test_agents_are_an_extra() -> None:
    """Without langchain everything but the middleware works, and its error says what to install."""
    subprocess.run([sys.executable, "-c", WITHOUT_LANGCHAIN], check=True)
