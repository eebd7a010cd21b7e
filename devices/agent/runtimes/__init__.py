"""What runs a network.

runtimes          which there are, each opened in a process of its own
installed         which versions are there, without importing them
networks          a network as it was sent, and what a runtime makes of it
onnx_file         what an ONNX file says of itself; `onnx_precision` what it computes in
onnxruntime_      ONNX Runtime on the processor
tensorrt_         TensorRT in this process: `tensorrt_api` its versions behind one face,
`tensorrt_layers` which stay in FP32, `tensorrt_engine` an engine, `tensorrt_log` what it writes
trtexec           NVIDIA's program, where TensorRT has no Python package; `trtexec_call` its calls
cuda_memory       memory of a device; `cuda_runtime` libcudart by ctypes
engines           engines kept on the board; `kernel_times` what a profile says of kernels
"""
