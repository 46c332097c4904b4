#include "cpu/nm_linear/tiled.h"

SECATEUR_REGISTER_ANY_TYPE(tiled_rank, tiled_scratch, tiled_run<NmBlocks>);
