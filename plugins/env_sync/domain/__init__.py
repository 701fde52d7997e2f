"""What the product talks about, as frozen values: syncs, dumps, reports, pauses."""
