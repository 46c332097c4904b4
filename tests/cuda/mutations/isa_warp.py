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
    Mutation("a shuffle down ends early", "lane + b >= kWarp ?", "lane + b >= kWarp - 1 ?", MODEL),
    Mutation("syncwarp orders nothing", "order(*self().block, threads, threads);", "", MODEL),
]
