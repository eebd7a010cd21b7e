"""Everything that comes from outside, altered at random: nothing may end in a traceback.

    python -m tests.fuzz --seconds 60 [--door graph] [--first 0]

mutations    what a fault or a stranger makes of good input
doors        where things come in: a name, and what opens it with an altered input
user_doors   those of what users bring: tables, checkpoints, settings, ONNX files of others
data_doors   those of data sets with boxes or masks, and of what a run keeps of its devices
onnx_doors   those that read ONNX files and artefacts
agent_doors  those of the board's agent, and of a board's answers
"""
