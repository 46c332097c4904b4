#include "bind/linear.h"

SECATEUR_BIND_LINEAR(sell)
