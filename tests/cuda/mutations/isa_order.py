"""Faults of isa_order: what one block writes and another reads."""

from tests.support.cuda.mutate import Mutation

FLAG = "if (ptx::thread() == 0) ptx::atomic_exch(to.flag, 1);"

MUTATIONS = [
    Mutation(
        "no fence between the words and the counter",
        "thread_of_all(), word);\n  ptx::fence();",
        "thread_of_all(), word);",
    ),
    Mutation(
        "a fence that reaches the block alone",
        "thread_of_all(), word);\n  ptx::fence();",
        "thread_of_all(), word);\n  ptx::fence_block();",
    ),
    Mutation(
        "no barrier before the release", "if (release) {\n    ptx::barrier();", "if (release) {"
    ),
    Mutation("a plain store for the release", "store_release(to.flag, 1)", "store(to.flag, 1)"),
    Mutation(
        "a fence behind the flag that it belongs before",
        f"ptx::fence();\n    ptx::barrier();\n    {FLAG}",
        f"ptx::barrier();\n    {FLAG}\n    ptx::fence();",
    ),
    Mutation(
        "no fence behind the flag that was found",
        "continue;\n      ptx::fence();",
        "continue;",
    ),
    Mutation(
        "does not wait for the flag",
        "while (ptx::load_acquire(from.flag) == 0) continue;",
        "ptx::load_acquire(from.flag);",
    ),
    Mutation("every block thinks that it is the last", "if (ptx::load(flag) == 0) return;", ""),
]
