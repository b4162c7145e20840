"""A Hub on this machine for the tests: the HTTP protocol of huggingface.co as its clients speak it.

messages, accounts, repositories, xet    what requests, tokens, repositories and chunks are
state, routing                           all that one Hub knows, which function answers what
reading, writing, transfers, spaces      the answers
cards, space_record                      what the Hub reads in a README, what runs a Space
faults, server, hub                      failures on demand, HTTP, the class that tests use
"""

from loopback_hub.accounts import User
from loopback_hub.hub import ALICE, BOB, READER, SCOPED, USERS, LoopbackHub

__all__ = ["ALICE", "BOB", "READER", "SCOPED", "USERS", "LoopbackHub", "User"]
