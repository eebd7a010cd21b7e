"""What runs on a board: Python 3.6 grammar, its standard library, and nothing of ours outside.

    main      the file's entry: one role a process (`serve`, `work`, `survey`, `sample`)
    serve     one session with a host: hello, blobs, one job, its lease
    spool     the folder on the board: blobs, engines, results, the journal, the lock
    child     a process for one piece of work: frames over its pipes, limits, its end
    channel   frames over two descriptors, with time limits
    frames    the bytes of a message
    status    every outcome, and the exception that carries one

The host imports `frames` and `status` too; the rest runs from a zip file on the board, in which
`gensynth` and `gensynth.devices` are empty packages.
"""
