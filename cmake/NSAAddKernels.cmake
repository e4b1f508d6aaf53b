# nsa_add_kernels(TARGET <target> SOURCES <step.mlir>... [CHIP <sm_NN>] [OPTIONS <option>...])
#
# Compiles nsa steps as a part of building a target: for each step NAME of the
# sources it can include "NAME.h" (the kernels embedded), and finds NAME.ptx and
# NAME.json in the folder that the target's property NSA_BUNDLE names, which holds
# nothing else. CHIP is sm_80 if it is not given; OPTIONS go to nsa-compile, also
# while CMake runs, so they are no generator expressions. The generated header
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
  get_target_property(_compiler nsa::compile LOCATION)
  if(NOT EXISTS "${_compiler}")
    message(FATAL_ERROR "nsa_add_kernels: ${_compiler} is not built yet")
  endif()
  set(_folder "${CMAKE_CURRENT_BINARY_DIR}/nsa/${ARG_TARGET}")
  get_target_property(_known "${ARG_TARGET}" NSA_BUNDLE)
  if(NOT _known)
    # Once all calls for the target have said what they write.
    cmake_language(EVAL CODE
      "cmake_language(DEFER CALL _nsa_remove_stale [[${ARG_TARGET}]])")
  endif()
  set_target_properties(${ARG_TARGET} PROPERTIES NSA_BUNDLE "${_folder}")
  foreach(_source ${ARG_SOURCES})
    get_filename_component(_source "${_source}" ABSOLUTE)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${_source}")
    # What the compiler will write, it knows best.
    execute_process(
      COMMAND "${_compiler}" "${_source}" -o "${_folder}" "--chip=${ARG_CHIP}"
              ${ARG_OPTIONS} --list-outputs
      OUTPUT_VARIABLE _outputs OUTPUT_STRIP_TRAILING_WHITESPACE
      ERROR_VARIABLE _errors RESULT_VARIABLE _result)
    if(NOT _result EQUAL 0)
      message(NOTICE "${_errors}")
      message(FATAL_ERROR "nsa_add_kernels: no steps to be had from ${_source}")
    endif()
    string(REPLACE "\n" ";" _outputs "${_outputs}")
    set_property(TARGET ${ARG_TARGET} APPEND PROPERTY NSA_OUTPUTS ${_outputs})
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
endfunction()

# Removes what steps have left that are gone or have other names now.
function(_nsa_remove_stale target)
  get_target_property(_folder ${target} NSA_BUNDLE)
  get_target_property(_outputs ${target} NSA_OUTPUTS)
  file(GLOB _stale "${_folder}/*")
  list(REMOVE_ITEM _stale ${_outputs})
  if(_stale)
    file(REMOVE ${_stale})
  endif()
endfunction()
