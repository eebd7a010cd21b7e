"""What a network would take on a device where it was not measured: kernels, not networks.

kernels      what a runtime makes of a network, and what each kernel must compute and move
  columns        many kernels of one kind as arrays, and their features
onnxruntime_plan   an ONNX file's kernels on a processor
  fusion         its nodes once what belongs together is one
  convolutions   which layout a convolution has, and its work
profile      which kernel each entry of a runtime's own profile is
sample       a network that was measured
  calibration    every one in the store, of one context
estimator    milliseconds of networks, with intervals
  prior          the roofline
  regression     how kernels depart from it
  model          networks from kernels
  conformal      intervals
tensorrt_board   a board with TensorRT, for a search
processor    a processor with ONNX Runtime, for a search: figures and tables
  average_power  joules from milliseconds
table        an estimator as a cost model of a space
  pieces         what stands for a convolution
  reach          which channels a vertex can have
tensorrt_plan   TensorRT's, by its documented fusions        tensorrt_nodes   of what
board        a kind of board that is not attached: latency and energy with intervals
  boards       the kinds of which figures are known, with their sources
  roofline     how long kernels take        energy    what a run draws
  beliefs      quantities that are not known exactly, and what measurements teach of them
answer       files and a device in, a record of figures and assumptions out
"""
