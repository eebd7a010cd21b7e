"""A network as plain data: readable, costed and kept without torch.

graph   Vertex, Graph, Selection: the vocabulary, and the JSON that says a network whole
cost    parameters and MACs of every vertex, counted exactly
files   the names of the files that a network is kept in
"""
