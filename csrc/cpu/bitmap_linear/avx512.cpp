#include "cpu/bitmap_linear/blocks.h"

SECATEUR_REGISTER_ANY_TYPE(few_rank, few_scratch, few_run<BitmapBlocks>);
