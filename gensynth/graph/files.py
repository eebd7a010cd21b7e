"""The names of a network's files, wherever a network is kept.

graph.json             what it computes
weights.safetensors    its weights
network.onnx           the same as a file that a runtime reads
card.json              what it is, and what was shown of it
"""

GRAPH_FILE = "graph.json"
WEIGHTS_FILE = "weights.safetensors"
ONNX_FILE = "network.onnx"
CARD_FILE = "card.json"
