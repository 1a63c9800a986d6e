"""The page of numbers that must not be called: lists, adds, imports and removes them; calls nobody."""
