"""What a network would take on a device where it was not measured: kernels, not networks.

kernels      what a runtime makes of a network, and what each kernel must compute and move
  tensorrt_plan   TensorRT's, by its documented fusions        tensorrt_nodes   of what
board        a kind of board that is not attached: latency and energy with intervals
  boards       the kinds of which figures are known, with their sources
  roofline     how long kernels take        energy    what a run draws
  beliefs      quantities that are not known exactly, and what measurements teach of them
answer       files and a device in, a record of figures and assumptions out
"""
