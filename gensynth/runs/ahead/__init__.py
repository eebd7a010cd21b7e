"""What a run says of itself before it begins.

reach       what it can reach, exactly
forecast    how long it will take, from a short measurement
"""
