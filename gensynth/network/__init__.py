"""A graph that computes: a torch module whose weights are slices of the prototype's.

module             Network, and `build`
files              a network's folder, written and read
shapes             whether a graph computes the shapes that it says
layers             the layer of torch.nn that computes an operator
torch_operators    what the operators compute that are no layers
places             where they stand in the module, and under which names
apart              whether an image is answered alone as among others
outputs            one answer or several maps, treated alike
ties               one tensor under several names
compute            device, precision, memory layout and compilation, decided once
"""
