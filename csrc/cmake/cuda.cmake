# The second library, for machines whose torch has CUDA: _C would not load there without it, nor it
# here. It builds against any torch, but where that has no CUDA only if asked for.

if(EXISTS ${SECATEUR_TORCH}/lib/libtorch_cuda.so)
  set(torch_has_cuda ON)
else()
  set(torch_has_cuda OFF)
endif()
option(SECATEUR_CUDA "Build the CUDA kernels" ${torch_has_cuda})
if(NOT SECATEUR_CUDA)
  return()
endif()
include(CheckLanguage)
set(CMAKE_CUDA_ARCHITECTURES "80-real;86-real;89-real;90-real;100-real;120"
    CACHE STRING "GPU architectures; PTX of the last one, for those to come")
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(WARNING "secateur: no nvcc found; installing without CUDA kernels. On a GPU everything is "
                  "correct and slow. Install the CUDA toolkit (13.0 or later) and install again.")
  return()
endif()
enable_language(CUDA)
include(csrc/cmake/cuda_kernels.cmake)
secateur_cuda_kernels(cuda_kernels)
file(GLOB cuda_bindings CONFIGURE_DEPENDS csrc/bind/cuda_*.cpp)
add_library(_C_cuda MODULE ${cuda_kernels} csrc/cuda/abi.cpp ${cuda_bindings})
target_include_directories(_C_cuda PRIVATE csrc ${CMAKE_CURRENT_BINARY_DIR}/tables)
target_include_directories(_C_cuda SYSTEM PRIVATE ${SECATEUR_TORCH_INCLUDES})
target_compile_definitions(_C_cuda PRIVATE TORCH_TARGET_VERSION=0x020a000000000000 USE_CUDA)
target_compile_options(
  _C_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-O3 -Xcompiler=-fvisibility=hidden>
                  $<$<COMPILE_LANGUAGE:CXX>:${SECATEUR_OPTIONS} -O2>)
# torch keeps libtorch_cuda's symbols to those who ask for that library by name. Where torch has none,
# a stand-in of that name is linked and left behind: in a process without CUDA nothing loads.
if(torch_has_cuda)
  set(torch_cuda ${SECATEUR_TORCH}/lib/libtorch_cuda.so)
else()
  set(stand_in ${CMAKE_CURRENT_BINARY_DIR}/libtorch_cuda.cpp)
  file(CONFIGURE OUTPUT ${stand_in} CONTENT
       "extern \"C\" __attribute__((visibility(\"default\"))) int
        aoti_torch_get_current_cuda_stream(int, void**) { return 1; }\n")
  add_library(torch_cuda SHARED ${stand_in})
  set(torch_cuda torch_cuda)
endif()
target_link_libraries(_C_cuda PRIVATE ${SECATEUR_TORCH_LIBRARIES} ${torch_cuda})
set_target_properties(_C_cuda PROPERTIES PREFIX "" OUTPUT_NAME "_C_cuda" SUFFIX ".so"
                                         CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON
                                         BUILD_WITH_INSTALL_RPATH ON) # or it finds the stand-in
install(TARGETS _C_cuda LIBRARY DESTINATION secateur)
