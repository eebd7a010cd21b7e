"""Weights: inherited from the prototype, fitted, distilled; and what they then get right.

fit                   training, alone or by distillation; a recipe; a teacher
evaluator             what a graph is worth: inherit, distil, count
pretrain              training a prototype from nothing
substitute_weights    weights of what stands for a convolution, by least squares
patch_moments         the second moments of what convolutions read
"""
