#include "cpu/bsr_linear/tiled.h"

SECATEUR_REGISTER(tiled_rank, tiled_scratch, tiled_run<BsrBlocks>);
