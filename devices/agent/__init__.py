"""What runs on a board: Python 3.6 grammar, its standard library, and nothing of ours outside.

    bootstrap   what runs first: gets this file onto the board, and becomes it
    main        the file's entry: one role a process (`serve`, `work`, `survey`, `sample`)
    serve       one session with a host: hello, blobs, one job at a time
    job         a job from the request to the stored result; its lease and its limits
    work        the measuring itself, in a child: latency by `timing`, energy by `windows`
    runtimes    what runs a network: `tensorrt_`, `trtexec`, `onnxruntime_`
    spool       the folder on the board: blobs, engines, results, the journal
    lock        one job a board, and who holds it
    child       a process for one piece of work, and its guard
    channel     frames over two descriptors, with time limits
    frames      the bytes of a message
    spec        what a job may ask for
    status      every outcome, and the exception that carries one
    board       facts about the board; `meters` its power, `clocks` its speed

The host imports some of it too; all of it runs from a zip file on the board, in which
`gensynth` and `gensynth.devices` are empty packages.
"""
