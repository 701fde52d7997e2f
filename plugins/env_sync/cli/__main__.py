"""Runs the command line: python -m env_sync.cli."""

from __future__ import annotations

from env_sync.cli.main import main

main()
