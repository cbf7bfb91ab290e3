"""The supplement's figures and those beyond it, from runs to files. In reading order:

- `experiments`: what each figure needs
- `profiles`: the five settings, and the scales from minutes on a CPU to the paper's
- `verdicts`: the claims and the rules by which they are judged
- `explanations`: Table 1 and Figures 1 to 6
- `agreement`: how alike the maps of several models are, beside what comes for free
- `trust`: faithfulness and the sanity check
- `class_dependence`: one map for all classes, on pictures of two objects
- `fin_worth`: other weights in place of the FIN's
- `architecture`: the FIN read off the modules, and what each part costs
- `grid`: pictures with heat maps
- `charts`: charts of numbers
- `tables`: tables as people read them
- `outputs`: the files of a figure
"""
