#include "cpu/csr_linear/tiled.h"

SECATEUR_REGISTER(tiled_rank, tiled_scratch, tiled_run<CsrBlocks>);
