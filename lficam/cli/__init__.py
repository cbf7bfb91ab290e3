"""The command line. In reading order:

- `commands`: all commands and their options
- `catalogue`: `lficam data`
- `own_images`: images in a folder
- `explain_images`: `lficam explain`
- `run_list`: `lficam runs`
- `maps`: maps of runs and of files, to compare
- `evaluate`: what `lficam stability` and `lficam evaluate` measure
"""
