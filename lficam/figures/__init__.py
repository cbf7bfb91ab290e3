"""The supplement's figures and those beyond it, from runs to files. In reading order:

- `experiments`: what each figure needs
- `plan`: one figure as an experiment
- `profiles`: the five settings, and the scales from minutes on a CPU to the paper's
- `verdicts`: the claims and the rules by which they are judged
- `architecture`: Table 1, and what each part costs
- `explanations`: Figures 1 to 4
- `agreement`: Figures 5 and 6, the maps of several models
- `chance`: how alike such maps are, beside what chance would give
- `trust`: faithfulness and the sanity check
- `class_dependence`: one map for all classes, on pictures of two objects
- `fin_worth`: other weights in place of the FIN's
- `result`: a finished figure
- `grid`: pictures with heat maps
- `contact_sheet`: a data set at a glance
- `charts`: charts of numbers
- `tables`: tables as people read them
- `outputs`: the files of a figure
"""
