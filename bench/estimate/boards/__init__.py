"""What a network would take on a board with TensorRT, whether one is attached or not.

tensorrt_plan     the kernels that TensorRT makes of an ONNX file
  tensorrt_nodes    of which nodes
board             a kind of board: latency and energy with intervals
  known             the kinds of which figures are known, with their sources
  roofline          how long kernels take        energy    what a run draws
  beliefs           quantities that are not known exactly, and what measurements teach of them
tensorrt_board    a board for a search
"""
