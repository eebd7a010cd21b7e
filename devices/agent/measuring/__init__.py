"""One job's measuring.

work       a job with one runtime, in a process of its own
reference  a network that is always the same, timed in turns with the job's
windows    energy: an idle window, then windows of whole runs
"""
