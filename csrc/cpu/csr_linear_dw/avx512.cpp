#include "cpu/csr_linear_dw/walk.h"

SECATEUR_REGISTER(dw_rank, dw_scratch, dw_run<CsrWalk>);
