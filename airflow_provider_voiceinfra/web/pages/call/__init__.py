"""The page of one call: what was asked for, what became of it, and what was said."""
