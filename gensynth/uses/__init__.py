"""What is done with a network that is there, by its files alone.

    classifier   a file, with what it says of itself, ready to answer images; ONNX Runtime alone
    predict      its answers to some images
    val          its answers to a folder of images by class: score, confusion, every class
    foreign      an ONNX file that gensynth did not write, for a target
    hub          a network's card in the form of a model hub: README.md with a head of YAML

Nothing here imports torch, so that a command answers within a second.
"""
