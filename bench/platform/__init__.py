"""How long until traffic has moved, beside the platform's own tools."""
