#include "bind/mlp.h"

SECATEUR_BIND_MLP(nm)
