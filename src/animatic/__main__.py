"""`python -m animatic`."""

from .cli import main

main()
