"""What a network would take on a device where it was not measured: kernels, not networks.

kernels      what a runtime makes of a network, and what each kernel must compute and move
  onnxruntime_plan   an ONNX file's on a processor, by rule         tensorrt_plan   TensorRT's
  fusion         its nodes once what belongs together is one       tensorrt_nodes   of what
  convolutions   which layout a convolution has, and its work
profile      which kernel each entry of a runtime's own profile is    profiled    for a record
sample       a network that was measured
  calibration    every one in the store, of one context
estimator    milliseconds of networks from those that were measured, with intervals
  prior          the roofline of a machine            columns     many kernels as arrays
  regression     how kernels depart from it
  model          networks from kernels                conformal   intervals
processor    ONNX Runtime on a processor, for a search
tensorrt_board   a board with TensorRT, for a search
table        an estimator as a cost model of a space
  pieces         what stands for a convolution        reach       which channels a vertex can have
board        a kind of board that is not attached: latency and energy with intervals
  boards       the kinds of which figures are known, with their sources
  roofline     how long kernels take        energy    what a run draws
  beliefs      quantities that are not known exactly, and what measurements teach of them
calibrated   a device with what the store holds of it
answer       files and a device in, a record of figures and assumptions out
"""
