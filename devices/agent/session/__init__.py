"""One session with a host.

main      the file's entry: one role a process (`serve`, `work`, `survey`, `sample`)
serve     hello, blobs, one job at a time
job       from the request to the stored result
child     a process for one piece of work, and its guard
compiled  the agent's file, compiled once for the Python that is there
lease     how long a job may go on
lock      one job a board, and who holds it
claim     the same among the users of a board
"""
