"""Side-by-side measurements against peers, each in one run with fixed seeds."""
