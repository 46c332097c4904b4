#include "cpu/csr_linear/tiled.h"
#include "cpu/mlp/fused.h"

SECATEUR_REGISTER(mlp_rank, mlp_scratch, mlp_run<CsrBlocks>);
