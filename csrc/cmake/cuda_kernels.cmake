# What makes a file a CUDA kernel: csrc/cuda/<op>/<name>.cu gets its name and a line in the table.
# The same files are the sources of two libraries, one of nvcc and one of the C++ compiler.

set(SECATEUR_CUDA_OPS "*" CACHE STRING "The one op whose CUDA kernels are built; *: all of them")

# secateur_cuda_kernels(<variable>): puts the kernel files in the variable, and writes the table.
function(secateur_cuda_kernels variable)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/csrc/cuda/${SECATEUR_CUDA_OPS}/*.cu)
  set(table "")
  foreach(file ${files})
    get_filename_component(stem ${file} NAME_WE)
    cmake_path(GET file PARENT_PATH folder)
    cmake_path(GET folder FILENAME op)
    set(name ${op}_${stem})
    string(APPEND table "KERNEL(${name})\n")
    set_source_files_properties(
      ${file}
      PROPERTIES
        COMPILE_DEFINITIONS
        "SECATEUR_KERNEL=${name};SECATEUR_KERNEL_OP=\"${op}\";SECATEUR_KERNEL_NAME=\"${name}\"")
  endforeach()
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/tables/cuda_kernels.inc CONTENT "${table}")
  set(${variable} ${files} PARENT_SCOPE)
endfunction()
