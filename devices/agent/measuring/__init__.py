"""One job's measuring.

work       a job with one runtime, in a process of its own
windows    energy: an idle window, then windows of whole runs
"""
