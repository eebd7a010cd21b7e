"""What runs on a board: Python 3.6 grammar, its standard library, and nothing of ours outside.

    wire        what passes between host and board, and where the board keeps it
    power       what the board draws, by whatever tells it
    board       what the board is, how warm, how fast its clocks
    runtimes    what runs a network: TensorRT, trtexec, ONNX Runtime
    measuring   one job's measuring: latency by turns, energy by windows
    session     the file's entry; one session with a host, one job at a time

The rooms stand in the order of their imports; the lower never imports the higher. The host imports
some of it too; all of it runs from a zip file on the board, in which `gensynth` and
`gensynth.devices` are empty packages.
"""
