"""Machines that networks run on.

local    facts about this one, to stand beside whatever was measured on it
"""
