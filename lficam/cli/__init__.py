"""The command line. In reading order:

- `app`: what the commands share
- `making`: commands that make the paper's figures
- `using`: commands that put a model to use
- `commands`: all of them, and how they end
- `catalogue`: `lficam data`
- `own_images`: images in a folder
- `explain_images`: `lficam explain`
- `run_list`: `lficam runs`
- `maps`: maps of runs and of files, to compare
- `evaluate`: what `lficam stability` and `lficam evaluate` measure
"""
