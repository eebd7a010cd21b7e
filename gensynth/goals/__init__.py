"""What is asked of a network, and what has been shown of it.

metrics         everything that can be asked of a network, by name
score           what a task measured of a network, and how sure one may be of it
difference      how far two scores of the same images are apart
recall          the smallest of the classes' recalls, as a score
requirements    "top1 >= 89%", "macs <= 20M": readable inequalities; `units` of their numbers
relative        "macs <= 50%", "top1 >= prototype - 1": the limits that they come to in a search
budgets         "macs <= 2M, 4M": several limits on one cost
utility         U: NetScore, information density, or the user's own arithmetic
devices         which devices a run asks of, and for what
exact           what a graph costs exactly, and the limit on its peak of activations
intervals       confidence bounds of proportions; `student`: of the mean of a few windows
figure          what is known of a network on a device: measured or estimated, with intervals
device_costs    which of its metrics a search sums, and what follows from the sums
readings        figures that are read, from a bench's record or a document
verdicts        what evidence says about a requirement: satisfied, violated, unknown
certificate     what counts on the test split show of a network
ledger          the record of every look at a test split
card            what is claimed of a network, and of which files
hub_card        the same in the form of a model hub, for people
card_form       what a card must say when it is read
"""
