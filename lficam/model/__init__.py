"""The networks: LFI-CAM, ABN, and the trunks they are built around. In reading order:

- `cam`: class activation maps as tensors
- `lfi_cam`: LFI-CAM and its Feature Importance Network
- `abn`: the Attention Branch Network, which it is compared with
- `plain`: the plain network that both add to, and its original CAM
- `features`: what a trunk must return, and how many channels it has
- `trunks`: trunks by name, customised ones too
- `cifar_trunks`: those for 32 x 32 images
- `timm_trunks`: those for ImageNet-size images, from timm
- `weights`: ImageNet weights of timm's networks
- `methods`: the methods that are compared, by name
- `initialization`: fresh weights
- `devices`: where models compute
- `metadata`: what a trained model takes and what its logits mean
- `export`: one file out, ONNX or .pt2, to be run without this package
- `bundled`: the trained models that come with the package
- `saving`: saved models: weights, config and card, on disk or on the hub
"""
