"""Numbers about maps and models, one an image; they know no runs, no drawing and no data set. In reading order:

- `similarity`: how alike are two maps of the same image?
- `stability`: do two models look at the same place?
- `mege_reco`: do maps generalise, and tell right from wrong?
- `localisation`: does a map lie on the object?
- `faithfulness`: does a map say what the model's answer rests on?
- `map_names`: what maps are called
- `baselines`: maps that other methods make of an LFI-CAM
- `sanity`: does a map depend on what the model has learned?
- `importance`: what do the FIN's weights do?
- `intervals`: how far a mean would move with other images and other models
"""
