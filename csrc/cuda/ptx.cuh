// The only header a kernel includes for what a GPU can do. A kernel's file is compiled twice: by
// nvcc, where these calls are inline PTX (ptx/), and by a C++ compiler, where they are models that
// also watch and count (emu/). Both sides have a file for each topic, of the same name.
#pragma once

#include "cuda/ptx/types.cuh"

#if defined(__CUDACC__)
#include "cuda/ptx/async.cuh"
#include "cuda/ptx/atomic.cuh"
#include "cuda/ptx/bits.cuh"
#include "cuda/ptx/convert.cuh"
#include "cuda/ptx/index.cuh"
#include "cuda/ptx/launch.cuh"
#include "cuda/ptx/math.cuh"
#include "cuda/ptx/matrix.cuh"
#include "cuda/ptx/memory.cuh"
#include "cuda/ptx/mma.cuh"
#include "cuda/ptx/warp.cuh"
#else
#include "cuda/emu/async.cuh"
#include "cuda/emu/atomic.cuh"
#include "cuda/emu/bits.cuh"
#include "cuda/emu/convert.cuh"
#include "cuda/emu/index.cuh"
#include "cuda/emu/launch.cuh"
#include "cuda/emu/math.cuh"
#include "cuda/emu/matrix.cuh"
#include "cuda/emu/memory.cuh"
#include "cuda/emu/mma.cuh"
#include "cuda/emu/warp.cuh"
#endif
