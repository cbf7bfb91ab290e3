"""From a configuration to a trained run in the store. In reading order:

- `config`: what one training is, and the id that follows from it
- `processes`: one training in several processes
- `loop`: the training loop
- `memory`: how much memory a training takes
- `checkpoint`: the state of a training, so that an interrupted one goes on
- `explain`: a trained model applied to many images
- `kept_maps`: the maps that a run keeps beside its model
- `runs`: the store of trained runs
- `bundled_runs`: the models that come with the package, as runs
- `saved`: trained models by name, runs and saved ones
- `parallel`: several trainings side by side
- `fit`: train what the store lacks
- `tracking`: every epoch in TensorBoard
"""
