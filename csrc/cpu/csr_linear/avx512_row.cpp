#include "cpu/csr_linear/row_lookup.h"

SECATEUR_REGISTER(row_rank, row_scratch, row_run<CsrLookupBlocks>);
