"""Images with their labels and masks. In reading order:

- `samples`: what every data set looks like to the rest of the library
- `augmentation`: crops and flips of a whole batch at once
- `decoding`: from a file to pixels
- `photograph`: a picture in its own shape, and which part of it a network sees
- `objects`: where the object is in a photograph, masks and boxes beside image files
- `files`: images that stay on disk until they are looked at
- `folders`: image folders, with or without a split of their own
- `digits`: the embedded data, cluttered digits
- `torchvision_sets`: CIFAR10, CIFAR100, STL10 and ImageNet
- `download`: large files from the network
- `catdog`: getting the photographs of cats and dogs
- `datasets`: all data sets by name
- `free_photographs`: a handful that comes with the package
- `own_data`: those that torch already reads, made usable by name
"""
