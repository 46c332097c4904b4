"""2:4 in torch's order: the matrix product of many rows, float16 and bfloat16."""

from __future__ import annotations

from secateur.backends import roofline
from secateur.backends.candidates import HALVES, Candidate, add
from secateur.backends.cuda import _semi

add(
    Candidate(
        "semi_product",
        "semi",
        HALVES,
        predict=roofline.semi_product,
        run=_semi.runner("semi", "torch24"),
        missing=_semi.missing("torch24"),
    )
)
