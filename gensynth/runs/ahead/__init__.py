"""What a run says of what it can reach, and of its time.

reach       what it can reach, exactly
forecast    how long it will take, from a short measurement
stopwatch   how long it has taken, by phase
"""
