#include "cpu/nm_linear/row_lookup.h"

SECATEUR_REGISTER(nm_lookup_rank, row_scratch, row_run<NmLookupBlocks>);
