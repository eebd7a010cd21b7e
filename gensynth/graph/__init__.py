"""A network as plain data: readable, costed and kept without torch.

graph   Vertex, Graph, Selection: the vocabulary, and the JSON that says a network whole
form    what that JSON must say, operator by operator, and how large it may be
cost    parameters and MACs of every vertex, counted exactly
activations    how many are alive at once, counted exactly
files   the names of the files that a network is kept in
"""
