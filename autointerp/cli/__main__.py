"""`python -m autointerp.cli`."""

from autointerp.cli.main import main

main()
