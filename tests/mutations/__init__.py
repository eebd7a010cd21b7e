"""Does a test notice? Faults are put into the code one at a time, and its tests are run.

    python -m tests.mutations [--list] [--open] [--only WORDS] [NUMBER...]

mutations.toml  the faults: what is then claimed, where, what stands there, what is put in its
                place, and the tests that should fail
result.json     what became of each when it was last tried

A fault that no test notices is a claim that nobody made: it wants a test of that claim, not of the
line that was altered.
"""
