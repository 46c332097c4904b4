# The one place that says how an instruction set is compiled, and that makes a file a kernel:
# csrc/cpu/<op>/<isa>[_variant].cpp gets that ISA's flags and a line in <op>'s table.

set(SECATEUR_ISAS portable)
set(SECATEUR_FLAGS_portable "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND SECATEUR_ISAS avx2 avx512)
  set(SECATEUR_FLAGS_avx2 -mavx2 -mfma -mf16c)
  set(SECATEUR_FLAGS_avx512 ${SECATEUR_FLAGS_avx2} -mavx512f -mavx512vl -mavx512dq -mavx512bw
      -mprefer-vector-width=512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64|ARM64")
  list(APPEND SECATEUR_ISAS neon)
  # Every aarch64 has NEON and every compiler knows it: the macro is what keeps the portable build
  # free of it, as the generic code it is elsewhere.
  set(SECATEUR_FLAGS_neon -DSECATEUR_NEON)
endif()

# For tests: the portable kernels alone, with vectors of so many floats.
set(SECATEUR_LANES "" CACHE STRING "Floats of a vector in the portable kernels; empty for 4")
if(SECATEUR_LANES)
  foreach(isa ${SECATEUR_ISAS})
    unset(SECATEUR_FLAGS_${isa})
  endforeach()
  set(SECATEUR_FLAGS_portable -DSECATEUR_LANES=${SECATEUR_LANES} -Wno-psabi)
endif()

# secateur_op(<op>): compiles the kernels of csrc/cpu/<op> into the object library <op>_kernels
# and writes <op>.inc, one KERNEL(<op>_<stem>) a file.
function(secateur_op op)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/csrc/cpu/${op}/*.cpp)
  set(table "")
  set(sources "")
  foreach(file ${files})
    get_filename_component(stem ${file} NAME_WE)
    string(REGEX REPLACE "_.*" "" isa ${stem})
    if(NOT DEFINED SECATEUR_FLAGS_${isa})
      if(isa MATCHES "^(avx2|avx512|neon)$")
        continue() # another architecture's
      endif()
      message(FATAL_ERROR "${file}: '${isa}' is no instruction set; start the name with one of "
                          "portable, avx2, avx512, neon (csrc/cmake/isa.cmake)")
    endif()
    set(name ${op}_${stem})
    string(APPEND table "KERNEL(${name})\n")
    list(APPEND sources ${file})
    set_source_files_properties(
      ${file}
      PROPERTIES
        COMPILE_OPTIONS "${SECATEUR_FLAGS_${isa}}"
        COMPILE_DEFINITIONS
        "SECATEUR_KERNEL=${name};SECATEUR_KERNEL_NAME=\"${name}\";SECATEUR_KERNEL_ISA=secateur::Isa::${isa}")
  endforeach()
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/tables/${op}.inc CONTENT "${table}")
  set(shared ${CMAKE_CURRENT_BINARY_DIR}/tables/${op}_table.cpp)
  configure_file(csrc/cmake/table.cpp.in ${shared} @ONLY)
  add_library(${op}_kernels OBJECT ${sources} ${shared})
  target_include_directories(${op}_kernels PRIVATE csrc ${CMAKE_CURRENT_BINARY_DIR}/tables)
  target_compile_options(${op}_kernels PRIVATE ${SECATEUR_OPTIONS} ${SECATEUR_KERNEL_OPTIONS})
endfunction()

# secateur_tables(<op>...): writes the list of all ops' tables, a source file, to ${SECATEUR_TABLES}.
function(secateur_tables)
  list(TRANSFORM ARGN REPLACE "(.+)" "TABLE(\\1_table)\n" OUTPUT_VARIABLE tables)
  string(JOIN "" tables ${tables})
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/tables/all.inc CONTENT "${tables}")
  configure_file(csrc/cmake/tables.cpp.in ${SECATEUR_TABLES} COPYONLY)
endfunction()
