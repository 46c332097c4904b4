"""Faults of the model of barriers."""

from tests.support.cuda.mutate import Mutation

MODEL = "emu/meeting.cpp"

MUTATIONS = [
    Mutation(
        "a named barrier opens one thread early",
        "barrier.arrived >= barrier.expected;",
        "barrier.arrived >= barrier.expected - 1;",
        MODEL,
    ),
    Mutation(
        "who only arrives shows nothing",
        "barrier.members.push_back(me.index);",
        "if (waits) barrier.members.push_back(me.index);",
        MODEL,
    ),
]
