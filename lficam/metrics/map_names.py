"""What maps are called, in tables, figures and errors."""

OWN = "own map"  # of whatever model is judged
LFI_CAM, ABN, PLAIN = "LFI-CAM's own map", "ABN's own map", "plain network's CAM"
MEAN_WITH_FIN, MEAN_WITHOUT_FIN = "mean features, with FIN", "mean features, without FIN"
GRAD_CAM, SCORE_CAM, LAYER_CAM = "Grad-CAM", "Score-CAM", "LayerCAM"
GRAD_CAM_OF_LFI_CAM = "Grad-CAM of LFI-CAM"  # where there is ABN beside it, which has none
LFI_CAM_UNTRAINED = "LFI-CAM untrained"  # the map of a network that has learned nothing
RANDOM = "random map"
