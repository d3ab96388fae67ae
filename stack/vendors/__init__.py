"""Stand-ins for the vendors: small, stateful, and denying what the vendor denies."""
