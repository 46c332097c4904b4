"""Interpreter and compiler do not share a process: triton is one or the other from its import."""

from __future__ import annotations

import os

_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
collect_ignore_glob = ["test_*.py"] if _INTERPRETED else ["interpreted/*"]
