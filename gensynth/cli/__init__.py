"""The command `gensynth`: a command parses, calls one function, and prints what it returns.

program       what all commands have in common: -h, -q, -v, refusals as one line
form          a result as the table, as JSON or as CSV
app           the program's short commands
init          init
template      the run file that init writes
synth         synth and its options
generate      generate and its options
answers       val and predict
foreign       export, of files of others
certify       certify and train, one network
bench         bench and its options
devices       devices add, check, list, remove
exit_codes    what is wrong with the input as one line and exit code 2, a signal, a verdict
"""
