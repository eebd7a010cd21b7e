"""What a network would take on a device where it was not measured: kernels, not networks.

kernels      what a runtime makes of a network, and what each kernel must compute and move
  onnxruntime_plan   an ONNX file's on a processor, by rule
  fusion         its nodes once what belongs together is one
  convolutions   which layout a convolution has, and its work
profile      which kernel each entry of a runtime's own profile is    profiled    for a record
sample       a network that was measured
  calibration    every one in the store, of one context
estimator    milliseconds of networks from those that were measured, with intervals
  prior          the roofline of a machine            columns     many kernels as arrays
  regression     how kernels depart from it
  model          networks from kernels                conformal   intervals
processor    ONNX Runtime on a processor, for a search
table        an estimator as a cost model of a space
  pieces         what stands for a convolution        reach       which channels a vertex can have
boards       kinds of boards with TensorRT, attached or not
calibrated   a device with what the store holds of it
answer       files and a device in, a record of figures and assumptions out
"""
