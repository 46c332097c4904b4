#include "cpu/csr_linear/row.h"

SECATEUR_REGISTER_ANY_TYPE(row_rank, row_scratch, row_run<CsrRowBlocks>);
