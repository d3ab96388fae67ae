"""`python -m rollback` is the command."""

from .cli import main

main()
