"""Faults of the 2:4 convolutions."""

from tests.support.cuda.mutate import Mutation

_PIXELS, _GROUPS = "nm_conv2d/pixels.cuh", "nm_conv2d/groups.cuh"
_HOST = "nm_conv2d/product.cuh"

# One that splits; a fault compiles it anew.
BUILT = ["nm_conv2d_sm80_64x64"]
MUTATIONS = [
    Mutation("padding is read", "(inside_[i] & tap) == tap", "true", _PIXELS),
    Mutation("the right edge wraps around", "first < size", "first <= size", _PIXELS),
    Mutation("pixels behind the last are read", "row < args_.rows ?", "true ?", _PIXELS),
    Mutation(
        "taps behind the last are read",
        "1U << (kTapBits + down_) : ~0U",
        "1U << (kTapBits + down_) : 0U",
        _PIXELS,
    ),
    Mutation(
        "a dilation of the other direction",
        "right_ * args_.dilation_width;",
        "right_ * args_.dilation_height;",
        _PIXELS,
    ),
    Mutation(
        "a stride of the other direction",
        "args_.out_width * args_.stride_width",
        "args_.out_width * args_.stride_height",
        _PIXELS,
    ),
    Mutation(
        "padding of the other side",
        "args_.stride_width - args_.pad_left",
        "args_.stride_width - args_.pad_top",
        _PIXELS,
    ),
    Mutation(
        "one tap a step",
        "while (channel_ >= args_.channels)",
        "if (channel_ >= args_.channels)",
        _PIXELS,
    ),
    Mutation(
        "a step too late in the next tap",
        "if (channel_ < args_.channels) return;",
        "if (channel_ <= args_.channels) return;",
        _PIXELS,
    ),
    Mutation(
        "a part starts at the first tap",
        "const int k = first_step * S::kIn +",
        "const int k =",
        _PIXELS,
    ),
    Mutation(
        "no swizzle",
        "swizzle<Tile::kStepBytes>(row + i * Chunks::kRowsAtOnce, chunk)",
        "((row + i * Chunks::kRowsAtOnce) * Tile::kStepBytes + chunk * kChunkBytes)",
        _PIXELS,
    ),
    Mutation(
        "every group has the first one's weight",
        "out0 + ptx::block_index().z * args.group_rows",
        "out0",
        _GROUPS,
    ),
    Mutation("every group has the first one's channels", "args.x.x += z * channels;", "", _GROUPS),
    Mutation("every group has the first one's bias", "args.result.bias += first;", ";", _GROUPS),
    Mutation("the residual is added last", "args.residual_first != 0}", "false}", _HOST),
    Mutation(
        "groups off 16 bytes are stored whole", "(args.groups == 1 || out % 8 == 0)", "true", _HOST
    ),
]
