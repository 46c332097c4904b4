"""Faults of the models of shuffles and votes."""

from tests.support.cuda.mutate import Mutation

MODEL = "emu/warp.cpp"

MUTATIONS = [
    Mutation(
        "a shuffle up goes round",
        "return lane < b ? lane : lane - b;",
        "return (lane - b) & (kWarp - 1);",
        MODEL,
    ),
    Mutation("an offset of all bits", "operand & (kWarp - 1);", "operand % 64;", MODEL),
    Mutation("syncwarp orders nothing", "order(*self().block, threads, threads);", "", MODEL),
]
