"""Postprocess: what is done in code to incoming, after the transformations and before it becomes live."""
