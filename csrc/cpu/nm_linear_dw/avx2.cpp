#include "cpu/nm_linear_dw/walk.h"

SECATEUR_REGISTER(dw_rank, dw_scratch, dw_run<NmWalk>);
