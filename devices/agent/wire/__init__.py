"""What passes between host and board, where the board keeps it, and small things all rooms use.

bootstrap    what runs first, sent alone as source: gets the agent's file, and becomes it
frames       the bytes of a message; `channel` messages over two descriptors, with time limits
spec         what a job may ask for
status       every outcome, and the exception that carries one
spool        the folder on the board: blobs, engines, results, the journal
upload       a blob that arrives in parts
tensors      tensors as named bytes
timing       several things timed in turns
processes    who a process is
sysfs        small files of the kernel
"""
