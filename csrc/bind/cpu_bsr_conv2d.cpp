#include "bind/conv.h"

SECATEUR_BIND_CONV2D(bsr)
