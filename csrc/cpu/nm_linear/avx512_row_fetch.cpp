#include "cpu/nm_linear/row.h"

SECATEUR_REGISTER_ANY_TYPE(row_rank, row_scratch, row_run<NmRowBlocks>);
