"""Weights: inherited from the prototype, fitted, distilled; and what they then get right.

fit                   training, alone or by distillation; a recipe; a teacher
learning_rate         the rate that suits a network, found by a range test
checkpoint            where a training is, to be taken up again
evaluator             what a graph is worth: inherit, distil, count
beginning             at which rate and from which weights a training from nothing begins
pretrain              training a prototype from nothing
substitute_weights    weights of what stands for a convolution, by least squares
patch_moments         the second moments of what convolutions read
"""
