"""2:4 in fragment order: one weight for the decode kernel and for the product of many rows."""

from __future__ import annotations

from secateur.backends import roofline
from secateur.backends.candidates import HALVES, Candidate, add
from secateur.backends.cuda import _semi

MOST_DECODED = 16  # rows of x: two tiles of eight

add(
    Candidate(
        "semi_frag_decode",
        "semi_frag",
        HALVES,
        predict=roofline.semi_decode,
        run=_semi.runner("semi_frag", "fragment24", "decode"),
        rows=(0, MOST_DECODED),
        missing=_semi.missing("fragment24", "decode"),
    )
)
add(
    Candidate(
        "semi_frag_product",
        "semi_frag",
        HALVES,
        predict=roofline.semi_product,
        run=_semi.runner("semi_frag", "fragment24"),
        missing=_semi.missing("fragment24"),
    )
)
