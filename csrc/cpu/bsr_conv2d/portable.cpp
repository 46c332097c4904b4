#include "cpu/bsr_linear/tiled.h"
#include "cpu/conv/conv.h"

SECATEUR_REGISTER(conv_rank, tiled_scratch, conv_run<BsrBlocks>);
