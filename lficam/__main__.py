"""`python -m lficam` is the command line."""

from lficam.cli.commands import main

main()
