#include "cpu/conv/conv.h"
#include "cpu/nm_linear/tiled.h"

SECATEUR_REGISTER_ANY_TYPE(conv_rank, tiled_scratch, conv_run<NmBlocks>);
