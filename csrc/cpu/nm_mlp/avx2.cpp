#include "cpu/mlp/fused.h"
#include "cpu/nm_linear/tiled.h"

SECATEUR_REGISTER(mlp_rank, mlp_scratch, mlp_run<NmBlocks>);
