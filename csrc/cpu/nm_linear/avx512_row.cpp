#include "cpu/nm_linear/row_lookup.h"

SECATEUR_REGISTER_ANY_TYPE(nm_lookup_rank, nm_lookup_scratch, few_run<NmLookupBlocks>);
