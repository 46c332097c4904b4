# The second library, for machines whose torch has CUDA: _C would not load there without it, nor it
# here. Every csrc/cuda/<op>/*.cu is a kernel file; their bindings are csrc/bind/cuda_*.cpp.

file(GLOB cuda_sources CONFIGURE_DEPENDS csrc/cuda/*/*.cu)
if(NOT cuda_sources)
  return()
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(STATUS "secateur: no nvcc found; building without CUDA kernels")
  return()
endif()
set(CMAKE_CUDA_ARCHITECTURES 80-virtual CACHE STRING "GPU architectures")
enable_language(CUDA)
file(GLOB cuda_bindings CONFIGURE_DEPENDS csrc/bind/cuda_*.cpp)
add_library(_C_cuda MODULE ${cuda_sources} ${cuda_bindings})
target_include_directories(_C_cuda PRIVATE csrc)
target_include_directories(_C_cuda SYSTEM PRIVATE ${SECATEUR_TORCH_INCLUDES})
target_compile_definitions(_C_cuda PRIVATE TORCH_TARGET_VERSION=0x020a000000000000 USE_CUDA)
target_link_libraries(_C_cuda PRIVATE ${SECATEUR_TORCH_LIBRARIES})
set_target_properties(_C_cuda PROPERTIES PREFIX "" OUTPUT_NAME "_C_cuda" SUFFIX ".so"
                                              CUDA_STANDARD 17)
install(TARGETS _C_cuda LIBRARY DESTINATION secateur)
