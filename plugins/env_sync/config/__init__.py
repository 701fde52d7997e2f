"""Hieradata: YAML files become checked values, with every problem reported at once."""
