"""What a network would take on a device where it was not measured: kernels, not networks.

kernels      what a runtime makes of a network, and what each kernel must compute and move
  tensorrt_plan   TensorRT's, by its documented fusions
"""
