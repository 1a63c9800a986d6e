"""The page of one call: what was asked for, what became of it, what was said; never changes anything."""
