"""Machines that networks run on.

registry    the devices a user has named; `local` is always there
hostkeys    a machine's host key at the first contact
profiles    boards that are known before they answer
run_device  what a run's devices are, and what they can be asked for
check       what works on a device, and how to mend what does not
client      a conversation with a device's agent: run this, give me that
sessions    conversations that last as long as a search
protocol    every message of it
answers     what a board may say in one; `board_form` is what it may say of itself
link, ssh   the way there: the user's own ssh, or a process on this machine
way         what the user's ssh configuration puts in between, and which keys it has
package     the agent as one file, sent where it is not there yet
local       facts about this machine, to stand beside whatever was measured on it

What runs on the machine itself is `agent`.
"""
