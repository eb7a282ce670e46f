"""`python -m gateway` is `journey-gateway`."""

from gateway.cli import main

main()
