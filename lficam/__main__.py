"""`python -m lficam` is the command line."""

from lficam.cli import main

main()
