"""Faults of the model of cp.async."""

from tests.support.cuda.mutate import Mutation

MODEL = "emu/async.cpp"

MUTATIONS = [
    Mutation(
        "a short copy leaves what was there",
        "std::memset(to, 0, static_cast<std::size_t>(copy.bytes));",
        "",
        MODEL,
    ),
    Mutation("a wait leaves one group more", "> pending)", "> pending + 1)", MODEL),
]
