# Where the installed torch keeps its headers and libraries: asked of the Python that builds.

find_package(Python REQUIRED COMPONENTS Interpreter)
execute_process(
  COMMAND ${Python_EXECUTABLE} -c
          "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
  OUTPUT_VARIABLE SECATEUR_TORCH
  OUTPUT_STRIP_TRAILING_WHITESPACE
  RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "secateur: ${Python_EXECUTABLE} cannot find torch. Install torch first and "
                      "build with --no-build-isolation, so that the build sees it.")
endif()
set(SECATEUR_TORCH_INCLUDES ${SECATEUR_TORCH}/include
                            ${SECATEUR_TORCH}/include/torch/csrc/api/include)
set(SECATEUR_TORCH_LIBRARIES ${SECATEUR_TORCH}/lib/libtorch_cpu.so)
