"""Segment caches: what is known of a segment is kept, and every later query reuses it."""

from __future__ import annotations
