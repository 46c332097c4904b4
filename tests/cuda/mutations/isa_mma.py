"""Faults of the models of tensor cores."""

from tests.support.cuda.mutate import Mutation

MODEL = "emu/mma.cpp"

MUTATIONS = [
    Mutation(
        "registers of a go down the columns first",
        "8 * (r % 2), column = w * (lane % 4) + i + 4 * w * (r / 2)",
        "8 * (r / 2), column = w * (lane % 4) + i + 4 * w * (r % 2)",
        MODEL,
    ),
    Mutation(
        "metadata of int8 by columns first",
        "4 * g + half + 2 * (chunk / 8)",
        "4 * g + 2 * half + chunk / 8",
        MODEL,
    ),
    Mutation("tf32 reads a whole float", "(word & 0xffffe000U)", "(word)", MODEL),
    Mutation("the sum begins at zero", "static_cast<float>(d + ", "static_cast<float>(", MODEL),
    Mutation("any metadata is legal", "if (first >= second) bad", "if (false) bad", MODEL),
]
