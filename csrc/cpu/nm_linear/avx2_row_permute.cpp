#include "cpu/nm_linear/row_permute.h"

SECATEUR_REGISTER_ANY_TYPE(nm_permute_rank, row_scratch, row_run<NmPermuteBlocks>);
