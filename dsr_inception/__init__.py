"""The recogniser as Keras 3 code: blocks, network, losses, data, training and evaluation."""
