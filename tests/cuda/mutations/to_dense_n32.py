"""Faults of to_dense_n32."""

from tests.support.cuda.mutate import Mutation

MUTATIONS = [
    Mutation("halves of a word swapped", "two >> 16 * half", "two >> 16 * (1 - half)"),
    Mutation("the second group in the first one's rows", "lane / 4 + group * 8", "lane / 4"),
    Mutation("a lane's columns", "lane % 4 * 32", "lane % 4 * 16"),
    Mutation("masks of the first tile", "tile * 64 + group * 32", "group * 32"),
    Mutation("the tile is not cleared", "  dense.clear();\n", ""),
]
