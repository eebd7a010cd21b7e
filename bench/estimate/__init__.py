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
processor    a processor with ONNX Runtime, for a search: figures and tables
  average_power  joules from milliseconds
table        an estimator as a cost model of a space
  pieces         what stands for a convolution
  reach          which channels a vertex can have
"""
