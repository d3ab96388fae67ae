"""The database's schema as something that can be rolled back without losing a value.

In the order of DESIGN.md, section 8: `planning` (with `history`, `scripts`,
`catalogue`), `backup`, `apply` (with `archive`), `refill`. All of it is PostgreSQL's.
"""
