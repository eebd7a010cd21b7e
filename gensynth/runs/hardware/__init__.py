"""The devices of a run, in its loop: measured between trainings, estimated everywhere else.

hardware     all of a run's devices: cost models and limits for the search, figures of a network
board        one device: what was measured there, and the estimates that follow
measuring    the bench asked for some networks in turns with the prototype; faults never poison
documents    what was measured as JSON values of the journal
opening      from a run file to its devices; their costs as files
turns        when they are measured
first        the diverse networks that are measured before the first cycle
worth        which of a generator's networks are worth measuring after a cycle
"""
