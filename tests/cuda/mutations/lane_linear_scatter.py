"""Faults of lane_linear_scatter."""

from tests.support.cuda.mutate import Mutation

SCRATCH = "lane_linear/scratch.cuh"

MUTATIONS = [
    Mutation("the dense tile is not cleared", "      dense_.clear();\n", ""),
    Mutation(
        "cleared while another lane still reads",
        "const {\n    ptx::syncwarp();\n",
        "const {\n",
        SCRATCH,
    ),
    Mutation(
        "stores while another lane still clears",
        "{0, 0, 0, 0});\n    ptx::syncwarp();\n",
        "{0, 0, 0, 0});\n",
        SCRATCH,
    ),
    Mutation(
        "values one too late",
        "end = end + -1;\n        dense_.put(place, ptx::load(end));",
        "dense_.put(place, ptx::load(end));\n        end = end + -1;",
    ),
    Mutation("halves of a word swapped", "place * 66 & 0x782", "(place * 66 ^ 2) & 0x782", SCRATCH),
    Mutation("words of other lanes", "place * 66 & 0x782", "place * 2", SCRATCH),
    Mutation(
        "the second tile is never expanded", "if (pair % 2 == 0) expand", "if (pair == 0) expand"
    ),
    Mutation("half of the tile is cleared", "i < kBytes / 512", "i < kBytes / 1024", SCRATCH),
    Mutation("fragments in the wrong order", "pair % 2 * 8 + i", "(1 - pair % 2) * 8 + i"),
]
