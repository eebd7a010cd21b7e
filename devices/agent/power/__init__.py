"""What the board draws.

meter           what a source of energy figures is; `meters` which one this machine has
rails           INA3221 monitors of Jetsons; `module_power` all of a module from its rails
jtop_           the same through jetson-stats, where rails are for root alone
nvml            NVIDIA graphics cards
rapl            x86 processors
raspberry       the Raspberry Pi 5
sampler         readings at random moments, by a process of its own
examination     a sensor's self-test
"""
