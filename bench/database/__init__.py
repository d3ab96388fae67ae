"""Rolling a schema back: ours beside the peers, on one server, in one run."""
