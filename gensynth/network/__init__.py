"""A graph that computes: a torch module whose weights are slices of the prototype's.

module             Network, and `build`
files              a network's folder, written and read
shapes             whether a graph computes the shapes that it says
torch_operators    what each operator of the vocabulary computes
apart              whether an image is answered alone as among others
outputs            one answer or several maps, treated alike
ties               one tensor under several names
compute            device, precision, memory layout and compilation, decided once
"""
