"""The command `gensynth`: a command parses, calls one function, and prints what it returns.

app           the program, and its short commands
synth         synth and its options
certify       certify, one network
bench         bench and its options
devices       devices add, check, list, remove
exit_codes    what is wrong with the input as one line and exit code 2, a signal, a verdict
"""
