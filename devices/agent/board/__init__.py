"""What the board is, and how fast it runs just now.

board         facts that a figure must carry
clocks        power mode and clocks, changed for one job and put back
nvpmodel      Jetson's own tools for them
speeds        of processor, graphics unit and memory
heat          temperatures, fans, alarms
others        processors for a job, and what others use of them
kernel_log    what the kernel says of memory that ran out
"""
