"""The supplement's figures and those beyond it, from runs to files. In reading order:

- `experiments`: what each figure needs
- `plan`: one figure as an experiment
- `profiles`: the five settings, and the scales from minutes on a CPU to the paper's
- `claims`: what is claimed and asked, and from what value on it holds
- `verdicts`: what becomes of a claim, beside what comes for free
- `architecture`: Table 1, and what each part costs
- `measured`: values of every image, from which tables and verdicts follow
- `explanations`: Figures 1 to 4
- `outcomes`: verdicts in sentences
- `models`: the maps of several models of one method, as they are compared
- `settings`: do they agree between settings? C2 and C3
- `agreement`: Figures 5 and 6, the maps of several models
- `chance`: how alike such maps are, beside what chance would give
- `learning`: how alike they are while the models learn
- `on_object`: do they lie on the object? C1 by several models
- `folds`: do they generalise, and tell right from wrong?
- `hidden_pixels`: how faithful are they to their models?
- `new_weights`: do they depend on what was learned? The sanity check
- `class_dependence`: one map for all classes, on pictures of two objects
- `fin_worth`: other weights in place of the FIN's
- `result`: a finished figure
- `grid`: pictures with heat maps
- `contact_sheet`: a data set at a glance
- `charts`: charts of numbers
- `tables`: tables as people read them
- `outputs`: the files of a figure
"""
