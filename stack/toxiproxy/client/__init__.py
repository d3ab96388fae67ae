"""The fault proxy from outside: its API, what is put on a route, and the measuring."""
