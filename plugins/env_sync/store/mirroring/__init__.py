"""Mirroring one bucket to another."""
