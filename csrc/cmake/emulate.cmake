# The CUDA kernels as C++, on the emulated GPU of csrc/cuda/emu: _emu.so, for tests. Nothing of
# torch and nothing of CUDA is needed.

include(csrc/cmake/cuda_kernels.cmake)
secateur_cuda_kernels(kernels)
file(GLOB models CONFIGURE_DEPENDS csrc/cuda/emu/*.cpp)
set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX)
add_library(_emu MODULE ${models} csrc/cuda/abi.cpp)
add_library(emulated_kernels OBJECT ${kernels})
foreach(target _emu emulated_kernels)
  target_include_directories(${target} PRIVATE csrc ${CMAKE_CURRENT_BINARY_DIR}/tables)
  # -O1 compiles unrolled kernels in seconds; the models are where the time of a run goes.
  target_compile_options(${target} PRIVATE ${SECATEUR_OPTIONS})
endforeach()
target_compile_options(_emu PRIVATE -O3)
target_compile_options(emulated_kernels PRIVATE -x c++ -O1 -Wno-unknown-pragmas)
target_link_libraries(_emu PRIVATE emulated_kernels)
set_target_properties(_emu PROPERTIES PREFIX "" OUTPUT_NAME "_emu" SUFFIX ".so")
