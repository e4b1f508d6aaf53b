# nsa_add_kernels(TARGET <target> SOURCES <step.mlir>... [CHIP <sm_NN>] [OPTIONS <option>...])
#
# Compiles nsa steps as a part of building a target: for each step NAME of the
# sources it can include "NAME.h" (the kernels embedded), and finds NAME.ptx and
# NAME.json in the folder that the target's property NSA_BUNDLE names. CHIP is
# sm_80 if it is not given; OPTIONS go to nsa-compile. The generated header
# includes cuda.h, which is the target's to find.
function(nsa_add_kernels)
  cmake_parse_arguments(ARG "" "TARGET;CHIP" "SOURCES;OPTIONS" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR
      "nsa_add_kernels: unknown arguments: ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT TARGET "${ARG_TARGET}" OR NOT ARG_SOURCES)
    message(FATAL_ERROR "nsa_add_kernels: expected TARGET and SOURCES")
  endif()
  if(NOT TARGET nsa::compile)
    message(FATAL_ERROR
      "nsa_add_kernels: this package of nsa was built without the compiler")
  endif()
  if(NOT ARG_CHIP)
    set(ARG_CHIP sm_80)
  endif()
  set(_folder "${CMAKE_CURRENT_BINARY_DIR}/nsa/${ARG_TARGET}")
  foreach(_source ${ARG_SOURCES})
    get_filename_component(_source "${_source}" ABSOLUTE)
    # What the compiler will write follows from the names of the steps.
    file(STRINGS "${_source}" _lines REGEX "^[ ]*nsa\\.step @[A-Za-z0-9_]+")
    set(_outputs)
    foreach(_line ${_lines})
      string(REGEX REPLACE "^[ ]*nsa\\.step @([A-Za-z0-9_]+).*" "\\1" _name "${_line}")
      list(APPEND _outputs "${_folder}/${_name}.h" "${_folder}/${_name}.ptx"
        "${_folder}/${_name}.json")
    endforeach()
    if(NOT _outputs)
      message(FATAL_ERROR "nsa_add_kernels: no nsa.step in ${_source}")
    endif()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${_source}")
    add_custom_command(
      OUTPUT ${_outputs}
      COMMAND nsa::compile "${_source}" -o "${_folder}" "--chip=${ARG_CHIP}"
              ${ARG_OPTIONS}
      DEPENDS "${_source}" nsa::compile
      COMMENT "Compiling ${_source} for ${ARG_CHIP}"
      VERBATIM)
    target_sources(${ARG_TARGET} PRIVATE ${_outputs})
  endforeach()
  target_include_directories(${ARG_TARGET} PRIVATE "${_folder}")
  set_target_properties(${ARG_TARGET} PROPERTIES NSA_BUNDLE "${_folder}")
endfunction()
