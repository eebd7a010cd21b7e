"""From a run file to a folder of certified networks, and back.

prepare, plan, obtain_prototype    a run made ready before anything is written
objects                            a prototype and data given as Python objects
run, learning                      synth and resume, cycle by cycle
inputs, changes                    what a run began with, and what may change after it has
folder, lock, journal, state_files what a run keeps while it goes on
trust                              whether the code that a folder names may run
finalists, full_distillation       the networks that a run ends with
publish, cards                     certified, exported, timed, described
certification                      the same for a network that was trained further
forms                              what a run's documents must say when they are read
result                             a finished run read back
family, family_training            more networks from a learned generator
budgets                            the best of them within each of several limits
networks, artefacts                a run's networks for export
load, preprocess                   for one's own code, with what makes images its input
ahead                              what it can reach, how long it will take, and has taken
"""
