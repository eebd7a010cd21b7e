"""What a network's vertices and edges answer to stimuli.

stimuli           which training images every network is shown
probe             Probe: images into a network, `Responses` out
information       how much a value carries, and what it says of the labels
operator_probe    what each substitute of a convolution would lose
"""
