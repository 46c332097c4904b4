#include "bind/dw.h"

SECATEUR_BIND_DW(nm)
