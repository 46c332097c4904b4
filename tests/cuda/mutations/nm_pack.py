"""Faults of the nm_pack kernels."""

from tests.support.cuda.mutate import Mutation

_GROUP, _SOURCE = "nm_pack/group.cuh", "nm_pack/source.cuh"
_TORCH, _FRAGMENT = "nm_pack/torch24.cu", "nm_pack/fragment24.cu"

BUILT = ["nm_pack_torch24", "nm_pack_fragment24"]
MUTATIONS = [
    Mutation(
        "of equal magnitudes the last wins",
        "static_cast<std::uint32_t>(3 - j)",
        "static_cast<std::uint32_t>(j)",
        _GROUP,
    ),
    Mutation(
        "the second is looked for among the winners alone",
        "higher(lower(a, b), higher(lower(key[0], key[1]), lower(key[2], key[3])))",
        "lower(a, b)",
        _GROUP,
    ),
    Mutation("the sign counts", "bits & Bits<T>::kNotSign;", "bits;", _GROUP),
    Mutation("-0.0 is no zero", "kAll : kAll >> 1;", "kAll : kAll;", _GROUP),
    Mutation("a third of four is dropped unsaid", "faults |= kFaultMoreThanTwo;", ";", _GROUP),
    Mutation("NaN is ranked unsaid", "faults |= kFaultNan;", ";", _GROUP),
    Mutation(
        "a lone first is padded by another place",
        "0x498E'4DCE'498E'498E",
        "0x498E'4DCE'498E'494E",
        _GROUP,
    ),
    Mutation("what is not kept is stored", "(kept >> second & 1U) != 0 ?", "true ?", _GROUP),
    Mutation("reads behind a row", "if (column + i < columns)", "if (true)", _GROUP),
    Mutation(
        "reads rows behind the last", "row < source.out ? source.in : 0", "source.in", _SOURCE
    ),
    Mutation(
        "rows are found by 32 bits",
        "row * source.weight_stride",
        "static_cast<int>(row * source.weight_stride)",
        _SOURCE,
    ),
    Mutation(
        "tiles are counted in 32 bits",
        "tiles_of<ptx::f16>(args) >=",
        "(int)tiles_of<ptx::f16>(args) >=",
        _SOURCE,
    ),
    Mutation("unaligned rows are read whole", "if (aligned && column", "if (column", _GROUP),
    Mutation(
        "halves of a metadata word swapped",
        "nibbles[0] | nibbles[1] << 16",
        "nibbles[1] | nibbles[0] << 16",
        _TORCH,
    ),
    Mutation(
        "metadata of int8 unshuffled",
        "nibbles[2 * s + 1] << shift, 1)",
        "nibbles[2 * s + 1] << shift, 2)",
        _TORCH,
    ),
    Mutation(
        "registers of a lane swapped",
        "registers[r] |= std::uint32_t{group.pair}",
        "registers[r ^ 1] |= std::uint32_t{group.pair}",
        _FRAGMENT,
    ),
    Mutation(
        "metadata of the wrong half", "joined(c, d, 1), 2);", "joined(c, d, 1), 1);", _FRAGMENT
    ),
    Mutation(
        "metadata of int8 halves swapped", "words[s] = of_quad", "words[1 - s] = of_quad", _FRAGMENT
    ),
]
