"""Faults of the model of ldmatrix."""

from tests.support.cuda.mutate import Mutation

MUTATIONS = [
    Mutation(
        "straight and transposed swapped",
        "const int i = transposed ? 2 * t + h : g, j = transposed ? g : 2 * t + h;",
        "const int i = transposed ? g : 2 * t + h, j = transposed ? 2 * t + h : g;",
        "emu/matrix.cpp",
    ),
]
