"""The commands about rules: who must not be called."""
