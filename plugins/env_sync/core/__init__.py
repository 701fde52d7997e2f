"""Values and tools that know nothing of syncs."""
