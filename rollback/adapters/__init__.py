"""How the outside is reached: one file a thing. Only `wiring.py` names these."""
