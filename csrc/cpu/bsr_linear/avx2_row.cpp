#include "cpu/bsr_linear/row.h"

SECATEUR_REGISTER(row_rank, row_scratch, row_run<BsrRowBlocks>);
