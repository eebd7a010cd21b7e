"""What may change in a prototype, and what each choice costs exactly.

prototype ──> coupling ──> Space ──> Points ──> Selection

prototype          the user's module, its weights, its graph
channels           an id for every channel; which ids are one
coupling           groups of channels that live and die together; blocks that can go whole
blocks             residual branches
substitutes        what may stand for a dense convolution, as graphs
placement          a substitute in the place of a convolution
resolution         the input resized, for the network as a whole
operator_choices   where which substitute may stand, and what it costs there
savings            what a move saves of every cost
cost_model         what a cost is: names, and every vertex from the channels it reads and writes
bilinear_cost      exact parameters and MACs, as coefficients of neighbouring widths
points             many networks as arrays
space              Space: their costs, and what the next moves save
ladder             widths that are worth having where costs are staircases
width_step         how many channels a width changes by at a time
inspection         what can be changed in a network, for people
"""
