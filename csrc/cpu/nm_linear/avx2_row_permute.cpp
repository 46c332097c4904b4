#include "cpu/nm_linear/row_permute.h"

SECATEUR_REGISTER(nm_permute_rank, row_scratch, row_run<NmPermuteBlocks>);
