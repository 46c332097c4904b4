#include "cpu/nm_regroup/regroup.h"

SECATEUR_REGISTER(regroup_rank, regroup_scratch, regroup_run);
