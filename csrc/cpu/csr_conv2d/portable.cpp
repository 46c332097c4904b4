#include "cpu/conv/conv.h"
#include "cpu/csr_linear/tiled.h"

SECATEUR_REGISTER_ANY_TYPE(conv_rank, tiled_scratch, conv_run<CsrBlocks>);
