"""A graph that computes: a torch module whose weights are slices of the prototype's.

module             Network, `build`, and reading and writing a network's folder
torch_operators    what each operator of the vocabulary computes
apart              whether an image is answered alone as among others
ties               one tensor under several names
compute            device, precision, memory layout and compilation, decided once
"""
