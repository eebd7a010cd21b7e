"""Section 2 of the paper: a generator and an inquisitor that learn from each other's work.

theta          theta_G, and where it begins
generator      G(s; theta_G): a seed -> a network that meets every limit on cost
gains          what channels and blocks earn, by theta and a seed
descent        the moves of all networks of a batch, from the prototype downward
importance     what responses teach of channels, blocks and substitutes
features       a network's shape, cost and lack of information as regressors
regression     Bayesian linear regression with exact uncertainty
inquisitor     I(G; theta_I): what was observed, and what it predicts
acquisition    which seed a cycle takes
evolution      Delta theta_G: the step that the predictions make the generator take
cycle          settings, state and record of a cycle
synthesis      the cycles
"""
